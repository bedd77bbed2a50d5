"""What refiners learn from, read and filtered as the papers say; every count goes into the refiner's card."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import miniworld
from core.errors import BadInput
from core.seeding import generator
from experiments.folder import contents_of
from experiments.training.config import MINIWORLD, RANDOM, DataConfig
from prompt_db import diffusiondb_table
from prompt_db.diffusiondb import LoggedImage, read_parts
from prompt_db.importers import read_prompts
from prompt_db.prompt_pairs import PromptPair, read_pairs
from refiner.data import Selection, hpdv2_pictures, session_pairs, usable_pairs, usable_prompts
from refiner.prip.data import Picture, PromptPicture, preferred_pictures, system_pictures

Item = TypeVar("Item")
_PARQUET = ".parquet"
_OTHER_PAIRS = 1_000_003
"""Added to the seed for the pairs that stand for the sessions of the miniworld's users, whom it does not have."""


@dataclass
class Reader:
    """Reads what a configuration names.

    Attributes:
        config: names and filters.
        made: folder for what the miniworld writes or draws; shared by all trainings of a home.
        facts: what was read, in words, for the card.
    """

    config: DataConfig
    made: Path
    facts: dict[str, Any] = field(default_factory=dict)

    def prompts(self) -> list[str]:
        """Return professional prompts.

        Raises:
            BadInput: no such file, or nothing usable in it.
        """
        return self._prompts("prompts", self.config.prompts, miniworld.CORPUS)

    def users(self) -> list[str]:
        """Return users' prompts.

        Raises:
            BadInput: as `prompts`.
        """
        if self.config.users == MINIWORLD and self.config.user_prompts:
            from miniworld.datasets.gallery import users_prompts

            texts = users_prompts(self.config.user_prompts, self.config.seed)
            return self._kept("users", MINIWORLD, usable_prompts(texts, self.config.block_terms))
        return self._prompts("users", self.config.users, miniworld.PROMPTS / "train.jsonl")

    def _prompts(self, what: str, source: str, embedded: Path) -> list[str]:
        path = embedded if source == MINIWORLD else Path(source)
        if path.suffix == _PARQUET:
            table = diffusiondb_table.read_table(path)
            self.facts[f"{what}, dropped"] = dict(table.dropped)
            found: Sequence[str] = table.prompts
        else:
            found = read_prompts(path).prompts
        return self._kept(what, source, usable_prompts(found, self.config.block_terms))

    def pairs(self) -> list[PromptPair]:
        """Return pairs of a plain and a professional prompt.

        Raises:
            BadInput: as `prompts`.
        """
        source = self.config.pairs
        path = self._made_pairs(self.config.seed) if source == MINIWORLD else Path(source)
        return self._kept("pairs", source, usable_pairs(read_pairs(path).pairs, self.config.block_terms))

    def session_pairs(self) -> list[PromptPair]:
        """Return the first and last prompt of users' sessions; in the miniworld, pairs of another seed.

        Raises:
            BadInput: as `prompts`.
        """
        source = self.config.sessions
        if source == MINIWORLD:
            found = read_pairs(self._made_pairs(self.config.seed + _OTHER_PAIRS)).pairs
        else:
            found = session_pairs(diffusiondb_table.read_sessions(Path(source))).items
        return self._kept("sessions", source, usable_pairs(found, self.config.block_terms))

    def _made_pairs(self, seed: int) -> Path:
        from miniworld.datasets.pairs import write_pairs

        path = self.made / f"pairs-{self.config.count}-{seed}.jsonl"
        write_pairs(path, self.config.count, seed)
        return path

    def _kept(self, what: str, source: str, selection: Selection[Item]) -> list[Item]:
        most = self.config.most or len(selection.items)
        kept = list(selection.items[:most])
        if not kept:
            raise BadInput(f"data.{what}: got nothing usable in {source} ({selection}), expected some; see its filters")
        licence = self.config.licence or (diffusiondb_table.LICENCE if source.endswith(_PARQUET) else "")
        first = f"; the first {len(kept)}" if len(kept) < len(selection.items) else ""
        self.facts[what] = f"{source}: {selection}{first}" + (f"; licence {licence}" if licence else "")
        return kept

    def log(self) -> list[LoggedImage]:
        """Return the pictures of a log; the miniworld's is drawn first (or gone on with).

        Raises:
            BadInput: no parts there, or none without blocked terms.
        """
        source = self.config.log
        folder = self._made_log() if source == MINIWORLD else Path(source)
        log = [image for image in read_parts(folder) if image.prompt.strip()]
        allowed = set(usable_prompts([image.prompt for image in log], self.config.block_terms).items)
        kept = [image for image in log if image.prompt in allowed]
        if not kept:
            raise BadInput(f"data.log: got no usable picture in {source}, expected some; see data.block_terms")
        self.facts["log"] = f"{source}: {len(kept)} pictures of {len(allowed)} prompts"
        return kept

    def _made_log(self) -> Path:
        from miniworld.datasets.gallery import GallerySize
        from miniworld.datasets.log import write_log
        from miniworld.datasets.source import open_source

        size = GallerySize(self.config.log_prompts, self.config.log_renders, self.config.seed)
        folder = self.made / f"log-{size.prompts}x{size.renders}-{size.seed}"
        write_log(folder, size, open_source(miniworld.PIPELINE))
        return folder

    def pictures(
        self,
        score: Callable[[str, Sequence[Picture]], Sequence[float | None]],
        try_out: Callable[[], Sequence[tuple[str, PromptPicture]]] = tuple,
    ) -> tuple[list[PromptPicture], list[PromptPicture]]:
        """Return what PRIP's E and D learn from: prompts with their best picture; pictures with system language.

        Args:
            score: from a scorer's name and pictures to their scores.
            try_out: draws users' prompts, each with a picture of this or a richer prompt; called once the log is read.

        Raises:
            BadInput: as `log`, or nothing is over the floors.
        """
        config, log = self.config, [PromptPicture(image.prompt, image.path) for image in self.log()]
        tried = try_out()
        rng = generator("preferred", config.seed) if config.preferred == RANDOM else None
        asked = [*log, *(PromptPicture(user, picture.path) for user, picture in tried)]
        preferred = preferred_pictures(asked, score(config.preference, asked), rng)
        if config.hpdv2:
            found = hpdv2_pictures(Path(config.hpdv2), Path(config.hpdv2_pictures or Path(config.hpdv2).parent))
            self.facts["hpdv2"] = str(found)
            preferred += found.items
        log += [picture for _, picture in tried]
        clip, beauty = score(config.clip, log), score(config.aesthetic, log)
        floors = {"min_clip": config.min_clip, "min_aesthetic": config.min_aesthetic}
        if config.drop_share:
            floors = {"min_clip": _quantile(clip, config), "min_aesthetic": _quantile(beauty, config)}
        system = system_pictures(log, clip, beauty, **floors)
        if not preferred or not system:
            raise BadInput(
                f"data.log: got {len(preferred)} preferred pictures and {len(system)} of system language, {floors}, "
                "expected some of both; lower data.min_clip and data.min_aesthetic"
            )
        self.facts |= {"preferred pictures": len(preferred), "system-language pictures": len(system), **floors}
        return preferred, system


def _quantile(scores: Sequence[float | None], config: DataConfig) -> float:
    known = [score for score in scores if score is not None]
    return float(np.quantile(known, config.drop_share)) if known else 0.0


def file_contents(config: DataConfig) -> dict[str, str]:
    """Return a digest of what each file or folder holds that a configuration names."""
    names = ("prompts", "users", "pairs", "sessions", "log", "hpdv2", "hpdv2_pictures")
    named = {name: getattr(config, name) for name in names}
    return {name: contents_of(Path(where)) for name, where in named.items() if where not in ("", MINIWORLD)}


def held_out(
    items: Sequence[Item], count: int, seed: int, key: Callable[[Item], Hashable] = lambda item: item
) -> tuple[list[Item], list[Item]]:
    """Return (training, evaluation): about `count` items for evaluation, at most a fifth; equal keys stay together."""
    keys = list(dict.fromkeys(key(item) for item in items))
    share = min(count / len(items), 0.2) if items else 0.0
    chosen = {keys[place] for place in generator("held-out", seed).permutation(len(keys))[: round(share * len(keys))]}
    return (
        [item for item in items if key(item) not in chosen],
        [item for item in items if key(item) in chosen],
    )
