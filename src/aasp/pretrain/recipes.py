"""The named systems."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain.masking import MaskingConfig
from aasp.pretrain.predictor import PredictorConfig
from aasp.pretrain.recipe import DataConfig, LossesConfig, OptimizerConfig, Recipe
from aasp.pretrain.teacher import TeacherConfig


def aasp_tiny() -> Recipe:
    """The whole method at 5.5 M parameters, tuned to learn from a few hours of audio on two cores."""
    return Recipe(
        name="aasp_tiny",
        summary="192 x 12, learns from hours of audio on a laptop",
        model=AudioEncoderConfig(encoder=EncoderConfig(192, 12, 3), window_seconds=2.56),
        masking=MaskingConfig(views=4, predicted=0.25),
        predictor=PredictorConfig(depth=4, width=192, heads=3),
        data=DataConfig(crop_seconds=2.56 + 0.02, batch=32),
        steps=2_000,
    )


RECIPES: dict[str, Callable[[], Recipe]] = {recipe.__name__: recipe for recipe in (aasp_tiny,)}


def names() -> list[str]:
    """Names of all recipes."""
    return list(RECIPES)


def get(name: str) -> Recipe:
    """A recipe by name.

    Raises:
        AaspError: there is none of that name.
    """
    if name not in RECIPES:
        close = get_close_matches(name, RECIPES, n=1)
        raise AaspError(f"recipe {name!r} is unknown; {f'did you mean {close[0]}?' if close else f'known: {names()}'}")
    return RECIPES[name]()
