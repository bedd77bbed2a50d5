"""What `brushup train` is told: a paper's recipe or a miniworld-sized one, changed by a TOML file and `--set`."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import BadInput
from experiments.config import read_toml
from prompt_db.caps import Caps
from refiner.data import FIRST_COMMA, PairFilter
from refiner.presets import PRESETS, LanguageConfig
from refiner.prip.config import PripConfig, miniworld_config
from refiner.prip.data import MIN_AESTHETIC, MIN_CLIP
from refiner.settings import changed
from refiner.train_config import TrainConfig, check_seed

MINIWORLD, PAPER = "miniworld", "paper"
SIZES = (MINIWORLD, PAPER)
BEST, RANDOM = "best", "random"
STYLE_OF = {
    "beautifulprompt": "beautifulprompt",
    "neuroprompts": "neuroprompts",
    "promptist": "promptist",
    "rew-syn": "promptist",
    "rew-log": "promptist",
}
"""Fine-tuned language models: what is trained, and which template and decoding it has (`refiner.prompting.STYLES`)."""
KINDS = ("prip", *STYLE_OF)
FEWEST_TOKENS = 257
"""Of a vocabulary that is learned: the bytes and the end."""
FOLDER = Path(__file__).resolve().parents[1] / "configs" / "refiners"
"""Holds KIND.toml (paper) and KIND-miniworld.toml."""


@dataclass(frozen=True)
class DataConfig:
    """What is learned from; `miniworld` stands for the embedded world's own. Each recipe reads what it needs.

    Attributes:
        prompts: professional prompts: txt, csv, tsv, json (HPDv2's), jsonl, or DiffusionDB's metadata.parquet.
        users: users' prompts, which reinforcement starts from.
        pairs: plain and professional prompts (BeautifulPrompt's JSON, or our JSON lines).
        sessions: DiffusionDB's metadata.parquet, for Rew-Log; the miniworld has no users, so there: other pairs.
        log: folder of DiffusionDB parts, for PRIP.
        hpdv2: HPDv2's train.json: preferred pictures for PRIP's E, beside the log's.
        hpdv2_pictures: folder of its pictures.
        licence: of the data, for the card; DiffusionDB's (CC0-1.0) is known.
        block_terms: prompts with any of these (living artists, say) are left out.
        most: at most so many prompts or pairs, the first ones; 0 = all.
        holdout: examples that are held out for the evaluation loss.
        count: pairs that the miniworld writes.
        user_prompts: users' prompts that the miniworld writes; 0 = the ones that runs use.
        log_prompts: prompts in the log that the miniworld draws.
        log_renders: pictures of each.
        prefix: how NeuroPrompts cuts a professional prompt: `first-comma` or `full`.
        filter: BeautifulPrompt's.
        preference: scorer that chooses a prompt's best picture, for PRIP's E.
        tries: over 0, E may also choose among pictures of each user's prompt, plain and with the words of so many
            professional prompts after it, drawn by `reward.renderer`; 0 = among the log's alone.
        preferred: which picture of a prompt E learns: the `best`, or a `random` one (PRIP's ablation, table 4).
        d_reads_pivots: False = D learns prompts without their pictures (PRIP's ablation, table 4).
        clip: scorer of the match, for PRIP's D.
        aesthetic: scorer of beauty, for PRIP's D.
        min_clip: floor of `clip`.
        min_aesthetic: floor of `aesthetic`.
        drop_share: over 0, the floors are these quantiles of the log's own scores instead.
        pivot: picture encoder: `miniworld`, or a BLIP-2 by hub id.
        seed: of splits, thinning and what the miniworld writes.
    """

    prompts: str = MINIWORLD
    users: str = MINIWORLD
    pairs: str = MINIWORLD
    sessions: str = MINIWORLD
    log: str = MINIWORLD
    hpdv2: str = ""
    hpdv2_pictures: str = ""
    licence: str = ""
    block_terms: tuple[str, ...] = ()
    most: int = 0
    holdout: int = 64
    count: int = 4000
    user_prompts: int = 0
    log_prompts: int = 800
    log_renders: int = 4
    prefix: str = FIRST_COMMA
    filter: PairFilter = field(default_factory=PairFilter)
    preference: str = "imagereward"
    tries: int = 0
    preferred: str = BEST
    d_reads_pivots: bool = True
    clip: str = "clipscore"
    aesthetic: str = "aesthetic"
    min_clip: float = MIN_CLIP
    min_aesthetic: float = MIN_AESTHETIC
    drop_share: float = 0.0
    pivot: str = MINIWORLD
    seed: int = 0

    def __post_init__(self) -> None:
        amounts = {
            "most": 0,
            "holdout": 0,
            "count": 1,
            "user_prompts": 0,
            "log_prompts": 1,
            "log_renders": 1,
            "tries": 0,
        }
        _at_least("data", self, {**amounts, "seed": 0})
        if not 0 <= self.drop_share < 1:
            raise BadInput(f"data.drop_share is {self.drop_share}, expected 0 to under 1; change it")
        if self.preferred not in (BEST, RANDOM):
            raise BadInput(f"data.preferred: got {self.preferred!r}, expected {BEST} or {RANDOM}; change it")


@dataclass(frozen=True)
class RewardConfig:
    """What refined prompts are judged by.

    Attributes:
        by: `pictures` (drawn and scored at every step) or `text` (models that learned from scored pictures once).
        renderer: as in `rendering.load_renderer`, or `miniworld`.
        scorers: as in `scoring.load_scorer`; `miniworld`, `miniworld:pick`, `miniworld:aesthetic`, `miniworld:reward`.
        steps: denoising steps; 0 = the renderer's own.
        chunk: pictures drawn at once.
        seeds: pictures a prompt.
        text: training of reward models that read.
        keep: whether these are kept in the refiner's folder, as `rewards/NAME`.
    """

    by: str = "pictures"
    renderer: str = MINIWORLD
    scorers: tuple[str, ...] = (MINIWORLD,)
    steps: int = 0
    chunk: int = 8
    seeds: int = 1
    text: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=1, batch_size=64, learning_rate=1e-5))
    keep: bool = False

    def __post_init__(self) -> None:
        if self.by not in ("pictures", "text"):
            raise BadInput(f"reward.by: got {self.by!r}, expected pictures or text; change it")
        if not self.scorers:
            raise BadInput("reward.scorers: got none, expected at least one; change it")
        _at_least("reward", self, {"seeds": 1, "steps": 0, "chunk": 1})


@dataclass(frozen=True)
class TrainingConfig:
    """One training.

    Attributes:
        refiner: a name of `KINDS`.
        size: `miniworld` or `paper`: which preset the rest starts from.
        stages: `sft` and `ppo`; for PRIP `e`, `d` and `ppo`; the last ones may be left out.
        model: shape and stages.
        label: one line for the card and for every answer.
        vocabulary: tokens of a vocabulary that is learned (models without a base).
        answering: settings of the finished refiner: changes to `refiner.prompting.STYLES`, or PRIP's `answering`.
        data: what is learned from.
        reward: of reinforcement.
        budget: caps on drawing.
        half: whether the finished weights are written as float16.
        seed: of fresh weights.
    """

    refiner: str
    size: str
    stages: tuple[str, ...]
    model: LanguageConfig | PripConfig
    label: str = ""
    vocabulary: int = 1000
    answering: Mapping[str, Any] = field(default_factory=dict)
    data: DataConfig = field(default_factory=DataConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    budget: Caps = field(default_factory=Caps)
    half: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        known = stages_of(self.refiner)
        if not self.stages or known[: len(self.stages)] != tuple(self.stages):
            raise BadInput(
                f"stages: got {', '.join(self.stages) or 'none'}, expected {', '.join(known)}, or the first of them: "
                "each goes on from the one before"
            )
        check_seed(self.seed)
        _at_least("", self, {"vocabulary": FEWEST_TOKENS})

    @property
    def on_miniworld(self) -> bool:
        """Whether anything of the miniworld is in it."""
        data = (self.data.prompts, self.data.pairs, self.data.users, self.data.log, self.data.sessions)
        return MINIWORLD in data or self.reward.renderer == MINIWORLD


def _at_least(table: str, config: Any, floors: Mapping[str, int]) -> None:
    for name, floor in floors.items():
        if (got := getattr(config, name)) < floor:
            key = f"{table}.{name}" if table else name
            raise BadInput(f"{key} is {got}, expected at least {floor}; change it")


def stages_of(refiner: str) -> tuple[str, ...]:
    """Return all stages of a kind of refiner."""
    return ("e", "d", "ppo") if refiner == "prip" else ("sft", "ppo")


def base_config(refiner: str, size: str) -> TrainingConfig:
    """Return a recipe as its paper has it, or at miniworld size.

    Raises:
        BadInput: an unknown kind or size.
    """
    if refiner not in KINDS:
        raise BadInput(f"refiner: got {refiner!r}, expected one of {', '.join(KINDS)}")
    if size not in SIZES:
        raise BadInput(f"size: got {size!r}, expected one of {', '.join(SIZES)}")
    model: LanguageConfig | PripConfig
    if refiner == "prip":
        model = miniworld_config() if size == MINIWORLD else PripConfig()
    else:
        model = PRESETS[MINIWORLD if size == MINIWORLD else STYLE_OF[refiner]]
    return TrainingConfig(refiner, size, stages_of(refiner), model)


def load_training(refiner: str, source: str | None = None, settings: Sequence[str] = ()) -> TrainingConfig:
    """Return the configuration of a training.

    Args:
        refiner: a name of `KINDS`.
        source: a TOML file, or `miniworld` (the default) or `paper` for the files that come with brushup.
        settings: `KEY=VALUE` with dots in the key; they override the file.

    Raises:
        BadInput: an unknown kind, a missing or broken file, one for another refiner, an unknown key or a bad value.
    """
    if refiner not in KINDS:
        raise BadInput(f"refiner: got {refiner!r}, expected one of {', '.join(KINDS)}")
    shipped = {None: f"{refiner}-miniworld.toml", MINIWORLD: f"{refiner}-miniworld.toml", PAPER: f"{refiner}.toml"}
    path = FOLDER / shipped[source] if source in shipped else Path(str(source))
    raw = _without_none(read_toml(path))
    for setting in settings:
        _set(raw, setting)
    if raw.pop("refiner", refiner) != refiner:
        raise BadInput(f"{path} is for another refiner than {refiner}; name the one it is for, or another file")
    base = base_config(refiner, raw.pop("size", MINIWORLD))
    return changed(base, raw, path.name)


def _set(raw: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise BadInput(f"--set is {setting!r}; expected KEY=VALUE, for example model.ppo.steps=50")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *path, last = key.strip().split(".")
    for part in path:
        raw = raw.setdefault(part, {})
        if not isinstance(raw, dict):
            raise BadInput(f"--set is {setting!r}; {part!r} is no table")
    raw[last] = None if value == "none" else value


def _without_none(value: Any) -> Any:
    """Return a TOML value with `"none"` read as None, for which TOML has no word."""
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items()}
    return None if value == "none" else value
