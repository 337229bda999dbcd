"""What systems on two cores have in common, that they compare: all but the method, as `aasp_tiny` has it."""

from __future__ import annotations

from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain.methods import MethodConfig
from aasp.pretrain.recipe import DataConfig, Recipe
from aasp.stems.conv import ConvConfig
from aasp.training.optim import OptimizerConfig


def two_cores(
    name: str, summary: str, method: MethodConfig, patch: tuple[int, int] = (16, 16), crop_seconds: float = 0.975
) -> Recipe:
    """A method at the size of `aasp_tiny`, with its batch, rates and steps and a convolution as stem.

    Args:
        name, summary, method: of the recipe.
        patch: frames and mel bins of a token.
        crop_seconds: longer where segments of that length are cut from a crop.
    """
    return Recipe(
        name=name,
        summary=f"192 x 6: {summary}, on two cores",
        model=AudioEncoderConfig(stem=ConvConfig(patch=patch), encoder=EncoderConfig(192, 6, 3), window_seconds=0.96),
        method=method,
        optimizer=OptimizerConfig(lr=1e-3, warmup=0.1),
        data=DataConfig(crop_seconds, batch=32, gain_db=6.0),
        steps=2_600,
    )
