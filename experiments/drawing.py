"""Pictures and scores outside a run: the run's own renderer, scorers, cache and ledger, for training and for looking.

Keys are those of the loop, so what a run has drawn or scored is never paid for again, and the reverse.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from core.calllog import log_calls
from core.interfaces import Renderer, Scorer
from core.records import RenderRequest, ScoreItem
from core.seeding import derive_seed
from core.text import digest
from prompt_db.cache_store import CacheStore
from prompt_db.caps import Caps
from prompt_db.ledger import Ledger
from prompt_db.run_store import RunStore
from refiner.rewards import Episodes, Rewards
from rendering.cache import ImageCache, render_key
from rendering.infotext import PARAMETERS, infotext


@dataclass
class Drawing:
    """What draws and scores.

    Attributes:
        renderer: draws.
        scorers: score pictures against users' prompts.
        images: pictures by key.
        cache: scores by key.
        ledger: pays.
        errors: why pictures or scores are missing, by reason.
        drawn: pictures that were not in the cache.
    """

    renderer: Renderer
    scorers: Sequence[Scorer]
    images: ImageCache
    cache: CacheStore
    ledger: Ledger
    errors: dict[str, int] = field(default_factory=dict)
    drawn: int = 0

    def draw(self, requests: Sequence[RenderRequest]) -> list[Path | None]:
        """Return the files of the pictures, each drawn at most once; None where drawing failed.

        Raises:
            BudgetReached: a cap would be overshot.
            BadInput: the disk refuses.
        """
        known = {request: self._known(request) for request in dict.fromkeys(requests)}
        missing = [request for request, file in known.items() if file is None]
        while missing:
            chunk = missing[: self.renderer.chunk]
            known |= self._draw_chunk(chunk)
            missing = missing[len(chunk) :]
        return [known[request] for request in requests]

    def _known(self, request: RenderRequest) -> Path | None:
        key = render_key(self.renderer, request)
        file = self.images.get(key)
        if file is not None:
            charge = f"render:{key}"
            if self.ledger.reserve("render", [charge]):
                self.ledger.settle([charge], cached=True)
        return file

    def _draw_chunk(self, chunk: Sequence[RenderRequest]) -> dict[RenderRequest, Path | None]:
        charges = [f"render:{render_key(self.renderer, request)}" for request in chunk]
        self.ledger.reserve("render", charges)
        with self.ledger.busy("render"):
            results = self.renderer.render(chunk)
        keys = [render_key(self.renderer, request) for request in chunk]  # anew: memory may have run out
        log_calls("render", keys)
        drawn = [(key, result.image) for key, result in zip(keys, results, strict=True) if result.image is not None]
        asked = dict(zip(keys, chunk, strict=True))
        texts = {key: {PARAMETERS: infotext(self.renderer, asked[key], image.size)} for key, image in drawn}
        self.images.put_many(drawn, texts)
        self.ledger.settle(charges, cached=False)
        self._count(result.error for result in results)
        self.drawn += len(drawn)
        return {request: self.images.path(key) if key in texts else None for key, request in asked.items()}

    def score(self, scorer: Scorer, files: Sequence[Path | None], prompts: Sequence[str]) -> list[float | None]:
        """Return each picture's score against its prompt; None without a picture, or where scoring failed.

        Pictures of the cache are known by their names, which are keys; others by their contents.
        """
        parts = [scorer.name, scorer.revision, scorer.chunk]
        keys = [
            None if file is None else digest([*parts, self._name(file), prompt], 32)
            for file, prompt in zip(files, prompts, strict=True)
        ]
        values = self._cached_scores([key for key in keys if key])
        todo = {
            key: (file, prompt)
            for key, file, prompt in zip(keys, files, prompts, strict=True)
            if key and file and key not in values
        }
        for start in range(0, len(todo), scorer.chunk):
            values |= self._score_chunk(scorer, dict(list(todo.items())[start : start + scorer.chunk]))
        return [values.get(key) if key else None for key in keys]

    def _name(self, file: Path) -> str:
        return file.stem if file.is_relative_to(self.images.root) else digest(file.read_bytes().hex(), 32)

    def _cached_scores(self, keys: Sequence[str]) -> dict[str, float]:
        found: dict[str, float] = {}
        for start in range(0, len(keys), 500):  # SQLite's limit on marks
            found |= self.cache.scores(keys[start : start + 500])
        return found

    def _score_chunk(self, scorer: Scorer, chunk: Mapping[str, tuple[Path, str]]) -> dict[str, float]:
        charges = [f"score:{scorer.name}:{key}" for key in chunk]
        self.ledger.reserve("score", charges)
        items = [ScoreItem(self.images.load(file), prompt) for file, prompt in chunk.values()]
        with self.ledger.busy("score"):
            scores = scorer.score(items)
        log_calls("score", chunk)
        found = {key: s.value for key, s in zip(chunk, scores, strict=True) if s.value is not None}
        self.cache.put_scores(found)
        self.ledger.settle(charges, cached=False)
        self._count(score.error for score in scores)
        return found

    def _count(self, errors: Iterable[str]) -> None:
        for error in errors:
            if error:
                self.errors[error] = self.errors.get(error, 0) + 1

    def scores(self, prompts: Sequence[str], texts: Sequence[str], seed: int, *, seeds: int = 1) -> Rewards:
        """Return by scorer the mean score of pictures of each text against its user's prompt; None where one failed.

        Equal prompts get equal diffusion seeds, so what is compared for one prompt is drawn from the same noise.

        Args:
            prompts: users' prompts.
            texts: what is drawn for them.
            seed: diffusion seeds are functions of it and the user's prompt.
            seeds: pictures a text.
        """
        rounds = []
        for k in range(seeds):
            own = [derive_seed("training-picture", seed, prompt, k) for prompt in prompts]
            files = self.draw([RenderRequest(text, number) for text, number in zip(texts, own, strict=True)])
            rounds.append({scorer.name: self.score(scorer, files, prompts) for scorer in self.scorers})
        names = [scorer.name for scorer in self.scorers]
        return {name: [_mean(row) for row in zip(*(found[name] for found in rounds), strict=True)] for name in names}

    def gains(self, episodes: Episodes, *, seeds: int = 1) -> Rewards:
        """Return what PPO is rewarded with: score(refined | prompt) - score(prompt | prompt), on equal seeds.

        (PRIP, 2407.00247, section 3.4.) With the step's seed in `episodes`, every step sees fresh diffusion seeds.
        """
        refined = self.scores(episodes.prompts, episodes.refined, episodes.seed, seeds=seeds)
        plain = self.scores(episodes.prompts, episodes.prompts, episodes.seed, seeds=seeds)
        return {
            name: [
                None if after is None or before is None else after - before
                for after, before in zip(refined[name], plain[name], strict=True)
            ]
            for name in refined
        }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


Models = Callable[[], tuple[Renderer, Sequence[Scorer]]]
"""Loads what draws and scores."""


@contextmanager
def open_drawing(home: Path, ledger: Path, models: Models, caps: Caps | None = None) -> Iterator[Drawing]:
    """Yield a drawing table with the home's cache.

    Args:
        home: whose cache: `HOME/cache`.
        ledger: database file of the ledger; made if it is not there.
        models: loads renderer and scorers.
        caps: limits; none by default.

    Raises:
        BadInput: a model cannot be loaded, or a database is damaged.
    """
    ledger.parent.mkdir(parents=True, exist_ok=True)
    store, cache = RunStore.writer(ledger), CacheStore(_made(home / "cache") / "cache.db")
    try:
        began = time.time()
        session = store.append("session", {"pid": os.getpid(), "started": began, "loop_started": began})
        renderer, scorers = models()
        yield Drawing(
            renderer, scorers, ImageCache(home / "cache" / "images"), cache, Ledger(store, caps or Caps(), session)
        )
    finally:
        store.upsert("session", [{"id": session, "ended": time.time()}])
        cache.close()
        store.close()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
