"""Causal language models behind `core.interfaces.Refiner`: BeautifulPrompt, NeuroPrompts, Promptist. Imports torch.

Answers depend on a prompt and the seed, not on the other prompts of a call (in float32 a batch's shape moves the last
bits, and with them, rarely, a choice between tokens that are equally likely).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from transformers import AutoModelForCausalLM

from core.errors import BadInput
from core.records import Refinement
from core.seeding import derive_seed
from refiner.answer import prefix_of, share_kept
from refiner.constraints import Wishes, folder_categories
from refiner.folder import read_manifest
from refiner.lm import load_pretrained, load_tokenizer, longest_row, padded, placement
from refiner.neurologic import NeuroLogic, decode
from refiner.prompting import STYLES, Generation, Prompting, prompting_of
from refiner.sampling import Context, Decoding, draw
from refiner.trained import TrainedRefiner

RELEASED = {
    "beautifulprompt": ("alibaba-pai/pai-bloom-1b1-text2prompt-sd", ""),
    "neuroprompts": ("Intel/NeuroPrompts", ""),
    "promptist": ("microsoft/Promptist", "openai-community/gpt2"),
}
"""By style, the hub ids of the authors' weights, and of the tokenizer where it lies elsewhere."""


@dataclass(frozen=True, eq=False)
class CausalRefiner(TrainedRefiner):
    """Answers with a causal language model.

    A prompt fails if it is empty, if it is too long for the model, if the model's vocabulary lacks its characters and
    the answer would replace it, if nothing is answered, or if the answer keeps too little of it.

    Attributes:
        model: in eval mode.
        tokenizer: its tokenizer, with a padding and an end token.
        prompting: template, decoding and standing wishes.
    """

    model: Any
    tokenizer: Any
    prompting: Prompting

    @property
    def wishes(self) -> Wishes:
        """See `TrainedRefiner`."""
        return self.prompting.wishes

    def _with(self, wishes: Wishes) -> Self:
        return replace(self, prompting=replace(self.prompting, wishes=wishes))

    @property
    def search(self) -> NeuroLogic | None:
        """See `TrainedRefiner`."""
        return self.asked.search(self.prompting.search, self.prompting.generation.max_new_tokens)

    def _fault(self, prompt: str) -> str:
        if fault := super()._fault(prompt):
            return fault
        ids = self._ids(prompt)
        room = longest_row(self.model)
        if room is not None and len(ids) + self._longest > room:
            return (
                f"the prompt has {len(ids)} tokens with its template; this model takes {room - self._longest} before "
                f"an answer of {self._longest}; shorten it"
            )
        if not self.prompting.continues and self.tokenizer.unk_token_id in ids:
            return "the model's vocabulary lacks characters of the prompt; expected a language that it has learnt"
        return ""

    @property
    def _longest(self) -> int:
        search = self.search
        return search.max_tokens if search else self.prompting.generation.max_new_tokens

    def _ids(self, prompt: str) -> list[int]:
        return self.tokenizer.encode(self.prompting.source(prompt), add_special_tokens=False)

    def _answers(self, prompts: Sequence[str], n: int, seed: int) -> list[list[Refinement]]:
        ids, mask = padded([self._ids(prompt) for prompt in prompts], self.tokenizer.pad_token_id, "left")
        inputs = {"input_ids": ids.to(self.model.device), "attention_mask": mask.to(self.model.device)}
        if search := self.search:
            texts = self._searched(prompts, inputs, search, n, seed)
        else:
            texts = self._written(prompts, inputs, n, seed)
        return [self._refinements(prompt, found) for prompt, found in zip(prompts, texts, strict=True)]

    def _searched(
        self, prompts: Sequence[str], inputs: dict[str, torch.Tensor], search: NeuroLogic, n: int, seed: int
    ) -> list[list[str]]:
        result = self.prompting.result
        prefixes = [prefix_of(prompt) if self.prompting.continues else "" for prompt in prompts]
        asked = zip(prompts, prefixes, strict=True)
        wanted = [self._wanted(prompt, seed, prefix, partial(result, prompt)) for prompt, prefix in asked]
        found = decode(self.model, self.tokenizer, inputs, wanted, search, n=n)
        return [[hypothesis.text for hypothesis in row] for row in found]

    def _written(self, prompts: Sequence[str], inputs: dict[str, torch.Tensor], n: int, seed: int) -> list[list[str]]:
        how, texts = self.prompting.generation, []
        for variant in range(n):
            how = replace(how, sample=how.sample or variant > 0)
            seeds = [derive_seed("refine", seed, prompt, variant) for prompt in prompts]
            texts.append(generate(self.model, self.tokenizer, inputs, how, seeds))
        return [list(row) for row in zip(*texts, strict=True)]

    def _refinements(self, prompt: str, answers: Sequence[str]) -> list[Refinement]:
        """Return what is usable among the answers to a prompt, without repeats; if nothing is, why."""
        results = dict.fromkeys(self.prompting.result(prompt, answer) for answer in answers)
        least = self.prompting.min_kept
        kept = [text for text in results if text and share_kept(prompt, text) >= least]
        if kept:
            return [Refinement(prompt, text) for text in kept]
        if not any(results):
            lawful = " without a forbidden term" if self.wishes.must_not else ""
            return [Refinement(prompt, error=f"the model answered nothing{lawful}")]
        return [Refinement(prompt, error=f"lost-subject: no answer keeps {least:.0%} of the prompt's meaningful words")]


def generate(
    model: Any, tokenizer: Any, inputs: dict[str, torch.Tensor], how: Generation, seeds: Sequence[int]
) -> list[str]:
    """Return what a model writes after each row, special tokens left out.

    Args:
        model: a causal language model of transformers, in eval mode.
        tokenizer: its tokenizer.
        inputs: `input_ids` and `attention_mask`, (batch, length), padded on the left.
        how: settings.
        seeds: one a row; unused without `sample`.
    """
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    decoding = Decoding(
        how.max_new_tokens,
        how.temperature if how.sample else 0.0,
        top_k=how.top_k,
        top_p=how.top_p,
        repetition_penalty=how.repetition_penalty,
        no_repeat_ngram_size=how.no_repeat_ngram,
    )
    said = [row[kept.bool()].tolist() for row, kept in zip(ids, mask, strict=True)]
    context = Context(model.get_input_embeddings()(ids), mask)
    drawn = draw(model, context, decoding, seeds, tokenizer.eos_token_id, said=said)
    rows = [row[kept.bool()].tolist() for row, kept in zip(drawn.tokens, drawn.mask, strict=True)]
    return tokenizer.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def load(folder: Path) -> CausalRefiner:
    """Load a causal refiner's folder; `settings` of its manifest are read by `refiner.prompting.prompting_of`.

    `categories.json` in the folder, if there is one, takes the place of our own.

    Raises:
        BadInput: a file is missing or corrupt, or a setting is not known.
    """
    manifest = read_manifest(folder)
    prompting = prompting_of(dict(manifest.settings), f"{folder}/refiner.json")
    model, tokenizer = _model(str(folder)), load_tokenizer(str(folder))
    return CausalRefiner(model, tokenizer, prompting, categories=folder_categories(folder), manifest=manifest)


def load_released(style: str, source: str = "") -> CausalRefiner:
    """Load weights in transformers' layout that are no refiner's folder, such as the authors'.

    Args:
        style: a name of `refiner.prompting.STYLES`: which template and decoding the weights were made for.
        source: a folder, or a hub id `org/name` or `org/name@revision`; by default the one in `RELEASED`.

    Raises:
        BadInput: an unknown style, or nothing there that loads.
    """
    if style not in STYLES:
        raise BadInput(f"refiner style: got {style!r}, expected one of {', '.join(STYLES)}")
    released, tokenizer = RELEASED[style]
    source = source or released
    elsewhere = tokenizer if source.partition("@")[0] == released else ""
    return CausalRefiner(_model(source), load_tokenizer(elsewhere or source), STYLES[style])


def _model(source: str) -> Any:
    device, dtype = placement()
    return load_pretrained(AutoModelForCausalLM, source, dtype=dtype).to(device).eval()
