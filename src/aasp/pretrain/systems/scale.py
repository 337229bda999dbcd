"""The two sizes at which systems are compared: the size of `aasp_tiny`, and ViT-Base on ten seconds."""

from __future__ import annotations

from aasp.features.logmel import LogMelConfig
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain.ema import EMAConfig
from aasp.pretrain.methods import MethodConfig
from aasp.pretrain.recipe import DataConfig, Recipe
from aasp.stems import StemConfig
from aasp.stems.conv import ConvConfig
from aasp.training.matrices import MuonConfig
from aasp.training.optim import OptimizerConfig

PATCH = (8, 32)
"""Frames and mel bins of a patch of the tiny systems: as many tokens per second as 16 x 16, half as long."""
VECTOR = ("0:flat+std", "4:mean+std")
"""Components of a tiny model's `vector` embedding: probes of pitch and timbre work best on the stem's tokens, those of
words and everyday sounds on the fourth block (docs/decisions)."""
TINY_TEACHER = EMAConfig(momentum=0.99, final_momentum=0.999, ramp=1.0)
"""Default EMA settings of the teachers of tiny systems: those of `aasp_tiny`."""


def tiny(
    name: str,
    summary: str,
    method: MethodConfig,
    stem: StemConfig | None = None,
    lr: float = 2e-3,
    crop_seconds: float = 1.935,
) -> Recipe:
    """192 x 6 on two-second crops in batches of 24, with Muon: 18,000 steps, ten hours on one core (docs/decisions).

    Args:
        name: name of the recipe.
        summary: its description in one line; the size is put before it.
        method: the method, at this size.
        stem: convolutional patches of 8 frames x 32 bins if omitted.
        lr: peak learning rate; that of matrices is ten times as large.
        crop_seconds: length of the crops; twice the default if two segments of the default length are cut from each.
    """
    return Recipe(
        name=name,
        summary=f"192 x 6: {summary}",
        model=AudioEncoderConfig(
            stem=stem or ConvConfig(patch=PATCH),
            encoder=EncoderConfig(192, 6, 3),
            window_seconds=1.92,
            vector=VECTOR,
        ),
        method=method,
        optimizer=OptimizerConfig(lr=lr, warmup=0.03, matrices=MuonConfig(lr=10 * lr)),
        data=DataConfig(crop_seconds=crop_seconds, batch=24, gain_db=6.0),
        steps=18_000,
    )


def base(
    name: str,
    summary: str,
    method: MethodConfig,
    optimizer: OptimizerConfig,
    batch: int,
    steps: int,
    model: AudioEncoderConfig,
) -> Recipe:
    """A system on crops as long as its model's window.

    Args:
        name: name of the recipe.
        summary: its description in one line; the size is put before it.
        method, optimizer, batch, steps, model: as in `Recipe`; for the model, see `vit_base`.
    """
    frontend, patch = model.frontend, model.stem.patch
    assert isinstance(frontend, LogMelConfig)
    seconds = frontend.samples(model.window_patches * patch[0]) / frontend.rate
    return Recipe(
        name=name,
        summary=f"{model.encoder.width} x {model.encoder.depth}: {summary}",
        model=model,
        method=method,
        optimizer=optimizer,
        data=DataConfig(crop_seconds=seconds, batch=batch),
        steps=steps,
    )


def vit_base(
    window: float = 10.24,
    patch: tuple[int, int] = (16, 16),
    frontend: LogMelConfig | None = None,
    encoder: EncoderConfig | None = None,
) -> AudioEncoderConfig:
    """ViT-Base on patches of a log-mel.

    Args:
        window: length of its window in seconds.
        patch: frames and mel bins.
        frontend: 128 bins with AudioSet's statistics (EAT, AST, Audio-MAE) if omitted.
        encoder: 768 x 12 with 12 heads and pre-norm if omitted.
    """
    return AudioEncoderConfig(
        frontend=frontend or LogMelConfig(),
        stem=ConvConfig(patch=patch),
        encoder=encoder or EncoderConfig(768, 12, 12),
        window_seconds=window,
    )
