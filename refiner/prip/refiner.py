"""PRIP behind `core.interfaces.Refiner`. Heavy: imports torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

from core.records import Refinement
from core.seeding import derive_seed
from refiner.answer import join, prefix_of, share_kept, tidy
from refiner.constraints import Wishes, folder_categories
from refiner.folder import MANIFEST_FILE, read_manifest
from refiner.lm import placement
from refiner.neurologic import NeuroLogic, decode
from refiner.prip.answering import Answering
from refiner.prip.model import Prip, from_pretrained
from refiner.sampling import Decoding, draw
from refiner.settings import changed
from refiner.trained import TrainedRefiner


class _Said(NamedTuple):
    """What D wrote, and its rank: clauses met, mean log-probability a token; the greater the better."""

    rank: tuple[int, float]
    text: str


@dataclass(frozen=True, eq=False)
class PripRefiner(TrainedRefiner):
    """Answers from E and D. In `close` mode the variants are the closest of its candidates.

    Attributes:
        prip: E and D, in eval mode.
        answering: how an answer is made, and standing wishes.
    """

    prip: Prip
    answering: Answering = field(default_factory=Answering)

    @property
    def wishes(self) -> Wishes:
        """See `TrainedRefiner`."""
        return self.answering.wishes

    def _with(self, wishes: Wishes) -> Self:
        return replace(self, answering=replace(self.answering, wishes=wishes))

    @property
    def search(self) -> NeuroLogic | None:
        """See `TrainedRefiner`."""
        found = self.asked.search(self.answering.search, self.answering.max_new_tokens)
        return found and replace(found, max_tokens=min(found.max_tokens, self.prip.decoder.room))

    def _answers(self, prompts: Sequence[str], n: int, seed: int) -> list[list[Refinement]]:
        write = self._close if self.answering.mode == "close" else self._prefixed
        rows = zip(prompts, write(prompts, n, seed), strict=True)
        return [[Refinement(prompt, text) for text in dict.fromkeys(texts)] for prompt, texts in rows]

    def _prefixed(self, prompts: Sequence[str], n: int, seed: int) -> list[list[str]]:
        rows = self._write(prompts, [prefix_of(prompt) for prompt in prompts], n, seed)
        return [[join(prompt, said.text) for said in row] for prompt, row in zip(prompts, rows, strict=True)]

    def _close(self, prompts: Sequence[str], n: int, seed: int) -> list[list[str]]:
        """Return each prompt's best candidates by (content words kept, clauses met, mean log-probability)."""
        rows = self._write(prompts, [""] * len(prompts), self.answering.candidates, seed)
        found = {prompt: self._closest(prompt, row)[:n] for prompt, row in zip(prompts, rows, strict=True)}
        lost = [prompt for prompt in prompts if not found[prompt]]
        found |= zip(lost, self._prefixed(lost, n, seed) if lost else (), strict=True)
        return [found[prompt] for prompt in prompts]

    def _closest(self, prompt: str, row: Sequence[_Said]) -> list[str]:
        kept = [(share_kept(prompt, said.text), said) for said in row if tidy(said.text)]
        best = sorted((pair for pair in kept if pair[0] >= self.answering.min_kept), reverse=True)
        return [tidy(said.text) for _, said in best]

    def _write(self, prompts: Sequence[str], prefixes: Sequence[str], n: int, seed: int) -> list[list[_Said]]:
        """Return `n` texts a prompt (a search: at most) with which D goes on from its prefix, the usual one first."""
        context, decoder, how = self.prip.context(prompts, prefixes), self.prip.decoder, self.answering
        if search := self.search:
            asked = zip(prompts, prefixes, strict=True)
            wanted = [
                self._wanted(prompt, seed, prefix, partial(join, prompt) if prefix else tidy)
                for prompt, prefix in asked
            ]
            inputs = {"inputs_embeds": context.embeds, "attention_mask": context.mask}
            found = decode(decoder.lm, decoder.tokenizer, inputs, wanted, search, n=n)
            return [[_Said(one.rank, one.text) for one in row] for row in found]
        columns = []
        for variant in range(n):  # the first as `answering` says, the rest are drawn
            warmth = (how.temperature or 1.0) if variant else how.temperature
            longest = min(how.max_new_tokens, decoder.room)
            decoding = Decoding(longest, warmth, no_repeat_ngram_size=how.no_repeat_ngram_size)
            seeds = [derive_seed("refine", seed, prompt, variant) for prompt in prompts]
            drawn = draw(decoder.lm, context, decoding, seeds, decoder.end)
            means = (drawn.logprobs.sum(dim=1) / drawn.mask.sum(dim=1)).tolist()
            texts = decoder.decode(drawn.tokens, drawn.mask)
            columns.append([_Said((0, mean), text) for mean, text in zip(means, texts, strict=True)])
        return [list(row) for row in zip(*columns, strict=True)]


def load(folder: Path) -> PripRefiner:
    """Load a pivot refiner; its manifest's `answering` says how it answers.

    `categories.json` in the folder, if there is one, takes the place of our own.

    Raises:
        BadInput: a file is missing or corrupt, or a setting is not known.
    """
    manifest = read_manifest(folder)
    answering = changed(Answering(), manifest.settings.get("answering", {}), f"{folder / MANIFEST_FILE}: answering")
    prip, categories = from_pretrained(folder, *placement()), folder_categories(folder)
    return PripRefiner(prip, answering, categories=categories, manifest=manifest)
