"""The learned part of the autoencoder's decoder.

It learns from two kinds of latents with the true picture beside them: those of renders, and those that a pipeline made
of noised renders by the last steps of its own sampler. The second kind has what a drawn picture has, seams and speckle
where the patches do not agree; the first is plain compression.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from miniworld.patch_vae import PatchVAE
from miniworld.train.fitting import fit
from miniworld.train.pipelines import FINISHED_VAE, RENDER_DEFAULTS, build_scheduler
from miniworld.train.renders import load_renders, to_unit
from miniworld.train.stages import Pulse, Workspace, load_checkpoint, save_checkpoint
from miniworld.train.unet import HELD_OUT, LATENT_CHANNELS, PLANS, averaged_unet, fit_vae, prepare

log = logging.getLogger("miniworld.train")

NAME = "finish"
WIDTH, BLOCKS = 48, 3
DRAWN: dict[str, int] = {"unet": 5_000, "second_unet": 1_500}
"""Pictures that each pipeline finishes from noised renders."""
_STEPS = 3_000
_BATCH = 64
_PEAK_RATE = 2e-3
_SHARE_DRAWN = 0.65
_SHARPENING_FROM = 0.733
"""Share of the steps after which the loss also compares edge energy."""
_EDGE_WEIGHT = 6.0
_CHUNK = 50
_STARTS = (3, 4)
"""Sampler steps from which renders are finished: the layout stays, details are drawn anew."""


@torch.no_grad()
def finished_latents(space: Workspace, name: str, rows: Tensor) -> Tensor:
    """Noise renders' latents to a late step of the sampler and let a pipeline draw them to the end.

    Args:
        space: Where data and checkpoints lie.
        name: Which of ``PLANS``.
        rows: Which renders, shape (n,).

    Returns:
        bfloat16 latents, shape (n, channels, 8, 8).
    """
    data, unet, file, pulse = (
        prepare(space, name),
        averaged_unet(space, name),
        space.path(f"finished_{name}.pt"),
        Pulse(),
    )
    done = (load_checkpoint(file) or {"latents": torch.empty(0, *data.latents.shape[1:], dtype=torch.bfloat16)})[
        "latents"
    ]
    guidance = float(RENDER_DEFAULTS["guidance_scale"])
    while len(done) < len(rows):
        part = rows[len(done) : len(done) + _CHUNK]
        generator = torch.Generator().manual_seed(space.seed(NAME) * 1_000_003 + len(done))
        start = _STARTS[len(done) // _CHUNK % len(_STARTS)]
        scheduler = build_scheduler()
        scheduler.set_timesteps(int(RENDER_DEFAULTS["num_inference_steps"]))
        scheduler.set_begin_index(start)
        clean, text = data.latents[part].float(), data.text[part].float()
        noise = torch.randn(clean.shape, generator=generator)
        latents = scheduler.add_noise(clean, noise, scheduler.timesteps[start : start + 1].repeat(len(part)))
        both = torch.cat([data.empty.float().expand_as(text), text])
        for step in scheduler.timesteps[start:]:
            without, with_text = unet(torch.cat([latents, latents]), step, both, return_dict=False)[0].chunk(2)
            latents = scheduler.step(without + guidance * (with_text - without), step, latents, return_dict=False)[0]
        done = torch.cat([done, latents.bfloat16()])
        if pulse.beat() or len(done) >= len(rows):
            save_checkpoint(file, {"latents": done})
            log.info("finish: %s has drawn %d of %d", name, len(done), len(rows))
    return done


def picture_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute error of pixels and of differences of neighbours, a scalar; unlike squares it forgives no blur."""
    loss = (found - wanted).abs().mean()
    for axis in (2, 3):
        loss = loss + (found.diff(dim=axis) - wanted.diff(dim=axis)).abs().mean()
    return loss


def edge_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute error of the edge energy of neighbourhoods, a scalar.

    Where an edge lies is uncertain by a pixel in a drawn picture; how sharp it is need not suffer from that.
    """
    return (_edge_energy(found) - _edge_energy(wanted)).abs().mean()


def _edge_energy(pictures: Tensor) -> Tensor:
    grey = pictures.mean(dim=1, keepdim=True)
    around = functional.avg_pool2d(functional.pad(grey, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return functional.avg_pool2d((grey - around).abs(), 8, stride=4)


def psnr(vae: PatchVAE, latents: Tensor, pictures: Tensor) -> float:
    """Peak signal-to-noise ratio of decoded latents against pictures in [-1, 1], dB."""
    with torch.no_grad():
        parts = [vae.decode(latents[i : i + 256].float(), return_dict=False)[0] for i in range(0, len(latents), 256)]
    return round(10 * math.log10(4 / (torch.cat(parts).clamp(-1, 1) - pictures).square().mean().item()), 2)


def run(space: Workspace) -> dict[str, Any]:
    """Train from scratch or go on from the last checkpoint, and write the whole autoencoder."""
    torch.manual_seed(space.seed(NAME))
    renders, linear = load_renders(space), fit_vae(space)
    vae = PatchVAE(latent_channels=LATENT_CHANNELS, finish_width=WIDTH, finish_blocks=BLOCKS)
    vae.load_state_dict(linear.state_dict(), strict=False)
    latents, steps = prepare(space, next(iter(PLANS))).latents, space.amount(_STEPS)
    count = len(latents) - min(HELD_OUT, len(latents) // 2)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(space.seed(NAME)))
    drawn_rows, drawn, start = [], [], 0
    for name, full in DRAWN.items():
        rows = order[start : start + space.amount(full, least=_CHUNK)]
        drawn.append(finished_latents(space, name, rows))
        drawn_rows.append(rows)
        start += len(rows)
    rows, codes = torch.cat(drawn_rows), torch.cat(drawn)
    finish: Any = vae.finish

    def loss(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(space.seed(NAME) * 1_000_003 + step)
        own = int(_BATCH * _SHARE_DRAWN)
        picked = torch.randint(len(rows), (own,), generator=generator)
        plain = torch.randint(count, (_BATCH - own,), generator=generator)
        with torch.no_grad():
            rough = vae.decoder(torch.cat([codes[picked], latents[plain]]).float())
        wanted = to_unit(renders.images[torch.cat([rows[picked], plain]).numpy()])
        with torch.autocast("cpu", torch.bfloat16):
            added = finish(rough).float()
        found = rough + added
        total = picture_loss(found, wanted)
        return total + _EDGE_WEIGHT * edge_loss(found, wanted) if step >= _SHARPENING_FROM * steps else total

    fit(space, NAME, finish, steps=steps, peak=_PEAK_RATE, loss=loss)
    vae.eval().save_pretrained(space.path(FINISHED_VAE))
    pictures = to_unit(renders.images[count:])
    return {
        "parameters": sum(p.numel() for p in finish.parameters()),
        "psnr_linear": psnr(linear, latents[count:], pictures),
        "psnr": psnr(vae, latents[count:], pictures),
    }
