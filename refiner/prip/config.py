"""PRIP's settings: the paper's as defaults, and a preset that two CPU cores train in minutes.

Where the paper gives a number (appendix A.4, A.5), it is the default; the rest is reasoned in `docs/prip.md`.
"""

from dataclasses import dataclass, field

from refiner.lm import LmConfig
from refiner.ppo_config import PpoConfig, small_ppo
from refiner.prip.decoder import DecoderConfig
from refiner.prip.encoder import EncoderConfig
from refiner.train_config import TrainConfig

DECODERS = {
    "llama-2-7b": "meta-llama/Llama-2-7b-hf",
    "tinyllama": "TinyLlama/TinyLlama-1.1B-intermediate-step-1195k-token-2.5T",
    "gpt2-large": "openai-community/gpt2-large",
}
"""The decoders of the paper (section 4.3 and table 5)."""


def _paper_encoder_training() -> TrainConfig:
    return TrainConfig(epochs=3, batch_size=512, micro_batch_size=64, learning_rate=1e-3, bf16=True)


def _paper_decoder_training() -> TrainConfig:
    return TrainConfig(epochs=2, batch_size=256, micro_batch_size=16, learning_rate=2e-5, betas=(0.9, 0.95), bf16=True)


def _paper_ppo() -> PpoConfig:
    return PpoConfig(steps=1000, batch_size=512, learning_rate=1e-3, schedule="constant", max_new_tokens=75, bf16=True)


@dataclass(frozen=True)
class PripConfig:
    """A pivot refiner and its three stages.

    Attributes:
        encoder: E.
        decoder: D.
        user_pivot: training of E towards the pivot of the preferred picture (section 3.3.1).
        pivot_system: training of D from pivots to prompts (section 3.3.2).
        ppo: training of E through the frozen D (section 3.4).
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    user_pivot: TrainConfig = field(default_factory=_paper_encoder_training)
    pivot_system: TrainConfig = field(default_factory=_paper_decoder_training)
    ppo: PpoConfig = field(default_factory=_paper_ppo)


def miniworld_config() -> PripConfig:
    """Return E of 1.7 M and D of 1.0 M parameters on pivots of 16 x 96, trained from scratch."""
    t5 = {"d_model": 128, "d_kv": 32, "d_ff": 256, "num_layers": 4, "num_heads": 4}
    gpt2 = {"n_embd": 128, "n_layer": 4, "n_head": 4, "n_positions": 192}
    return PripConfig(
        encoder=EncoderConfig(base="", shape=t5, dropout=0.05, queries=16, pivot_width=96, max_tokens=48),
        decoder=DecoderConfig(lm=LmConfig(shape=gpt2, dropout=0.05), max_tokens=96),
        user_pivot=TrainConfig(epochs=20, batch_size=64, micro_batch_size=64, learning_rate=1e-3, eval_every=50),
        pivot_system=TrainConfig(epochs=6, batch_size=64, micro_batch_size=64, learning_rate=2e-3, eval_every=50),
        ppo=small_ppo(learning_rate=5e-4),
    )
