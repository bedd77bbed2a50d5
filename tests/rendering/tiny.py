"""Tiny random models in the layouts of the real ones, built from configs in a second and saved to a folder."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

DEFAULTS = {"num_inference_steps": 2, "guidance_scale": 2.0, "height": 32, "width": 32}


def tiny_tokenizer(context: int = 16) -> CLIPTokenizer:
    """A byte-level CLIPTokenizer without merges: 514 tokens, the special ones last."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *[letter + "</w>" for letter in letters], "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=context)


def tiny_pipeline(seed: int = 0) -> StableDiffusionPipeline:
    """A random StableDiffusionPipeline: 32 x 32 pictures, 14 thousand parameters or so."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    unet = UNet2DConditionModel(
        sample_size=4,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    vae = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        num_decoder_blocks=(1, 1, 1, 1),
    )
    with torch.no_grad():  # random weights leave the middle of the range black; lift it
        vae.decoder.layers[-1].bias.fill_(0.5)
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save_tiny_pipeline(folder: Path, seed: int = 0) -> Path:
    """Save a tiny pipeline with `render_defaults.json` and return the folder."""
    tiny_pipeline(seed).save_pretrained(folder, safe_serialization=True)
    (folder / "render_defaults.json").write_text(json.dumps(DEFAULTS))
    return folder
