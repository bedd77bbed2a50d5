"""PRIP behind `core.interfaces.Refiner`. Heavy: imports torch."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from core.errors import BadInput
from core.records import Refinement
from core.seeding import derive_seed
from refiner.folder import Manifest, read_manifest
from refiner.prip.answer import Answering, join, prefix_of, share_kept, stem, tidy
from refiner.prip.model import Prip, from_pretrained
from refiner.sampling import Context, Decoding, draw

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
        return await asyncio.to_thread(self._refine, prompts, seed)

    def _refine(self, prompts: Sequence[str], seed: int) -> list[Refinement]:
        usable = list(dict.fromkeys(prompt for prompt in prompts if stem(prompt)))
        found: dict[str, str] = {}
        write = self._close if self._answering.mode == "close" else self._prefixed
        with self._lock:
            for start in range(0, len(usable), _CHUNK):
                chunk = usable[start : start + _CHUNK]
                found |= dict(zip(chunk, write(chunk, seed), strict=True))
        return [
            Refinement(prompt, found[prompt])
            if prompt in found
            else Refinement(prompt, error="the prompt is empty; expected what the picture should show")
            for prompt in prompts
        ]

    def _prefixed(self, prompts: Sequence[str], seed: int) -> list[str]:
        with torch.inference_mode():
            context = self._prip.context(prompts, [prefix_of(prompt) for prompt in prompts])
            seeds = [derive_seed("refine", seed, prompt) for prompt in prompts]
            texts, _ = self._write(context, seeds, self._answering.temperature)
        return [join(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]

    def _close(self, prompts: Sequence[str], seed: int) -> list[str]:
        """Return each prompt's best candidate by (content words kept, mean log-probability)."""
        best: list[tuple[float, float, str]] = [(-1.0, 0.0, "")] * len(prompts)
        with torch.inference_mode():
            context = self._prip.context(prompts, [""] * len(prompts))
            for candidate in range(
                self._answering.candidates
            ):  # the first is the most probable one, the rest are drawn
                temperature = (self._answering.temperature or 1.0) if candidate else 0.0
                seeds = [derive_seed("refine", seed, prompt, candidate) for prompt in prompts]
                texts, scores = self._write(context, seeds, temperature)
                for index, (prompt, text, score) in enumerate(zip(prompts, texts, scores, strict=True)):
                    best[index] = max(best[index], (share_kept(prompt, text), score, tidy(text)))
        lost = [prompt for prompt, row in zip(prompts, best, strict=True) if row[0] < self._answering.min_kept]
        instead = dict(zip(lost, self._prefixed(lost, seed), strict=True)) if lost else {}
        return [instead.get(prompt, row[2]) for prompt, row in zip(prompts, best, strict=True)]

    def _write(self, context: Context, seeds: Sequence[int], temperature: float) -> tuple[list[str], list[float]]:
        """Return what D writes, and its mean log-probability a token."""
        decoder = self._prip.decoder
        new = min(self._answering.max_new_tokens, decoder.room)
        decoding = Decoding(new, temperature, no_repeat_ngram_size=self._answering.no_repeat_ngram_size)
        drawn = draw(decoder.lm, context, decoding, seeds, decoder.end)
        means = drawn.logprobs.sum(dim=1) / drawn.mask.sum(dim=1)
        return decoder.decode(drawn.tokens, drawn.mask), means.tolist()


def load(folder: Path) -> PripRefiner:
    """Load a pivot refiner; its manifest's `answering` says how it answers.

    Raises:
        BadInput: a file is missing or corrupt, or a setting is not known.
    """
    manifest = read_manifest(folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    return PripRefiner(from_pretrained(folder, device, dtype), _answering(folder, manifest), manifest)


def _answering(folder: Path, manifest: Manifest) -> Answering:
    found: Any = manifest.settings.get("answering", {})
    known = {field.name for field in fields(Answering)}
    if not isinstance(found, dict) or not set(found) <= known:
        raise BadInput(f"{folder}: got answering {found!r}, expected settings out of {', '.join(sorted(known))}")
    return Answering(**found)
