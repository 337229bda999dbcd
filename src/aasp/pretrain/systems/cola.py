"""COLA's recipes. Source: Saeed, Grangier & Zeghidour 2021."""

from __future__ import annotations

from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain.methods.cola import COLAConfig
from aasp.pretrain.recipe import DataConfig, Recipe
from aasp.pretrain.systems.byol_a import front_end
from aasp.pretrain.systems.scale import tiny
from aasp.stems.conv import ConvConfig
from aasp.training.optim import OptimizerConfig


def cola_base() -> Recipe:
    """COLA's segments of 96 frames, 64 triangles with straight sides in mel, windows of 25 ms every 10 ms, an FFT of
    1,024, batch of 1,024, constant learning rate of 1e-4, and 500 epochs of AudioSet (in its code an epoch is 1,000
    steps). ViT-Base on patches of 16 x 16, gradient clipping, power instead of magnitude, waveforms as loud as they
    are, and no noise are ours. Its clips have an L2 norm of 1 and magnitudes of at least 1e-5: for ten seconds at an
    RMS of 0.086, that is our floor.
    """
    front = front_end(window_ms=25.0, triangles="mel", centered=False)
    return Recipe(
        name="cola_base",
        summary="768 x 12: COLA, two segments of a clip among those of others, with our transformer",
        model=AudioEncoderConfig(front, ConvConfig(), EncoderConfig(768, 12, 12), window_seconds=0.96),
        method=COLAConfig(seconds=0.975),
        optimizer=OptimizerConfig(lr=1e-4, final_lr=1e-4, warmup=0.0, betas=(0.9, 0.999), weight_decay=0.0),
        data=DataConfig(crop_seconds=10.0, batch=1024),
        steps=958_900,
    )


def cola_tiny() -> Recipe:
    """COLA at the size of `aasp_tiny`: crops of twice its length, with two segments of its crop's length."""
    method = COLAConfig(seconds=1.935)
    return tiny("cola_tiny", "COLA, two segments of a clip, on two cores", method, crop_seconds=3.87)


RECIPES = (cola_tiny, cola_base)
