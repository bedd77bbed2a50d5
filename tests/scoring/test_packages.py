"""Scorers that run somebody else's package in its own Python: what is asked of it, and what is said when it fails.

The packages are stand-ins; `make parity` runs the real hpsv2.
"""

import json

import pytest

from core.errors import BadInput
from core.records import Score, ScoreItem
from scoring import load_scorer
from scoring.hpsv2 import RELEASES
from tests.scoring import fake_packages
from tests.scoring.test_contract import picture
from tests.scoring.tiny import CONFIG

pytestmark = pytest.mark.slow
PICTURE = picture(0)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    folder = fake_packages.write(tmp_path / "packages")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
def weights(tmp_path):
    file = tmp_path / "weights.pt"
    file.write_bytes(b"weights")
    return file


@pytest.mark.parametrize("signature", fake_packages.SIGNATURES)
def test_hpsv3_gives_mu_whatever_the_order_of_its_arguments(packages, weights, signature):
    fake_packages.write(packages, signature)
    scorer = load_scorer(f"hpsv3={weights}", device="cpu", chunk=3, threads=2)
    fox, dog = scorer.score([ScoreItem(PICTURE, "a fox"), ScoreItem(PICTURE, "a dog")])
    assert 8 < fox.value < 9
    assert fox != dog
    assert scorer.settings == {"package": "hpsv3 1.0.0", "torch": "0+fake", "device": "cpu", "threads": 2}


def test_an_item_that_fails_is_a_failed_score_and_spares_its_neighbours(packages, weights):
    scorer = load_scorer(f"hpsv3={weights}", chunk=3, threads=1)
    found = scorer.score([ScoreItem(PICTURE, text) for text in ("a fox", "fail", "nan")])
    assert found[0].value is not None
    assert found[1:] == [Score(None, "RuntimeError: shape mismatch"), Score(None, "the score is not finite (nan)")]


def test_a_process_that_dies_fails_its_items_and_says_its_last_words(packages, weights):
    scorer = load_scorer(f"hpsv3={weights}", chunk=3, threads=1)
    for _ in range(2):
        found = scorer.score([ScoreItem(PICTURE, "die"), ScoreItem(PICTURE, "a fox")])
        assert [score.value for score in found] == [None, None]
        assert found[0].error.startswith("the package's process ended: ")
    assert "killed by the memory guard" in scorer.score([ScoreItem(PICTURE, "x")])[0].error


@pytest.mark.parametrize(("source", "name"), [(None, "2.1"), ("2.1", "2.1"), ("2.0", "2.0")])
def test_hpsv2_package_takes_the_releases(packages, weights, monkeypatch, source, name):
    asked = []
    monkeypatch.setattr("scoring.files.hf_hub_download", lambda _, file, **__: asked.append(file) or str(weights))
    scorer = load_scorer("hpsv2-package" + (f"={source}" if source else ""), chunk=1, threads=1)
    assert scorer.name == f"hpsv2-package:{name}"
    assert asked == [RELEASES[name]]
    assert scorer.settings["package"] == "hpsv2 1.2.0"


def test_hpsv2_package_takes_a_folder_with_the_packages_vocabulary_only(packages, weights, tmp_path):
    text = CONFIG["text_cfg"] | {"vocab_size": 49408, "context_length": 77}
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"text_cfg": text}))
    scorer = load_scorer(f"hpsv2-package={tmp_path}", chunk=1, threads=1)
    assert scorer.name == f"hpsv2-package:{tmp_path.parent.name}/{tmp_path.name}"
    assert scorer.score([ScoreItem(PICTURE, "a fox")])[0].value is not None
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(BadInput, match=r"got 514 tokens and a context of 40 in .*use hpsv2=FOLDER"):
        load_scorer(f"hpsv2-package={tmp_path}")


def test_other_weights_or_versions_give_another_revision(packages, weights):
    first = load_scorer(f"hpsv3={weights}", chunk=1, threads=1)
    assert load_scorer(f"hpsv3={weights}", chunk=1, threads=1).revision == first.revision
    (packages / "hpsv3-1.0.0.dist-info" / "METADATA").write_text("Name: hpsv3\nVersion: 1.0.1\n")
    newer = load_scorer(f"hpsv3={weights}", chunk=1, threads=1)
    weights.write_bytes(b"others")
    assert len({first.revision, newer.revision, load_scorer(f"hpsv3={weights}", chunk=1, threads=1).revision}) == 3


BROKEN = {
    "absent": (
        "hpsv2",
        None,
        r"No module named 'hpsv2.*install hpsv2 in an environment of its own and set BRUSHUP_HPSV2",
    ),
    "vocabulary": (
        "hpsv2/src/open_clip/__init__.py",
        "raise FileNotFoundError(2, 'No such file', '/env/hpsv2/src/open_clip/bpe_simple_vocab_16e6.txt.gz')",
        r"copy it there from the package open_clip_torch \(folder open_clip\)",
    ),
    "torchvision": (
        "hpsv2/src/open_clip/__init__.py",
        "raise RuntimeError('operator torchvision::roi does not exist')",
        "install a torchvision that was built for its torch",
    ),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_package_is_one_line_with_the_way_out(packages, weights, damage):
    file, text, message = BROKEN[damage]
    if text is None:
        (packages / file / "src" / "open_clip" / "__init__.py").rename(packages / "gone.py")
        (packages / file / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'hpsv2'\")")
    else:
        (packages / file).write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        load_scorer(f"hpsv2-package={weights}")
    assert "\n" not in str(caught.value)
    assert "expected a Python in which hpsv2 works" in str(caught.value)


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/true"])
def test_a_python_that_is_none_is_named(weights, monkeypatch, python):
    monkeypatch.setenv("BRUSHUP_HPSV3_PYTHON", python)
    with pytest.raises(BadInput, match=rf"from {python}, expected a Python in which hpsv3 works"):
        load_scorer(f"hpsv3={weights}")


def test_a_release_that_is_not_cached_names_the_way_out_offline(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("scoring.files.hf_hub_download", offline)
    for name in ("hpsv3", "hpsv2-package"):
        with pytest.raises(BadInput, match=rf"scorer {name}: got no HPS.*--scorer {name}=FILE"):
            load_scorer(name)
