"""The diffusion models, two small UNet2DConditionModels on the latents of ``PatchVAE``.

v-prediction (Salimans and Ho 2022) with a cosine schedule, classifier-free guidance by dropping captions, Muon for
matrices and AdamW for the rest, and an exponential moving average of the weights. Text states are computed once per
caption by the frozen text encoder.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from miniworld.patch_vae import PatchVAE
from miniworld.train.clip import checkpoint_of
from miniworld.train.muon import Muon
from miniworld.train.renders import load_renders, to_unit
from miniworld.train.stages import Pulse, Workspace, load_checkpoint, need_checkpoint, save_checkpoint
from miniworld.train.text import encode, load_text

log = logging.getLogger("miniworld.train")

LATENT_CHANNELS = 48
BATCH = 128
HELD_OUT = 1024
"""Last pictures of the render set, kept for the held-out error."""
_DROP_TEXT = 0.1
_EMA = 0.998
_WARM_UP = 100
_EXPORT_AFTER = 480.0


@dataclass(frozen=True)
class Plan:
    """One of the two diffusion models.

    Attributes:
        channels: Width of the 8 x 8 and of the 4 x 4 level.
        groups: Groups of the norms.
        seconds: Training time of the shipped weights; the learning rate falls to zero over it.
        text: Its own text encoder, with the tokenizer.
    """

    channels: tuple[int, int]
    groups: int
    seconds: float
    text: Callable[[Workspace], tuple[CLIPTokenizer, CLIPTextModel]]


def contrastive_text(space: Workspace) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """The text tower of ``clip_pivot``, as Stable Diffusion 1 takes CLIP's."""
    tokenizer, _ = load_text(space)
    model: Any = checkpoint_of(space, "clip_pivot")
    encoder = CLIPTextModel(model.config.text_config)
    encoder.load_state_dict(model.text_model.state_dict())
    return tokenizer, encoder.eval()


PLANS: dict[str, Plan] = {
    "unet": Plan(channels=(96, 144), groups=16, seconds=5100.0, text=load_text),
    "second_unet": Plan(channels=(48, 72), groups=8, seconds=720.0, text=contrastive_text),
}
"""``unet`` is the default pipeline's, ``second_unet`` a weaker one's, for transfer."""


@dataclass(frozen=True)
class LatentSet:
    """Everything the training loop reads.

    Attributes:
        latents: bfloat16, shape (n, LATENT_CHANNELS, 8, 8).
        text: bfloat16 text states, shape (n, CONTEXT, width of the text encoder).
        empty: Text states of the empty caption, shape (CONTEXT, width).
    """

    latents: Tensor
    text: Tensor
    empty: Tensor


def noise_schedule() -> Any:
    """The forward process: 1000 steps, cosine betas, v-prediction."""
    return DDPMScheduler(
        num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False
    )


def build_unet(plan: Plan, width: int) -> Any:
    """The denoiser: attention on the 4 x 4 level only, pooled text added to the time embedding.

    Args:
        plan: Its shape.
        width: Width of the text encoder.
    """
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=plan.channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=width,
        attention_head_dim=4,
        norm_num_groups=plan.groups,
        use_linear_projection=True,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        encoder_hid_dim=width,
    )


def fit_vae(space: Workspace) -> PatchVAE:
    """Fit the autoencoder on the first pictures, once."""
    folder = space.path("vae")
    if not (folder / "config.json").exists():
        images = to_unit(load_renders(space).images[:4000])
        PatchVAE.fit(images, LATENT_CHANNELS).save_pretrained(folder)
    return PatchVAE.from_pretrained(folder)  # type: ignore[no-any-return]


@torch.no_grad()
def prepare(space: Workspace, name: str) -> LatentSet:
    """Encode all pictures, and all captions as the plan ``name`` reads them; or read them back."""
    renders = load_renders(space)
    count = len(renders.captions)
    file = space.path("latents.pt")
    if (pictures := load_checkpoint(file)) is None:
        vae = fit_vae(space)
        parts = [vae.encode(to_unit(renders.images[i : i + 2000])).bfloat16() for i in range(0, count, 2000)]
        pictures = {"latents": torch.cat(parts)}
        save_checkpoint(file, pictures)
    file = space.path(f"text_states_{name}.pt")
    if (states := load_checkpoint(file)) is None:
        tokenizer, encoder = PLANS[name].text(space)
        parts = [
            encoder(input_ids=encode(tokenizer, renders.captions[i : i + 500])).last_hidden_state.bfloat16()
            for i in range(0, count, 500)
        ]
        empty = encoder(input_ids=encode(tokenizer, [""])).last_hidden_state[0].bfloat16()
        states = {"text": torch.cat(parts), "empty": empty}
        save_checkpoint(file, states)
    return LatentSet(pictures["latents"], states["text"], states["empty"])


def velocity_loss(
    unet: nn.Module, schedule: Any, latents: Tensor, text: Tensor, steps: Tensor, noise: Tensor
) -> Tensor:
    """Mean squared error of the predicted velocity, a scalar (Salimans and Ho 2022, appendix D)."""
    noisy = schedule.add_noise(latents, noise, steps)
    target = schedule.get_velocity(latents, noise, steps)
    predicted = unet(noisy.bfloat16(), steps, text, return_dict=False)[0]
    return (predicted.float() - target).square().mean()


def learning_rate_share(progress: float, step: int) -> float:
    """Share of the peak learning rate: warm-up, constant to half of the time, then linear to 1 %."""
    return min(1.0, (step + 1) / _WARM_UP) * min(1.0, max(0.01, (1 - progress) / 0.5))


class ThreadChooser:
    """Chooses between one thread and all of them by measured step time.

    On a machine with other work, two threads wait for each other at every operation, and one alone can be faster.
    """

    _PROBE, _PERIOD = 5, 120

    def __init__(self) -> None:
        """Start with all threads that torch was given."""
        self._counts = sorted({1, torch.get_num_threads()})
        self._times = dict.fromkeys(self._counts, 0.0)
        self._step = 0

    def after_step(self, seconds: float) -> None:
        """Take note of a step's time and set the thread count of the next one."""
        probing = len(self._counts) * self._PROBE
        place = self._step % self._PERIOD
        if place < probing:
            count = self._counts[place // self._PROBE]
            self._times[count] = seconds if place % self._PROBE == 0 else self._times[count] + seconds
        self._step += 1
        place = self._step % self._PERIOD
        best = min(self._counts, key=self._times.__getitem__)
        torch.set_num_threads(self._counts[place // self._PROBE] if place < probing else best)

    def __str__(self) -> str:
        """Summed seconds of the last probes, by thread count."""
        return ", ".join(f"{count} threads {seconds:.1f} s" for count, seconds in self._times.items())


class Trainer:
    """The state of the run: float32 masters, a bfloat16 working copy, averages, optimisers and counters."""

    def __init__(self, space: Workspace, name: str, width: int) -> None:
        """Start afresh or from the last checkpoint.

        Args:
            space: Where checkpoints lie.
            name: Which of ``PLANS``.
            width: Width of its text encoder.
        """
        torch.manual_seed(space.seed(name))
        self.file = space.path(f"{name}.pt")
        self.work = build_unet(PLANS[name], width).bfloat16()
        self.work.set_attn_processor(AttnProcessor())
        self.names = [name for name, _ in self.work.named_parameters()]
        self.masters = {name: value.detach().float().clone() for name, value in self.work.named_parameters()}
        self.average = {name: value.clone() for name, value in self.masters.items()}
        matrices = [n for n, v in self.masters.items() if v.ndim >= 2 and not n.startswith(("conv_in", "conv_out"))]
        self.muon = Muon([self.masters[name] for name in matrices], lr=0.015)
        others = [value for name, value in self.masters.items() if name not in set(matrices)]
        self.adam = torch.optim.AdamW(others, lr=1.5e-3, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self.step, self.seconds = 0, 0.0
        self._restore(load_checkpoint(self.file))

    def _restore(self, state: dict[str, Any] | None) -> None:
        if state is None:
            return
        for name in self.names:
            self.masters[name].copy_(state["masters"][name])
            self.average[name].copy_(state["average"][name])
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.copy_to_work()

    def save(self) -> None:
        """Write the whole state."""
        state = {
            "masters": self.masters,
            "average": self.average,
            "muon": self.muon.state_dict(),
            "adam": self.adam.state_dict(),
        }
        save_checkpoint(self.file, {**state, "step": self.step, "seconds": self.seconds})

    @torch.no_grad()
    def update(self, share: float) -> None:
        """One optimiser step from the working copy's gradients, at ``share`` of the peak learning rates."""
        nn.utils.clip_grad_norm_(self.work.parameters(), 1.0)
        for name, value in self.work.named_parameters():
            self.masters[name].grad = value.grad.float() if value.grad is not None else None
            value.grad = None
        for optimiser, peak in ((self.muon, 0.015), (self.adam, 1.5e-3)):
            for group in optimiser.param_groups:
                group["lr"] = peak * share
            optimiser.step()
        keep = min(_EMA, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.values()), list(self.masters.values()), 1 - keep)
        self.copy_to_work()
        self.step += 1

    @torch.no_grad()
    def copy_to_work(self) -> None:
        """Refresh the bfloat16 working copy from the masters."""
        torch._foreach_copy_(list(self.work.parameters()), [self.masters[name] for name in self.names])


def run(space: Workspace, name: str) -> dict[str, Any]:
    """Train one of ``PLANS`` for a fixed time; the average of the weights is what is exported."""
    data, schedule = prepare(space, name), noise_schedule()
    trainer = Trainer(space, name, data.empty.shape[-1])
    limit, pulse, chooser, threads = (
        PLANS[name].seconds / space.shrink,
        Pulse(),
        ThreadChooser(),
        torch.get_num_threads(),
    )
    count = len(data.latents) - min(HELD_OUT, len(data.latents) // 2)
    while trainer.seconds < limit:
        before = time.monotonic()
        generator = torch.Generator().manual_seed(space.seed(name) * 1_000_003 + trainer.step)
        loss = batch_loss(trainer.work, schedule, data, count, generator)
        loss.backward()
        trainer.update(learning_rate_share(trainer.seconds / limit, trainer.step))
        spent = time.monotonic() - before
        trainer.seconds += spent
        chooser.after_step(spent)
        if trainer.step % 100 == 0:
            log.info("%s: %.0f s, step %d, loss %.4f, %s", name, trainer.seconds, trainer.step, loss.item(), chooser)
        if pulse.beat():
            trainer.save()
    trainer.save()
    torch.set_num_threads(threads)
    errors = held_out_errors(averaged_unet(space, name), data, schedule, count)
    return {
        "samples": trainer.step * BATCH,
        "parameters": sum(v.numel() for v in trainer.masters.values()),
        "x0_mse": errors,
    }


def batch_loss(unet: nn.Module, schedule: Any, data: LatentSet, count: int, generator: torch.Generator) -> Tensor:
    """The loss on a random batch of the first ``count`` pictures, some of them without caption."""
    rows = torch.randint(count, (BATCH,), generator=generator)
    latents, text = data.latents[rows].float(), data.text[rows]
    text[torch.rand(BATCH, generator=generator) < _DROP_TEXT] = data.empty
    steps = torch.randint(1000, (BATCH,), generator=generator)
    noise = torch.randn(latents.shape, generator=generator)
    return velocity_loss(unet, schedule, latents, text, steps, noise)


def averaged_unet(space: Workspace, name: str) -> Any:
    """The model with the averaged weights of the last checkpoint, float32."""
    state = need_checkpoint(space, name)
    unet = build_unet(PLANS[name], state["average"]["encoder_hid_proj.weight"].shape[1])
    unet.load_state_dict(state["average"])
    return unet.eval()


@torch.no_grad()
def held_out_errors(unet: Any, data: LatentSet, schedule: Any, start: int) -> dict[str, float]:
    """Mean squared error of the clean latent on held-out pictures, by noise level."""
    latents, text = data.latents[start:].float(), data.text[start:].float()
    errors = {}
    for level in (150, 350, 550, 750, 900):
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(level))
        steps = torch.full((len(latents),), level)
        noisy = schedule.add_noise(latents, noise, steps)
        velocity = unet(noisy, steps, text, return_dict=False)[0]
        alpha = schedule.alphas_cumprod[level]
        clean = alpha.sqrt() * noisy - (1 - alpha).sqrt() * velocity
        errors[str(level)] = round((clean - latents).square().mean().item(), 4)
    return errors
