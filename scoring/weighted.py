"""A weighted mix of scorers, each standardised first: `weights:hpsv2.1=0.7,aesthetic=0.3`, or `weights:FILE.json`.

The raw score is the sum over the parts of weight x (raw - mean) / sd, so a weight counts standard deviations: PickScore
near 20, an aesthetic rating near 5 and a cosine near 0.27 could not be added otherwise. Mean and deviation are
constants, never those of a run or a batch: a score is a function of picture and prompt alone, can be cached, and means
the same in every run. They are, in this order:

1. what FILE.json says: `{"parts": [{"scorer": SPEC, "weight": W, "mean": M, "sd": S}, ...]}`, the last two optional;
2. for a scorer's folder, its `reference.json`: `{NAME: {"mean": M, "sd": S}}`, with the scorer's name before `=`;
3. for the released models `NOMINAL`.

In a paired reward the means cancel; the deviations say what a weight is worth. Heavy: import it through
`scoring.load_scorer`.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, RootModel, ValidationError

from core.errors import BadInput
from core.interfaces import Scorer
from core.records import Score, ScoreItem
from core.text import digest, one_line
from scoring import load_scorer
from scoring.chunked import as_score
from scoring.options import ScorerOptions

REFERENCE_FILE = "reference.json"
Model = TypeVar("Model", bound=BaseModel)


class Reference(BaseModel):
    """What a scorer's values are standardised by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: FiniteFloat
    sd: float = Field(gt=0, allow_inf_nan=False)


NOMINAL = {
    "hpsv2.0": Reference(mean=0.27, sd=0.013),
    "hpsv2.1": Reference(mean=0.26, sd=0.03),
    "hpsv2-package=2.0": Reference(mean=0.27, sd=0.013),
    "hpsv2-package": Reference(mean=0.26, sd=0.03),
    "hpsv3": Reference(mean=8.0, sd=3.0),
    "pickscore": Reference(mean=21.0, sd=1.2),
    "clipscore": Reference(mean=0.75, sd=0.08),
    "aesthetic": Reference(mean=5.4, sd=0.5),
    "imagereward": Reference(mean=0.0, sd=1.0),
}
"""By the released scorer's name. Only ImageReward's are its authors' (issue 5 of THUDM/ImageReward).

The other means are round numbers near published averages: the HPSv2 README (Stable Diffusion 1.4: 26.6 to 27.3 for
v2.0, 24.8 to 26.0 for v2.1, both x100), the HPSv3 README (SDXL 8.20). The deviations are rough estimates, since nobody
publishes them: whoever needs exact weights measures both on pictures of their own model and gives them in a file.
"""


class _FilePart(BaseModel):
    model_config = ConfigDict(extra="forbid")

    scorer: str
    weight: float = Field(gt=0, allow_inf_nan=False)
    mean: FiniteFloat | None = None
    sd: float | None = Field(None, gt=0, allow_inf_nan=False)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    parts: list[_FilePart] = Field(min_length=1)


class _References(RootModel[dict[str, Reference]]):
    """A `reference.json`."""


@dataclass(frozen=True)
class Part:
    """One scorer of a mix."""

    scorer: Scorer
    weight: float
    mean: float
    sd: float

    def share(self, value: float) -> float:
        """Return what a raw value adds to the mix."""
        return self.weight * (value - self.mean) / self.sd


class WeightedScorer:
    """The mix; an item that one part cannot score has no score."""

    def __init__(self, parts: Sequence[Part], chunk: int) -> None:
        self.name = "weights:" + ",".join(f"{part.scorer.name}={part.weight:g}" for part in parts)
        self.chunk = chunk
        self.revision = digest(
            [[part.scorer.name, part.scorer.revision, part.weight, part.mean, part.sd] for part in parts]
        )
        self.parts = tuple(parts)

    def score(self, items: Sequence[ScoreItem]) -> list[Score]:
        """Score at most `chunk` items.

        Raises:
            ValueError: more than `chunk` items.
        """
        columns = [part.scorer.score(items) for part in self.parts]
        return [self._mix(scores) for scores in zip(*columns, strict=True)]

    def _mix(self, scores: Sequence[Score]) -> Score:
        total = 0.0
        for part, score in zip(self.parts, scores, strict=True):
            if score.value is None:
                return Score(None, f"{part.scorer.name}: {score.error}")
            total += part.share(score.value)
        return as_score(total)


def load(source: str | None, options: ScorerOptions) -> WeightedScorer:
    """Load `SCORER=WEIGHT,SCORER=WEIGHT,...` or a JSON file that says the same; SCORER is a spec as `--scorer` takes.

    Raises:
        BadInput: the mix is malformed, a part does not load, or its mean and deviation are not known.
    """
    wanted = _read_file(Path(source).expanduser()) if source and source.endswith(".json") else _read_text(source or "")
    twice = {part.scorer for part in wanted if [other.scorer for other in wanted].count(part.scorer) > 1}
    if twice:
        raise BadInput(f"scorer weights: got {min(twice)} more than once, expected each part once; add its weights up")
    references = [_reference(part) for part in wanted]  # before anything heavy is loaded
    parts = [
        Part(load_scorer(part.scorer, **asdict(options)), part.weight, reference.mean, reference.sd)
        for part, reference in zip(wanted, references, strict=True)
    ]
    return WeightedScorer(parts, options.chunk)


def _read_text(source: str) -> list[_FilePart]:
    parts = []
    for text in source.split(","):
        spec, _, weight = text.strip().rpartition("=")
        try:
            parts.append(_FilePart(scorer=spec.strip(), weight=float(weight), mean=None, sd=None))
            if not spec or spec.startswith("weights:"):
                raise ValueError
        except ValueError as error:
            raise BadInput(
                f"scorer weights: got the part {text!r}, expected SCORER=WEIGHT with a weight above 0, as in "
                "weights:hpsv2.1=0.7,aesthetic=0.3; change --scorer"
            ) from error
    return parts


def _read_file(path: Path) -> list[_FilePart]:
    parts = _read_model(_File, path, '{"parts": [{"scorer": "hpsv2.1", "weight": 0.7}, ...]}').parts
    nested = [part.scorer for part in parts if part.scorer.startswith("weights:")]
    if nested:
        raise BadInput(f"{path}: got the mix {nested[0]!r} as a part, expected single scorers; list its parts")
    return parts


def _reference(part: _FilePart) -> Reference:
    if part.mean is not None and part.sd is not None:
        return Reference(mean=part.mean, sd=part.sd)
    name, _, source = part.scorer.partition("=")
    folder = Path(source or name).expanduser()
    if folder.is_dir():
        kind = name if source else "hpsv2"  # a bare folder is that
        path = folder / REFERENCE_FILE
        form = f'{{"{kind}": {{"mean": M, "sd": S}}}}'
        known = _read_model(_References, path, form).root if path.is_file() else {}
        found = known.get(kind)
    else:
        path, form, found = None, "", NOMINAL.get(part.scorer) or NOMINAL.get(name)
    if found is None:
        wanted = f"{form} in {path}" if path else f"one of {', '.join(NOMINAL)}, or a scorer's folder"
        raise BadInput(
            f"scorer weights: got no mean and deviation for {part.scorer}, expected {wanted}; add them there, or give "
            "them in weights:FILE.json"
        )
    return found


def _read_model(model: type[Model], path: Path, form: str) -> Model:
    try:
        return model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{path}: got {where}: {first['msg']}, expected {form}; mend it") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: got no readable JSON ({one_line(error)}), expected {form}; check --scorer") from error
