"""The recipes of the reference after LeJEPA. Source: Balestriero & LeCun 2025, for images; its audio form is ours."""

from __future__ import annotations

from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain.masking import MaskingConfig
from aasp.pretrain.methods.lejepa import LeJEPAConfig
from aasp.pretrain.recipe import DataConfig, Recipe
from aasp.pretrain.systems.scale import tiny
from aasp.stems.conv import ConvConfig
from aasp.training.optim import OptimizerConfig


def lejepa_base() -> Recipe:
    """ViT-Base on 512 patches, eight masked views per clip, a batch of 256 (theirs); the rest as in `aasp_base`."""
    return Recipe(
        name="lejepa_base",
        summary="768 x 12: after LeJEPA, masked views agree and are kept Gaussian, no teacher",
        model=AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(768, 12, 12), window_seconds=10.24),
        method=LeJEPAConfig(masking=MaskingConfig(views=8)),
        optimizer=OptimizerConfig(lr=5e-4, warmup=0.1, betas=(0.9, 0.999)),
        data=DataConfig(crop_seconds=10.255, batch=256),
        steps=400_000,
    )


def lejepa_tiny() -> Recipe:
    """The same at the size of `aasp_tiny`, with its views; the Gaussian loss grows with the batch, which is 24 here, so
    its weight is four times as large.
    """
    method = LeJEPAConfig(masking=MaskingConfig(views=4, keep_ratio=0.3, block=3), head=(1024, 64), gaussian=0.2)
    return tiny("lejepa_tiny", "after LeJEPA, masked views agree and are kept Gaussian, on two cores", method)


RECIPES = (lejepa_tiny, lejepa_base)
