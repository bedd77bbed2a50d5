# Needs Python 3.11+ and make; everything else is set up here, in .venv/.
PYTHON ?= python3
BIN := .venv/bin
# torch's threads: spinning workers of two processes would wreck each other
export OMP_WAIT_POLICY ?= PASSIVE

# whole modules of slow tests are not even imported: that alone would take seconds
FAST = $(shell grep -rL '^pytestmark = pytest.mark.slow' tests --include='test_*.py')

.DEFAULT_GOAL := help
.PHONY: help setup demo test check parity peers miniworld clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: .venv/.ready ## create .venv/ and install (a few minutes, once)

.venv/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "brushup needs Python 3.11+; set PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: .venv/.ready ## the main job on the embedded miniworld: about a minute, results in runs/demo
	rm -rf runs/demo
	$(BIN)/brushup optimize experiments/configs/demo.toml --run demo

test: .venv/.ready ## all tests (sets up first)
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/.ready ## format, lint, types, import rules, fast tests: before each commit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" $(FAST)

parity: .venv/.ready ## our HPSv2 against the hpsv2 package, which gets its own .venv-parity/; by hand: ARCH=ViT-H-14
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/parity.py --architecture $(or $(ARCH),ViT-B-32)

peers: .venv/.ready .venv-peers/.ready ## our loop against gepa and promptolution, in .venv-peers/; two of the miniworld's runs again
	OMP_NUM_THREADS=1 .venv-peers/bin/python benchmarks/peers_miniworld.py --spot-check
	OMP_NUM_THREADS=1 .venv-peers/bin/python benchmarks/peers.py

.venv-peers/.ready: benchmarks/peers-requirements.txt
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers-requirements.txt
	touch $@

miniworld: .venv/.ready ## retrain the embedded models and rewrite miniworld/CARD.md (over an hour)
	$(BIN)/python -m miniworld.train

clean: ## remove the environments and caches; runs/ stays
	rm -rf .venv .venv-parity .venv-peers .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info
