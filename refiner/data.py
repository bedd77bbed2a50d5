"""What language-model refiners learn from: prompts and pairs, filtered as the papers say, every drop counted.

Pure functions over what `prompt_db` reads (`importers`, `prompt_pairs`, `diffusiondb_table`). Scores are handed in, one
an item, None where one failed; such items are dropped, never guessed. PRIP's pictures are chosen in
`refiner.prip.data`. Imports no torch.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from core.errors import BadInput
from core.seeding import generator
from prompt_db.importers import clean_prompt, prompt_fault, read_text
from prompt_db.prompt_pairs import PromptPair
from refiner.clauses import contains
from refiner.prip.data import PromptPicture

Item = TypeVar("Item")
FIRST_COMMA, FULL = "first-comma", "full"
PREFIXES = (FIRST_COMMA, FULL)
"""What a professional prompt is cut to before a refiner goes on from it (2311.12229, section 2.1.2): the text before
its first comma, or, in the ablation, nothing is cut."""


@dataclass(frozen=True)
class Selection(Generic[Item]):
    """What was taken, and what was not.

    Attributes:
        items: in the order of the input.
        dropped: how many were left out, by reason.
    """

    items: tuple[Item, ...]
    dropped: Mapping[str, int]

    def __str__(self) -> str:
        """Return one line: used 900 of 1000; dropped: 60 duplicate, 40 blocked term."""
        lost = ", ".join(f"{count} {reason}" for reason, count in sorted(self.dropped.items(), key=lambda i: -i[1]))
        total = len(self.items) + sum(self.dropped.values())
        return f"used {len(self.items)} of {total}" + (f"; dropped: {lost}" if lost else "")


def _select(items: Sequence[Item], faults: Iterable[str]) -> Selection[Item]:
    """Keep the items without a fault (""), the first of equal ones."""
    kept: dict[Item, None] = {}
    dropped = Counter[str]()
    for item, fault in zip(items, faults, strict=True):
        why = fault or ("duplicate" if item in kept else "")
        if why:
            dropped[why] += 1
        else:
            kept[item] = None
    return Selection(tuple(kept), dict(dropped))


def usable_prompts(prompts: Sequence[str], block_terms: Sequence[str] = ()) -> Selection[str]:
    """Return the prompts without repeats and without any of some terms (whole words, whatever their case).

    Raises:
        BadInput: an empty term.
    """
    return _select(prompts, (_blocked(block_terms, prompt) for prompt in prompts))


def usable_pairs(pairs: Sequence[PromptPair], block_terms: Sequence[str] = ()) -> Selection[PromptPair]:
    """Return the pairs without repeats, and without those that have one of some terms on either side.

    Raises:
        BadInput: an empty term.
    """
    return _select(pairs, (_blocked(block_terms, pair.low, pair.high) for pair in pairs))


def _blocked(terms: Sequence[str], *texts: str) -> str:
    if any(not term.strip() for term in terms):
        raise BadInput("block term: got an empty one, expected words; change --block-terms")
    return "blocked term" if terms and any(contains(tuple(terms), text) for text in texts) else ""


def continuation_pairs(prompts: Iterable[str]) -> Selection[PromptPair]:
    """Return (text before the first comma, whole prompt) of each professional prompt: NeuroPrompts' SFT.

    The paper trains on whole prompts; here the loss is on what follows the prefix, which is what is asked for later.
    """
    pairs = [PromptPair(prompt.partition(",")[0].strip(), prompt) for prompt in prompts]
    return _select(pairs, map(_no_continuation, pairs))


def _no_continuation(pair: PromptPair) -> str:
    if "," not in pair.high:
        return "no comma"
    if not pair.low:
        return "nothing before the first comma"
    return "" if pair.high.partition(",")[2].strip(" ,.") else "nothing behind the first comma"


def prefixes(prompts: Iterable[str], cut: str = FIRST_COMMA) -> Selection[str]:
    """Return what NeuroPrompts' PPO starts from: professional prompts cut as `PREFIXES` says.

    Raises:
        BadInput: an unknown cut.
    """
    if cut not in PREFIXES:
        raise BadInput(f"prefix: got {cut!r}, expected one of {', '.join(PREFIXES)}; change it")
    texts = [prompt.partition(",")[0].strip() if cut == FIRST_COMMA else prompt for prompt in prompts]
    return _select(texts, ("" if text else "nothing before the first comma" for text in texts))


@dataclass(frozen=True)
class PairFilter:
    """BeautifulPrompt's filters before fine-tuning (alibaba/EasyNLP, `beautiful_prompt/data.py`).

    Attributes:
        min_pick: pairs whose PickScore is lower are dropped, and those without one; None = not looked at.
        min_tokens: pairs whose professional prompt has fewer tokens are dropped.
        thin_below: of those with fewer tokens than this ...
        thin_share: ... this share is dropped, chosen by a function of seed and pair.
    """

    min_pick: float | None = 18.5
    min_tokens: int = 25
    thin_below: int = 35
    thin_share: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.thin_share <= 1 or self.min_tokens < 0:
            raise BadInput(f"pair filter: got {self}, expected thin_share from 0 to 1 and min_tokens of at least 0")


def beautiful_pairs(
    pairs: Sequence[PromptPair],
    count_tokens: Callable[[str], int],
    settings: PairFilter | None = None,
    *,
    seed: int = 0,
) -> Selection[PromptPair]:
    """Return the pairs that BeautifulPrompt learns from.

    Args:
        pairs: low and high prompts; `pick_score` from the file or from pictures.
        count_tokens: of a text, by the tokenizer of the model that learns.
        settings: thresholds; the paper's by default.
        seed: of the thinning.
    """
    settings = settings or PairFilter()

    def fault(pair: PromptPair) -> str:
        if settings.min_pick is not None and pair.pick_score is None:
            return "no PickScore"
        if settings.min_pick is not None and pair.pick_score is not None and pair.pick_score < settings.min_pick:
            return f"PickScore under {settings.min_pick:g}"
        tokens = count_tokens(pair.high)
        if tokens < settings.min_tokens:
            return f"under {settings.min_tokens} tokens"
        drawn = tokens < settings.thin_below and settings.thin_share > 0
        if drawn and generator(seed, "thin", pair.low, pair.high).random() < settings.thin_share:
            return f"thinned, under {settings.thin_below} tokens"
        return ""

    return _select(pairs, map(fault, pairs))


def session_pairs(sessions: Iterable[Sequence[str]]) -> Selection[PromptPair]:
    """Return (first, last) prompt of each session: the user's own rewriting, for Rew-Log (2407.00247, section 4.2)."""
    pairs = [PromptPair(session[0], session[-1]) for session in sessions if session]
    return _select(pairs, ("one prompt only" if pair.low == pair.high else "" for pair in pairs))


def improving_pairs(pairs: Sequence[PromptPair], gains: Mapping[str, Sequence[float | None]]) -> Selection[PromptPair]:
    """Return the pairs whose professional side is better by every scorer: Rew-Syn and Rew-Log (2407.00247, 4.2).

    Args:
        pairs: Promptist's synthetic pairs (Rew-Syn), or `session_pairs` (Rew-Log).
        gains: by scorer, one number a pair: mean score of pictures of `high` minus that of pictures of `low`, both
            against `low` (paper: ImageReward and HPSv2).

    Raises:
        BadInput: no scorer, or not one gain a pair.
    """
    for name, values in gains.items():
        if len(values) != len(pairs):
            raise BadInput(f"gains by {name}: got {len(values)} for {len(pairs)} pairs, expected one a pair")
    if not gains:
        raise BadInput("gains: got no scorer, expected at least one; name --scorer")
    faults = []
    for row in zip(*gains.values(), strict=True):
        told = dict(zip(gains, row, strict=True))
        missing = any(gain is None or not math.isfinite(gain) for gain in row)
        worse = [name for name, gain in told.items() if gain is not None and gain <= 0]
        faults.append("no score" if missing else f"not better by {worse[0]}" if worse else "")
    return _select(pairs, faults)


def hpdv2_pictures(path: Path, folder: Path) -> Selection[PromptPicture]:
    """Return each prompt's preferred picture from HPDv2's `train.json` (tgxs002/HPSv2, README), for PRIP's E.

    Args:
        path: the JSON list of `{prompt, file_path: [...], human_preference: [0 or 1, ...]}`.
        folder: where the pictures lie; nothing outside it is taken.

    Raises:
        BadInput: the file is not such a list.
    """
    try:
        rows = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON: {error}; expected HPDv2's train.json, copy it anew") from None
    if not isinstance(rows, list):
        raise BadInput(f"{path} holds a JSON {type(rows).__name__}, expected a list of objects; copy it anew")
    read = [_preferred(row, Path(folder)) for row in rows]
    return _select([picture for picture, _ in read], [fault for _, fault in read])


def _preferred(row: object, folder: Path) -> tuple[PromptPicture, str]:
    """Return a row's prompt with its preferred picture, and what is wrong with it, "" if nothing."""
    none = PromptPicture("", folder)
    if not isinstance(row, dict) or not {"prompt", "file_path", "human_preference"} <= set(row):
        return none, "without prompt, file_path or human_preference"
    prompt, names, votes = clean_prompt(row["prompt"]), row["file_path"], row["human_preference"]
    if fault := prompt_fault(row["prompt"], prompt):
        return none, fault
    if not (isinstance(names, list) and isinstance(votes, list) and len(names) == len(votes) and votes.count(1) == 1):
        return none, "no single preferred picture"
    name = names[votes.index(1)]
    path = (folder / name).resolve() if isinstance(name, str) else folder
    inside = path.is_relative_to(folder.resolve()) and path.is_file()
    return (PromptPicture(prompt, path), "") if inside else (none, "picture not there")
