"""What a study says: the final label of a pair is the median of its annotators (PRIP, appendix A.2). Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import mean, median
from typing import Any

from bandit.bootstrap import bootstrap_mean
from core.records import Estimate
from experiments.study.votes import Key, KeyPair, Vote

SEED = 0


@dataclass(frozen=True)
class StudyResult:
    """The outcome of a study. All estimates are means over prompts with intervals; None where nothing was said.

    Attributes:
        study: its id.
        run: the run it is about.
        best: the run's best instruction.
        rival: what it was compared with.
        annotators: how many there were.
        votes: answers on pairs.
        pairs: pairs with at least one answer.
        unrated: pairs without.
        preference: shares of pairs: `win` (the best instruction's picture is preferred), `tie`, `loss`, `win_or_tie`;
            and `win_minus_loss`.
        relevance: 0 to 2: `best`, `rival`, and `best_minus_rival`.
        annotator_agreement: how often two annotators prefer the same in a pair.
        scorer_agreement: by scorer, of the pairs that are no tie, in how many it scores the preferred picture higher.
    """

    study: str
    run: str
    best: str
    rival: str
    annotators: int
    votes: int
    pairs: int
    unrated: int
    preference: Mapping[str, Estimate | None]
    relevance: Mapping[str, Estimate | None]
    annotator_agreement: Estimate | None
    scorer_agreement: Mapping[str, Estimate | None]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data; tuples become lists."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def study_result(key: Key, votes: Sequence[Vote]) -> StudyResult:
    """Return what the votes say.

    A preference counts 1 for the best instruction's picture, 0 for a tie, -1 for the other; a pair is won or lost when
    the median is 1 or -1, so that an even number of annotators who are split makes a tie. Intervals resample prompts.
    """
    by_pair: dict[str, list[Vote]] = {}
    for vote in votes:
        by_pair.setdefault(vote.pair, []).append(vote)
    labels = {name: _label(key, key.pairs[name], given) for name, given in by_pair.items()}
    decided = {name: label for name, label in labels.items() if label is not None}
    graded = {name: _grades(key, key.pairs[name], given) for name, given in by_pair.items()}
    scorers = sorted({scorer for pair in key.pairs.values() for scorer in pair.scores})

    def over_prompts(values: Mapping[str, float]) -> Estimate | None:
        grouped: dict[str, list[float]] = {}
        for name, value in sorted(values.items()):
            grouped.setdefault(key.pairs[name].prompt_id, []).append(value)
        return bootstrap_mean(grouped, seed=SEED) if grouped else None

    def share(holds: Callable[[int], float]) -> Estimate | None:
        return over_prompts({name: float(holds(label)) for name, label in decided.items()})

    both = {name: pair for name, pair in graded.items() if None not in pair}
    return StudyResult(
        study=key.study,
        run=key.run,
        best=key.best,
        rival=key.rival,
        annotators=len({vote.annotator for vote in votes}),
        votes=len(votes),
        pairs=len(by_pair),
        unrated=len(key.pairs) - len(by_pair),
        preference={
            "win": share(lambda label: label > 0),
            "tie": share(lambda label: label == 0),
            "loss": share(lambda label: label < 0),
            "win_or_tie": share(lambda label: label >= 0),
            "win_minus_loss": share(float),
        },
        relevance={
            "best": over_prompts({name: ours for name, (ours, _) in graded.items() if ours is not None}),
            "rival": over_prompts({name: theirs for name, (_, theirs) in graded.items() if theirs is not None}),
            "best_minus_rival": over_prompts({name: ours - theirs for name, (ours, theirs) in both.items()}),  # type: ignore[operator]
        },
        annotator_agreement=over_prompts(_agreeing(by_pair)),
        scorer_agreement={name: over_prompts(_matches(key, decided, name)) for name in scorers},
    )


def _label(key: Key, pair: KeyPair, votes: Sequence[Vote]) -> int | None:
    ours = "left" if pair.left == key.best else "right"
    values = [0 if v.preference == "tie" else 1 if v.preference == ours else -1 for v in votes if v.preference]
    return int(median(values)) if values else None  # toward zero: half a win is a tie


def _grades(key: Key, pair: KeyPair, votes: Sequence[Vote]) -> tuple[float | None, float | None]:
    """Return the median relevance of the best instruction's picture and of the other."""
    sides = ([v.left for v in votes if v.left is not None], [v.right for v in votes if v.right is not None])
    left, right = (float(median(side)) if side else None for side in sides)
    return (left, right) if pair.left == key.best else (right, left)


def _agreeing(by_pair: Mapping[str, Sequence[Vote]]) -> dict[str, float]:
    """Return, by pair, the share of its pairs of annotators who prefer the same."""
    found = {}
    for name, votes in by_pair.items():
        given = [vote.preference for vote in votes if vote.preference]
        if len(given) > 1:
            found[name] = mean(float(one == other) for one, other in combinations(given, 2))
    return found


def _matches(key: Key, labels: Mapping[str, int], scorer: str) -> dict[str, float]:
    """Return, by pair that was won or lost, whether a scorer scores the preferred picture higher."""
    found = {}
    for name, label in labels.items():
        scores = key.pairs[name].scores.get(scorer)
        if label and scores:
            found[name] = float((scores[key.best] - scores[key.rival]) * label > 0)
    return found
