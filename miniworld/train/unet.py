"""Stage 5: the diffusion model, a small UNet2DConditionModel on the latents of ``LinearPatchVAE``.

v-prediction (Salimans and Ho 2022) with a cosine schedule, classifier-free guidance by dropping captions, Muon for
matrices and AdamW for the rest, and an exponential moving average of the weights. Text states are computed once per
caption by the frozen text encoder.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from miniworld.patch_vae import LinearPatchVAE
from miniworld.train.muon import Muon
from miniworld.train.renders import load_renders
from miniworld.train.stages import Pulse, Workspace, load_checkpoint, save_checkpoint
from miniworld.train.text import WIDTH, encode, load_text

log = logging.getLogger("miniworld.train")

CHANNELS = (96, 144)
LATENT_CHANNELS = 48
BATCH = 128
SECONDS = 2500.0
"""Training time of the shipped weights; the learning rate falls to zero over it."""
HELD_OUT = 1024
"""Last pictures of the render set, kept for the held-out error."""
_DROP_TEXT = 0.1
_EMA = 0.998
_WARM_UP = 100
_EXPORT_AFTER = 480.0


@dataclass(frozen=True)
class LatentSet:
    """Everything the training loop reads.

    Attributes:
        latents: bfloat16, shape (n, LATENT_CHANNELS, 8, 8).
        text: bfloat16 text states, shape (n, CONTEXT, WIDTH).
        empty: Text states of the empty caption, shape (CONTEXT, WIDTH).
    """

    latents: Tensor
    text: Tensor
    empty: Tensor


def noise_schedule() -> Any:
    """The forward process: 1000 steps, cosine betas, v-prediction."""
    return DDPMScheduler(
        num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False
    )


def build_unet() -> Any:
    """The denoiser: attention on the 4 x 4 level only, pooled text added to the time embedding."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
        use_linear_projection=True,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        encoder_hid_dim=WIDTH,
    )


def fit_vae(space: Workspace) -> LinearPatchVAE:
    """Fit the autoencoder on the first pictures, once."""
    folder = space.path("vae")
    if not (folder / "config.json").exists():
        images = to_unit(load_renders(space).images[:4000])
        LinearPatchVAE.fit(images, LATENT_CHANNELS).save_pretrained(folder)
    return LinearPatchVAE.from_pretrained(folder)  # type: ignore[no-any-return]


def to_unit(images: np.ndarray) -> Tensor:
    """uint8 (n, 64, 64, 3) to float32 in [-1, 1], shape (n, 3, 64, 64)."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def prepare(space: Workspace) -> LatentSet:
    """Encode all pictures and captions, or read them back."""
    file = space.path("latents.pt")
    stored = load_checkpoint(file)
    if stored is None:
        renders, vae = load_renders(space), fit_vae(space)
        tokenizer, encoder = load_text(space)
        count = len(renders.captions)
        latents = torch.cat(
            [vae.encode(to_unit(renders.images[i : i + 2000])).bfloat16() for i in range(0, count, 2000)]
        )
        ids = torch.cat([encode(tokenizer, renders.captions[i : i + 2000]) for i in range(0, count, 2000)])
        text = torch.cat(
            [encoder(input_ids=ids[i : i + 500]).last_hidden_state.bfloat16() for i in range(0, count, 500)]
        )
        empty = encoder(input_ids=encode(tokenizer, [""])).last_hidden_state[0].bfloat16()
        stored = {"latents": latents, "text": text, "empty": empty}
        save_checkpoint(file, stored)
    return LatentSet(**stored)


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

    def __init__(self, space: Workspace) -> None:
        """Start afresh or from the last checkpoint.

        Args:
            space: Where checkpoints lie.
        """
        torch.manual_seed(space.seed("unet"))
        self.file = space.path("unet.pt")
        self.work = build_unet().bfloat16()
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


def run(space: Workspace) -> dict[str, Any]:
    """Train for a fixed time; the average of the weights is what is exported."""
    data, schedule, trainer = prepare(space), noise_schedule(), Trainer(space)
    limit, pulse, chooser, threads = SECONDS / space.shrink, Pulse(), ThreadChooser(), torch.get_num_threads()
    count = len(data.latents) - min(HELD_OUT, len(data.latents) // 2)
    while trainer.seconds < limit:
        before = time.monotonic()
        generator = torch.Generator().manual_seed(space.seed("unet") * 1_000_003 + trainer.step)
        loss = batch_loss(trainer.work, schedule, data, count, generator)
        loss.backward()
        trainer.update(learning_rate_share(trainer.seconds / limit, trainer.step))
        spent = time.monotonic() - before
        trainer.seconds += spent
        chooser.after_step(spent)
        if trainer.step % 100 == 0:
            log.info("unet: %.0f s, step %d, loss %.4f, %s", trainer.seconds, trainer.step, loss.item(), chooser)
        if pulse.beat():
            trainer.save()
    trainer.save()
    torch.set_num_threads(threads)
    errors = held_out_errors(averaged_unet(space), data, schedule, count)
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


def averaged_unet(space: Workspace) -> Any:
    """The model with the averaged weights of the last checkpoint, float32."""
    state = load_checkpoint(space.path("unet.pt"))
    if state is None:
        raise FileNotFoundError("no unet checkpoint: run the stage 'unet' first")
    unet = build_unet()
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
