"""An autoencoder over 8 x 8 patches: a fixed linear code, and a decoder that has learned to finish the picture.

It stands where Stable Diffusion has its AutoencoderKL. The encoder is a projection on principal components with
softened variances; the decoder is its transpose, followed by a small convolutional network that sees across the seams
of the patches and corrects the picture.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from torch import Tensor, nn
from torch.nn import functional


class Finish(nn.Module):
    """Corrects a picture, by residual blocks at half its resolution; before it is trained it adds 0."""

    def __init__(self, width: int, blocks: int) -> None:
        """Make the network.

        Args:
            width: Channels at half the resolution.
            blocks: Residual blocks of two convolutions each; every second one looks twice as far.
        """
        super().__init__()
        self.into = nn.Conv2d(12, width, 3, padding=1)
        reach = [1 + block % 2 for block in range(blocks)]
        self.first = nn.ModuleList(nn.Conv2d(width, width, 3, padding=far, dilation=far) for far in reach)
        self.second = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in reach)
        self.out = nn.Conv2d(width, 12, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """What to add to pictures, shape (n, 3, h, w) with even h and w."""
        state = self.into(functional.pixel_unshuffle(images, 2))
        for first, second in zip(self.first, self.second, strict=True):
            state = state + second(functional.silu(first(functional.silu(state))))
        return functional.pixel_shuffle(self.out(functional.silu(state)), 2)


class PatchVAE(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Encodes 8 x 8 patches to ``latent_channels`` numbers each and back.

    ``block_out_channels`` has four entries only because StableDiffusionPipeline reads the downscaling factor, 2^(4-1)
    = 8, off their number.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 48,
        patch: int = 8,
        scaling_factor: float = 1.0,
        block_out_channels: tuple[int, ...] = (48, 48, 48, 48),
        finish_width: int = 0,
        finish_blocks: int = 3,
    ) -> None:
        """Make an autoencoder with unset weights.

        Args:
            latent_channels: Components kept.
            patch: Side of a patch, pixels.
            scaling_factor: As in AutoencoderKL: what the pipeline divides latents by before decoding.
            block_out_channels: See the class.
            finish_width: Width of the learned part of the decoder; 0 leaves it out, and decoding is linear.
            finish_blocks: Residual blocks of the learned part.
        """
        del scaling_factor, block_out_channels  # recorded in the config, read by the pipeline
        super().__init__()
        self.encoder = nn.Conv2d(3, latent_channels, patch, stride=patch, bias=False)
        self.decoder = nn.ConvTranspose2d(latent_channels, 3, patch, stride=patch, bias=False)
        self.finish = Finish(finish_width, finish_blocks) if finish_width else None

    def encode(self, images: Tensor) -> Tensor:
        """Images in [-1, 1], shape (n, 3, h, w), to latents, shape (n, latent_channels, h/8, w/8)."""
        return self.encoder(images)  # type: ignore[no-any-return]

    def decode(
        self, latents: Tensor, return_dict: bool = True, generator: torch.Generator | None = None
    ) -> DecoderOutput | tuple[Tensor]:
        """Latents to images in [-1, 1].

        Args:
            latents: Shape (n, latent_channels, h/8, w/8).
            return_dict: Whether to wrap the result as diffusers' autoencoders do.
            generator: Accepted for the pipeline's sake; decoding is deterministic.
        """
        del generator
        images = self.decoder(latents)
        if self.finish is not None:
            images = images + self.finish(images)
        return DecoderOutput(sample=images) if return_dict else (images,)

    @classmethod
    def fit(cls, images: Tensor, latent_channels: int = 48, whitening: float = 0.6) -> PatchVAE:
        """Fit the linear code, the principal components of patches.

        Args:
            images: Sample images in [-1, 1], shape (n, 3, h, w).
            latent_channels: Components kept.
            whitening: How far component variances are evened out: 0 leaves them, 1 makes them all 1.

        Returns:
            An autoencoder whose latents have mean variance 1.
        """
        patches = nn.functional.unfold(images, 8, stride=8).transpose(1, 2).reshape(-1, 3 * 64).double()
        variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
        kept = variances[-latent_channels:].flip(0)
        basis = directions[:, -latent_channels:].flip(1).T
        gains = kept.pow(-whitening / 2)
        gains = gains / (kept * gains**2).mean().sqrt()
        model = cls(latent_channels=latent_channels)
        with torch.no_grad():
            model.encoder.weight.copy_((basis * gains[:, None]).reshape(latent_channels, 3, 8, 8))
            model.decoder.weight.copy_((basis / gains[:, None]).reshape(latent_channels, 3, 8, 8))
        return model.eval()
