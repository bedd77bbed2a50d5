"""PRIP behind `core.interfaces.Refiner`. Heavy: imports torch."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from core.records import Refinement
from core.seeding import derive_seed
from refiner.answer import join, prefix_of, share_kept, stem, tidy
from refiner.folder import MANIFEST_FILE, Manifest, read_manifest
from refiner.lm import placement
from refiner.prip.answering import Answering
from refiner.prip.model import Prip, from_pretrained
from refiner.sampling import Context, Decoding, draw
from refiner.settings import changed

_CHUNK = 64


class PripRefiner:
    """Answers users' prompts. An answer depends on its prompt and the seed, not on the other prompts of a call."""

    def __init__(self, prip: Prip, answering: Answering | None = None, manifest: Manifest | None = None) -> None:
        """Answer with two models, in eval mode."""
        self.manifest = manifest
        self._prip = prip
        self._answering = answering or Answering()
        self._lock = threading.Lock()

    async def refine(self, prompts: Sequence[str], *, seed: int) -> list[Refinement]:
        """See `core.interfaces.Refiner`. A prompt without a word or character to draw fails."""
        return await asyncio.to_thread(self._refine, prompts, seed, self._answering)

    async def variants(self, prompts: Sequence[str], n: int, *, seed: int) -> list[list[Refinement]]:
        """Return for each prompt at most `n` different refinements, the usual answer first, or its failure."""
        drawn = replace(self._answering, temperature=self._answering.temperature or 1.0)
        ways = [(seed, self._answering), *((derive_seed(seed, variant), drawn) for variant in range(1, n))]
        rows = [await asyncio.to_thread(self._refine, prompts, own, how) for own, how in ways]
        return [list(dict.fromkeys(row)) for row in zip(*rows, strict=True)]

    def _refine(self, prompts: Sequence[str], seed: int, how: Answering) -> list[Refinement]:
        usable = list(dict.fromkeys(prompt for prompt in prompts if stem(prompt)))
        found: dict[str, str] = {}
        write = self._close if how.mode == "close" else self._prefixed
        with self._lock, torch.inference_mode():
            for start in range(0, len(usable), _CHUNK):
                chunk = usable[start : start + _CHUNK]
                found |= dict(zip(chunk, write(chunk, seed, how), strict=True))
        return [
            Refinement(prompt, found[prompt])
            if prompt in found
            else Refinement(prompt, error="the prompt is empty; expected what the picture should show")
            for prompt in prompts
        ]

    def _prefixed(self, prompts: Sequence[str], seed: int, how: Answering) -> list[str]:
        context = self._prip.context(prompts, [prefix_of(prompt) for prompt in prompts])
        texts, _ = self._write(context, [derive_seed("refine", seed, prompt) for prompt in prompts], how)
        return [join(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]

    def _close(self, prompts: Sequence[str], seed: int, how: Answering) -> list[str]:
        """Return each prompt's best candidate by (content words kept, mean log-probability)."""
        best: list[tuple[float, float, str]] = [(-1.0, 0.0, "")] * len(prompts)
        context = self._prip.context(prompts, [""] * len(prompts))
        for candidate in range(how.candidates):  # the first as `how` says, the rest are drawn
            drawn = replace(how, temperature=how.temperature or 1.0) if candidate else how
            seeds = [derive_seed("refine", seed, prompt, candidate) for prompt in prompts]
            texts, scores = self._write(context, seeds, drawn)
            for index, (prompt, text, score) in enumerate(zip(prompts, texts, scores, strict=True)):
                best[index] = max(best[index], (share_kept(prompt, text), score, tidy(text)))
        lost = [prompt for prompt, row in zip(prompts, best, strict=True) if row[0] < how.min_kept]
        instead = dict(zip(lost, self._prefixed(lost, seed, how), strict=True)) if lost else {}
        return [instead.get(prompt, row[2]) for prompt, row in zip(prompts, best, strict=True)]

    def _write(self, context: Context, seeds: Sequence[int], how: Answering) -> tuple[list[str], list[float]]:
        """Return what D writes, and its mean log-probability a token."""
        decoder = self._prip.decoder
        new = min(how.max_new_tokens, decoder.room)
        decoding = Decoding(new, how.temperature, no_repeat_ngram_size=how.no_repeat_ngram_size)
        drawn = draw(decoder.lm, context, decoding, seeds, decoder.end)
        means = drawn.logprobs.sum(dim=1) / drawn.mask.sum(dim=1)
        return decoder.decode(drawn.tokens, drawn.mask), means.tolist()


def load(folder: Path) -> PripRefiner:
    """Load a pivot refiner; its manifest's `answering` says how it answers.

    Raises:
        BadInput: a file is missing or corrupt, or a setting is not known.
    """
    manifest = read_manifest(folder)
    answering = changed(Answering(), manifest.settings.get("answering", {}), f"{folder / MANIFEST_FILE}: answering")
    return PripRefiner(from_pretrained(folder, *placement()), answering, manifest)
