"""ASiT's recipes. Source: Atito et al. 2024, and its published training script."""

from __future__ import annotations

from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain.masking import MaskingConfig
from aasp.pretrain.methods.asit import ASiTConfig
from aasp.pretrain.recipe import DataConfig, Recipe
from aasp.pretrain.systems.scale import TINY_TEACHER, tiny
from aasp.stems.conv import ConvConfig
from aasp.training.optim import OptimizerConfig


def asit_base() -> Recipe:
    """ViT-Base on 128 mel bins x 592 frames, 37 x 8 patches of which 70 % are corrupted, and stochastic depth, as
    published; learning rate, batch and steps are those of `aasp_base` (theirs: 100 epochs at 5e-4 per 256 clips), and
    so is the rate of 16 kHz (its script: 32). Also ours: a constant weight decay of 0.05 (its script: 0.04 to 0.4), the
    whole gradient clipped to a norm of 4 (each parameter's to 3), and a linear rise of the momentum (along a cosine).
    """
    return Recipe(
        name="asit_base",
        summary="768 x 12: ASiT, corrupted patches reconstructed, a teacher's output predicted for patches and clips",
        model=AudioEncoderConfig(
            stem=ConvConfig(), encoder=EncoderConfig(768, 12, 12, drop_path=0.1), window_seconds=5.92, pooling="cls"
        ),
        method=ASiTConfig(),
        optimizer=OptimizerConfig(lr=5e-4, warmup=0.1, betas=(0.9, 0.999)),
        data=DataConfig(crop_seconds=10.0, batch=48),
        steps=400_000,
    )


def asit_tiny() -> Recipe:
    """ASiT at the size of `aasp_tiny`: crops of twice its length, with two segments of its crop's length."""
    method = ASiTConfig(
        seconds=1.935,
        masking=MaskingConfig(views=1, keep_ratio=0.3, block=3),
        teacher=TINY_TEACHER,
        head=(512, 128, 512),
    )
    return tiny("asit_tiny", "ASiT, corrupted patches restored and predicted, on two cores", method, crop_seconds=3.87)


RECIPES = (asit_tiny, asit_base)
