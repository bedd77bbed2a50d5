"""Settings of the papers' fine-tuned language models, and of small ones for the miniworld. Heavy: imports torch.

Numbers are those of the released code where there is some (BeautifulPrompt: alibaba/EasyNLP, Promptist:
microsoft/LMOps); where neither code nor paper gives one (NeuroPrompts' PPO), they are ours and marked so. What else the
released reinforcement does, and ours does not, is in docs/rewriters.md.
"""

from dataclasses import dataclass

from refiner.lm import LmConfig
from refiner.ppo_config import PpoConfig, small_ppo
from refiner.train_config import TrainConfig


@dataclass(frozen=True)
class LanguageConfig:
    """A fine-tuned language model and its two stages.

    Attributes:
        lm: what training starts from.
        max_tokens: of template, prompt and answer together.
        sft: supervised fine-tuning.
        ppo: reinforcement after it.
    """

    lm: LmConfig
    max_tokens: int
    sft: TrainConfig
    ppo: PpoConfig


def _small() -> LanguageConfig:
    gpt2 = {"n_embd": 128, "n_layer": 4, "n_head": 4, "n_positions": 192}
    return LanguageConfig(
        lm=LmConfig(shape=gpt2, dropout=0.05),
        max_tokens=128,
        sft=TrainConfig(epochs=6, batch_size=64, micro_batch_size=64, learning_rate=2e-3, eval_every=50),
        ppo=small_ppo(learning_rate=2e-4),
    )


PRESETS: dict[str, LanguageConfig] = {
    "beautifulprompt": LanguageConfig(
        lm=LmConfig("bigscience/bloom-1b1"),
        max_tokens=384,
        sft=TrainConfig(epochs=4, batch_size=64, micro_batch_size=16, learning_rate=2e-5, betas=(0.9, 0.95), bf16=True),
        ppo=PpoConfig(  # 64 rollouts, 4 epochs, 32 episodes an optimiser step
            steps=5000 // 8,
            batch_size=64,
            num_mini_batches=2,
            micro_batch_size=4,
            learning_rate=5e-6,
            weight_decay=1e-6,
            kl_target=6.0,
            vf_coef=0.5,
            max_new_tokens=256,
            reward_weights={"pick": 0.7, "aesthetic": 0.3},
            bf16=True,
        ),
    ),
    "neuroprompts": LanguageConfig(
        lm=LmConfig("openai-community/gpt2"),
        max_tokens=128,
        sft=TrainConfig(epochs=1, batch_size=256, micro_batch_size=64, learning_rate=5e-5, bf16=True),  # ours
        ppo=PpoConfig(steps=1000, batch_size=128, micro_batch_size=32, learning_rate=1e-5, max_new_tokens=77),  # ours
    ),
    "promptist": LanguageConfig(
        lm=LmConfig("openai-community/gpt2"),
        max_tokens=256,
        sft=TrainConfig(epochs=1, batch_size=256, micro_batch_size=64, learning_rate=5e-5, bf16=True),  # ours
        ppo=PpoConfig(
            steps=1000,
            batch_size=256,
            micro_batch_size=32,
            learning_rate=5e-5,
            weight_decay=1e-6,
            kl_coef=0.2,
            kl_target=0.2,
            vf_coef=2.3,
            max_new_tokens=75,
        ),
    ),
    "miniworld": _small(),
}
"""By name. Rew-Syn and Rew-Log (PRIP's baselines) are `promptist` on other pairs, with PRIP's reward."""
