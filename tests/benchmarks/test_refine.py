"""benchmarks/refine.py: its figures from known parts, and the whole of it on a tiny refiner."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import refine
from benchmarks.refine import Tokens, Took, cost_ratio, gain_kept, measure, timed, tokens_of_run
from core.errors import BadInput
from core.pricing import Price
from refiner.folder import Manifest
from refiner.sft import save_causal
from tests.refiner.tiny import tiny_lm, tiny_tokenizer

pytestmark = pytest.mark.slow


def score(delta: float) -> dict[str, Any]:
    return {
        "label": "tiny",
        "prompts": 4,
        "failed": 0,
        "scores": {"hps": {"delta": delta, "ci95": [delta - 1, delta + 1]}},
    }


TABLE = {"optimised": "hps", "rows": {"optimised": score(4.0), "mine": score(3.0), "worse": score(-1.0)}}


def test_gain_kept_is_a_share_of_the_other_gain() -> None:
    found = gain_kept(TABLE, "mine", "optimised", "tiny")
    assert found["gain_kept"] == 0.75
    assert found["gains"]["optimised"] == {"delta": 4.0, "ci95": [3.0, 5.0], "failed": 0.0}
    half = {**TABLE["rows"]["mine"], "failed": 2}
    assert (
        gain_kept({**TABLE, "rows": {**TABLE["rows"], "mine": half}}, "mine", "optimised", "tiny")["gain_kept"] == 0.375
    )
    with pytest.raises(BadInput, match="no row 'prip' with hps; its rows: optimised, mine, worse"):
        gain_kept(TABLE, "prip", "optimised", "tiny")
    with pytest.raises(BadInput, match="row 'worse' gains -1, expected more than 0"):
        gain_kept(TABLE, "mine", "worse", "tiny")
    with pytest.raises(BadInput, match="row 'mine' is 'tiny', the refiner is 'another'; name its --row"):
        gain_kept(TABLE, "mine", "optimised", "another")


def test_the_ratio_is_that_of_two_prices() -> None:
    # 200 tokens at 1.5 and 50 at 6 USD a million: 0.0006 USD; 0.01 s at 3.6 USD an hour: 0.00001 USD
    assert cost_ratio(Tokens(200, 50, ""), Price(1.5, 6.0), 0.01, 3.6) == pytest.approx(60.0)


def test_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"style": "neuroprompts", "search": None, "generation": {"max_new_tokens": 4}}
    place = tmp_path / "refiners" / "mine"
    save_causal(place, tiny_lm(), tiny_tokenizer(), Manifest("causal", "tiny", "CC0", settings=settings))
    monkeypatch.setattr(refine, "together", lambda place, prompts: [timed(place, prompts[k::2]) for k in range(2)])
    (tmp_path / "table.json").write_text(json.dumps(TABLE))
    options = argparse.Namespace(
        home=tmp_path, refiner="mine", prompts=8, single=2, table=tmp_path / "table.json", row=None, run=None,
        against="optimised", llm="some/model", price_in=1.0, price_out=2.0, usd_per_cpu_hour=0.1,
    )  # fmt: skip
    found = measure(options)
    assert found["gain_kept"] == 0.75
    assert found["prompts"] == 8
    assert min(found["prompts_per_second"], found["one_prompt_a_call"]) > 0
    prices = found["prices"]
    assert prices["tokens_sent"] > prices["tokens_received"] > 0
    call = (prices["tokens_sent"] * 1.0 + prices["tokens_received"] * 2.0) / 1e6
    assert found["cost_ratio_to_agent"] == pytest.approx(call / (prices["cpu_seconds_per_prompt"] * 0.1 / 3600))
    json.dumps(found)
    options.price_in = options.price_out = None
    with pytest.raises(BadInput, match="its price is not known; give --price-in"):
        measure(options)
    with pytest.raises(BadInput, match="nowhere"):
        tokens_of_run(tmp_path, "nowhere")


def test_a_rate_is_of_processor_seconds() -> None:
    assert Took(10, 2.0, 99.0).rate == 5.0
