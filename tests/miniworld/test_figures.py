"""The card's figures, on measured values made up so that the answer is known."""

import numpy as np
import pytest

from miniworld.grammar import holdout_prompts
from miniworld.train.card import shortfalls
from miniworld.train.conditions import ROWS, conditions, nine_terms
from miniworld.train.evaluate import edge_ratio, frechet, summarise, summarise_scorers, summarise_seeds
from miniworld.train.fooling import gains
from miniworld.train.measure import Measured
from miniworld.vocabulary import FAMILIES

pytestmark = pytest.mark.slow

PROMPTS = holdout_prompts(0, 24)
SETS = {family: (f"term of {family}",) for family in FAMILIES}
LIFT = {"naive": 0.0, "three good": 2.0, "three harmful": -1.0, "nine terms": 0.5}


def made_up(seed: int = 0, *, edges: float = 10.0) -> dict[str, Measured]:
    """Truth with a common seed part; the first scorer is the truth, the second its opposite, the third noise."""
    rng = np.random.default_rng(seed)
    shape = (len(PROMPTS), 3)
    base, found = rng.normal(size=shape), {}
    for name in conditions(FAMILIES[0], SETS):
        own = np.array([[2.0 if name == f"set of {p.family}" else LIFT.get(name, 0.3)] for p in PROMPTS])
        truth = base + own + 0.1 * rng.normal(size=shape)
        found[name] = Measured(
            truth=truth,
            scores={"hps-like": truth, "contrary": -truth, "noise": rng.normal(size=shape)},
            edges=np.full(shape, edges),
            right={aspect: np.full(shape, 0.9) for aspect in ("subject", "colour", "place", "family")},
            features=rng.normal(size=(*shape, 4)),
        )
    return found


def test_transfer_and_differences_find_what_was_put_in():
    summary = summarise(made_up(), PROMPTS)
    for family in FAMILIES:
        row = summary["transfer"][family]
        assert max(row["gain"], key=row["gain"].get) == family
        assert row["ahead"][0] == pytest.approx(1.7, abs=0.2)
        assert row["ahead"][1] > 0
        assert summary["nine - good by family"][family][2] < 0
    assert summary["harmful - naive"]["difference"][0] == pytest.approx(-1, abs=0.1)
    assert summary["good - naive"]["win_rate"][0] == 1
    assert summary["judge"]["naive"]["subject"][0] == pytest.approx(0.9)


def test_seed_figures_see_the_common_part():
    found = summarise_seeds(made_up())["truth"]
    assert found["common seeds"]["three good"][0] < 0.05
    assert sum(found["shares"].values()) == pytest.approx(1, abs=0.01)
    assert found["shares"]["seed"] > found["shares"]["seed x instruction"]


def test_scorer_figures_tell_a_copy_from_its_opposite():
    found = summarise_scorers(made_up())
    assert found["correlations"]["truth | hps-like"][0] == pytest.approx(1)
    assert found["correlations"]["hps-like | contrary"][0] == pytest.approx(-1)
    assert abs(found["correlations"]["truth | noise"][0]) < 0.2
    assert found["gains"]["contrary"]["three good"]["win_rate"][0] == 0


def test_pictures_are_compared_with_renders():
    drawn, rendered = made_up(0, edges=8.0), made_up(1, edges=10.0)
    assert edge_ratio(drawn, rendered, "three good").value == pytest.approx(0.8)
    assert frechet(drawn, drawn, ROWS) == pytest.approx(0, abs=1e-3)
    assert frechet(drawn, rendered, ROWS) > 0


def test_a_fooled_scorer_gains_where_the_truth_falls():
    measured = made_up()
    found = gains(measured["naive"], measured["three harmful"])
    assert found.truth.mean() < 0 < found.scores["contrary"].mean()


def test_the_nine_terms_are_only_too_many():
    for family in FAMILIES:
        assert len(set(nine_terms(family))) == 9


def test_the_card_names_what_falls_short():
    summary = summarise(made_up(), PROMPTS)
    for row in summary["judge"].values():
        row.update({aspect: [0.99, 0.98, 1.0] for aspect in row})
    summary["edge ratio"] = {"three good": [0.9, 0.8, 1.0]}
    figures = {"unet": summary, "seconds_per_image": {"unet": 0.03}}
    assert shortfalls(figures) == "- nothing that was measured"
    summary["judge"]["naive"]["colour"] = [0.91, 0.9, 0.92]
    summary["edge ratio"]["three good"][0] = 0.5
    summary["nine - good by family"]["photo"][2] = 0.1
    summary["transfer"]["anime"]["ahead"][1] = -0.1
    figures["seconds_per_image"]["unet"] = 0.05
    lines = shortfalls(figures).splitlines()
    assert len(lines) == 5
    assert "P(colour) with naive terms: 0.910" in lines[0]
