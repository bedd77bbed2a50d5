"""The tokenizer and the pipeline's text encoder.

The encoder learns on text alone to read the scene off a caption, then it is frozen. Captions come with terms in any
order and wording around them, and with words the world does not know, so that an agent's free text degrades
gracefully.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from miniworld.grammar import Scene, caption
from miniworld.renderer import dilution
from miniworld.train.renders import draw_scene
from miniworld.train.stages import Workspace
from miniworld.vocabulary import COLOURS, FAMILIES, FILLERS, PLACES, SUBJECTS, TERMS

CONTEXT = 48
WIDTH = 128
_VOCABULARY = 1000
_BATCH = 192
_STEPS = 1500
_CLIP_WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
"""How CLIP cuts text: words, single digits, runs of punctuation."""
_START, _END = "<|startoftext|>", "<|endoftext|>"
_JOINERS = (", ", ", ", ", ", ", with ", " and ", " with ", ", and ", "; ", ". ")
_SPARE_WORDS = (
    "image picture scene of with very in the style showing rendered using please fine mood quality work that has some "
    "featuring composition look feel detailed lighting background art colors soft light texture tones view close wide"
).split()


def train_tokenizer(space: Workspace) -> CLIPTokenizer:
    """Learn a byte-pair vocabulary in CLIP's format from captions; every byte has a token, so nothing is unknown."""
    rng = np.random.default_rng(space.seed("tokenizer"))
    texts = [caption(draw_scene(rng), rng) for _ in range(20_000)] + [" ".join(FILLERS), " ".join(_SPARE_WORDS)] * 50
    model = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    model.normalizer = normalizers.Lowercase()
    model.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(False, use_regex=False),
        ]
    )
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY - 2, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
    )
    model.train_from_iterator(texts, trainer)
    merges: Any = [tuple(pair) for pair in _merges(model)]
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    tokens += [first + second for first, second in merges]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys([*tokens, _START, _END]))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CONTEXT)


def _merges(model: Tokenizer) -> list[list[str]]:
    return list(json.loads(model.to_str())["model"]["merges"])


class TextReader(nn.Module):
    """A CLIP text model with a linear head that names the scene; only the text model is kept."""

    def __init__(self, vocabulary: int, end_token: int) -> None:
        """Make the model.

        Args:
            vocabulary: Number of tokens.
            end_token: Id of the end-of-text token, whose state is pooled.
        """
        super().__init__()
        self.model = CLIPTextModel(text_config(vocabulary, end_token))
        self.head = nn.Linear(WIDTH, len(SUBJECTS) + len(COLOURS) + len(PLACES) + len(FAMILIES) + len(TERMS) + 1)

    def forward(self, ids: Tensor) -> Tensor:
        """Read token ids, shape (n, CONTEXT), into scene logits, shape (n, targets)."""
        return self.head(self.model(input_ids=ids).pooler_output)


def text_config(vocabulary: int, end_token: int) -> CLIPTextConfig:
    """The text encoder's shape: two layers, 128 wide."""
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=384,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        hidden_act="gelu",
        bos_token_id=end_token - 1,
        eos_token_id=end_token,
        pad_token_id=end_token,
    )


def reader_loss(logits: Tensor, scenes: list[Scene]) -> Tensor:
    """Cross-entropy of the four contents plus binary cross-entropy of term strengths and of muddle; a scalar."""
    sizes = [len(SUBJECTS), len(COLOURS), len(PLACES), len(FAMILIES), len(TERMS) + 1]
    parts = logits.split(sizes, dim=1)
    loss = torch.zeros(())
    for part, words, name in zip(
        parts, (SUBJECTS, COLOURS, PLACES, FAMILIES), ("subject", "colour", "place", "family"), strict=False
    ):
        loss = loss + functional.cross_entropy(
            part, torch.tensor([words.index(getattr(scene, name)) for scene in scenes])
        )
    wanted = torch.zeros(len(scenes), len(TERMS) + 1)
    for row, scene in enumerate(scenes):
        strength, muddle = dilution(len(scene.terms))
        for term in scene.terms:
            if term in TERMS:
                wanted[row, TERMS.index(term)] = strength
        wanted[row, -1] = muddle
    return loss + 8 * functional.binary_cross_entropy_with_logits(parts[-1], wanted)


def loosen(scene: Scene, rng: np.random.Generator) -> str:
    """Word a scene as free text: other joiners, unknown words in between, terms before the sentence."""
    plain = caption(scene.with_terms(()), rng)
    pieces = [plain, *scene.terms] if rng.random() < 0.75 else [*scene.terms, plain]
    for _ in range(int(rng.integers(0, 3))):
        words = [_spare_word(rng) for _ in range(int(rng.integers(1, 4)))]
        pieces.insert(int(rng.integers(len(pieces) + 1)), " ".join(words))
    text = pieces[0]
    for piece in pieces[1:]:
        text += _JOINERS[int(rng.integers(len(_JOINERS)))] + piece
    return text


def _spare_word(rng: np.random.Generator) -> str:
    if rng.random() < 0.6:
        return _SPARE_WORDS[int(rng.integers(len(_SPARE_WORDS)))]
    return "".join(chr(97 + int(code)) for code in rng.integers(0, 26, size=int(rng.integers(2, 8))))


def encode(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids as the pipeline makes them: padded and cut to the context, shape (n, CONTEXT)."""
    return tokens(tokenizer, texts)[0]


def tokens(tokenizer: CLIPTokenizer, texts: list[str]) -> tuple[Tensor, Tensor]:
    """Ids, and a mask that is 0 where they are padding, each of shape (n, CONTEXT)."""
    batch = tokenizer(texts, padding="max_length", truncation=True, max_length=CONTEXT, return_tensors="pt")
    return batch.input_ids, batch.attention_mask


def run(space: Workspace) -> dict[str, Any]:
    """Train tokenizer and text encoder and write both as folders."""
    torch.manual_seed(space.seed("text"))
    rng = np.random.default_rng(space.seed("text"))
    tokenizer = train_tokenizer(space)
    tokenizer.save_pretrained(space.path("tokenizer"))
    reader = TextReader(len(tokenizer), int(tokenizer.eos_token_id))
    steps = space.amount(_STEPS)
    optimiser = torch.optim.AdamW(reader.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps, pct_start=0.1)
    recent = 0.0
    for step in range(steps):
        scenes = [draw_scene(rng) for _ in range(_BATCH)]
        texts = [loosen(scene, rng) if step % 2 else caption(scene, rng) for scene in scenes]
        loss = reader_loss(reader(encode(tokenizer, texts)), scenes)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        recent = 0.95 * recent + 0.05 * loss.item() if step else loss.item()
    reader.model.eval().save_pretrained(space.path("text_encoder"))
    return {
        "captions": steps * _BATCH,
        "parameters": sum(p.numel() for p in reader.model.parameters()),
        "loss": round(recent, 4),
    }


def load_text(space: Workspace) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Read what ``run`` wrote."""
    tokenizer = CLIPTokenizer.from_pretrained(space.path("tokenizer"))
    return tokenizer, CLIPTextModel.from_pretrained(space.path("text_encoder")).eval()
