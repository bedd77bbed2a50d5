"""Appends fixed phrases: the smallest refiner, and what a trained one has to beat (docs/extending.md)."""

from collections.abc import Sequence
from pathlib import Path

from core.records import Refinement
from refiner.answer import join, stem
from refiner.folder import Manifest, read_manifest


class Phrases:
    """Goes on from every prompt with the same words."""

    def __init__(self, manifest: Manifest) -> None:
        """Take the phrases out of a folder's manifest."""
        self.manifest = manifest
        self._phrases = ", ".join(manifest.settings["phrases"])

    async def refine(self, prompts: Sequence[str], *, seed: int) -> list[Refinement]:
        """See `core.interfaces.Refiner`."""
        return [self._one(prompt) for prompt in prompts]

    def _one(self, prompt: str) -> Refinement:
        if not stem(prompt):
            return Refinement(prompt, error="the prompt is empty; expected what the picture should show")
        return Refinement(prompt, join(prompt, self._phrases))


def load(folder: Path) -> Phrases:
    """Load it from a refiner's folder."""
    return Phrases(read_manifest(folder))
