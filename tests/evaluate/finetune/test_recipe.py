"""The named fine-tuning recipes, and which of them a benchmark and a model get."""

from __future__ import annotations

import pytest

from aasp.datasets.benchmarks import BENCHMARKS
from aasp.errors import AaspError
from aasp.evaluate.finetune import recipe as recipes
from aasp.evaluate.finetune.data import suited

BASE, TINY = 768, 192


def test_recipes_bear_their_names() -> None:
    assert all(make().name == name for name, make in recipes.RECIPES.items())


@pytest.mark.parametrize(
    ("name", "lr", "batch", "steps", "mask", "smoothing", "loss"),
    [
        ("audioset_2m", 5e-5, 96, 300_000, 0.2, 0.0, "sigmoid"),
        ("audioset_20k", 5e-5, 48, 40_000, 0.2, 0.0, "sigmoid"),
        ("esc50", 5e-5, 48, 4_000, 0.4, 0.1, "softmax"),
        ("speech_commands", 2e-4, 256, 40_000, 0.2, 0.1, "sigmoid"),
    ],
)
def test_eats_recipes_are_eats(
    name: str, lr: float, batch: int, steps: int, mask: float, smoothing: float, loss: str
) -> None:
    recipe = recipes.get(name)
    assert (recipe.optimizer.lr, recipe.optimizer.final_lr, recipe.optimizer.warmup) == (lr, 1e-6, 0.1)
    assert (recipe.batch, recipe.steps, recipe.augment.mask, recipe.label_smoothing) == (batch, steps, mask, smoothing)
    assert (recipe.loss, recipe.pooling, recipe.norm, recipe.layers) == (loss, "cls", "layer", "last")
    assert (recipe.layer_decay, recipe.drop_path) == (0.65, 0.1)


@pytest.mark.parametrize(
    ("benchmark", "recipe"),
    [
        ("audioset_2m", "audioset_2m"),
        ("fsd50k", "audioset_20k"),
        ("esc10", "esc50"),
        ("nsynth_pitch", "nsynth"),
        ("speech_commands_v1_12", "speech_commands"),
        ("crema_d_evar", "crema_d"),
        ("my_clips/", "clips"),
    ],
)
def test_a_large_encoder_gets_the_benchmarks_recipe(benchmark: str, recipe: str) -> None:
    assert suited(benchmark, BASE, multilabel=False).name == recipe


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_every_benchmark_gets_a_recipe_that_can_score_it(benchmark: str) -> None:
    several = BENCHMARKS[benchmark].metric == "mAP"
    for width in (BASE, TINY):
        recipe = suited(benchmark, width, several)
        assert recipe.loss == "sigmoid" or not several
    assert recipe.name == "tiny" and recipe.crop_seconds == BENCHMARKS[benchmark].clip_seconds


def test_a_small_encoder_gets_tiny_for_unknown_sets_too() -> None:
    assert suited("clips.csv", TINY, multilabel=False) == recipes.tiny()
    assert suited("clips.csv", TINY, multilabel=True).loss == "sigmoid"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AaspError, match="fine-tuning recipe 'esc5' is unknown; did you mean 'esc50'"):
        recipes.get("esc5")
