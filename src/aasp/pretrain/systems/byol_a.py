"""BYOL-A's recipes. Source: Niizumi et al. 2021."""

from __future__ import annotations

from aasp.features.logmel import LogMelConfig
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain.methods.byol_a import BYOLAConfig
from aasp.pretrain.recipe import DataConfig, Recipe
from aasp.pretrain.systems.scale import TINY_TEACHER, tiny
from aasp.stems.conv import ConvConfig
from aasp.training.optim import OptimizerConfig


def front_end(**changes: float | str) -> LogMelConfig:
    """64 mel bins from 60 Hz to 7.8 kHz, windows of 64 ms every 10 ms: BYOL-A's front end (config.yaml), also ATST's.

    The mel scale is HTK's, BYOL-A's default and ATST's; BYOL-A's published weights were trained with librosa's. The
    floor of its logarithm is 2 ** -23. The statistics are M2D's for AudioSet: BYOL-A measures its own during training.
    M2D's bins have an area of 1, these a peak of 1: normalised log-mels are about 1.3 larger than M2D's.
    """
    settings = dict(
        mels=64, window_ms=64.0, fft=1024, low_hz=60.0, high_hz=7_800.0, triangles="hertz", periodic=True,
        centered=True, remove_dc=False, preemphasis=0.0, mean=-7.1, std=4.2,
    )  # fmt: skip
    return LogMelConfig(**(settings | changes))  # type: ignore[arg-type]


def byol_a_base() -> Recipe:
    """BYOL-A's front end, augmentation, heads, momentum, batch of 256, 100 epochs of AudioSet, and a constant learning
    rate of 3e-4 without weight decay.

    Views have 96 frames. The encoder, ViT-Base on patches of 16 x 16, and gradient clipping are ours.
    """
    return Recipe(
        name="byol_a_base",
        summary="768 x 12: BYOL-A, two augmentations of a clip, with our transformer",
        model=AudioEncoderConfig(front_end(), ConvConfig(), EncoderConfig(768, 12, 12), window_seconds=0.96),
        method=BYOLAConfig(),
        optimizer=OptimizerConfig(lr=3e-4, final_lr=3e-4, warmup=0.0, betas=(0.9, 0.999), weight_decay=0.0),
        data=DataConfig(crop_seconds=0.95, batch=256),
        steps=767_112,
    )


def byol_a_tiny() -> Recipe:
    """BYOL-A at the size of `aasp_tiny`: narrower heads, and the momentum schedule of `aasp_tiny`."""
    method = BYOLAConfig(teacher=TINY_TEACHER, head=(1024, 128))
    return tiny("byol_a_tiny", "BYOL-A, two augmentations of a clip, on two cores", method)


RECIPES = (byol_a_tiny, byol_a_base)
