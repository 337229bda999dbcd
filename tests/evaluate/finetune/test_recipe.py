"""The named fine-tuning recipes, and which of them a benchmark and a model get."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from aasp.config import with_fields
from aasp.datasets.benchmarks import BENCHMARKS
from aasp.errors import AaspError
from aasp.evaluate.finetune import recipes
from aasp.evaluate.finetune.augment import AugmentConfig
from aasp.evaluate.finetune.data import suited
from aasp.evaluate.finetune.recipe import FinetuneRecipe

BASE, TINY = 768, 192


def test_recipes_have_the_names_of_their_keys() -> None:
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


# Not an option of one recipe: any run has them. `pooling` is the model's, and probes try all of it.
EVERYONES = {"name", "summary", "seed", "optimizer", "augment", "pooling"}


def uses(kind: type, name: str) -> list[Any]:
    """What the named recipes have in a field of the recipe, or of its augmentation."""
    made = [recipes.get(one) for one in recipes.names()]
    return [getattr(one if kind is FinetuneRecipe else one.augment, name) for one in made]


@pytest.mark.parametrize("kind", [FinetuneRecipe, AugmentConfig])
def test_every_option_is_used_by_a_named_recipe(kind: type) -> None:
    hints = get_type_hints(kind)
    for name in {field.name for field in fields(kind)} - EVERYONES:
        if get_origin(hints[name]) is Literal:
            assert set(uses(kind, name)) == set(get_args(hints[name])), name
        else:
            assert any(uses(kind, name)), f"{name} is off everywhere"


def test_the_measured_settings_have_names() -> None:
    """docs/results.md, `With patches as additional targets`: as in benchmarks/finetune_results.py, over `tiny`."""
    esc10: dict[str, Any] = {
        **{"crop_seconds": 5.0, "window": "pretrained", "head": "probe", "optimizer.lr": 3e-4},
        **{"augment.roll_seconds": 5.0, "augment.patchout": 0.5, "steps": 40, "validations": 1},
    }
    speech: dict[str, Any] = {
        **{"crop_seconds": 0.975, "window": "pretrained", "pooling": "mean"},
        **{"layers": "last", "steps": 600, "validations": 1},
    }
    for name, settings in (("lp_ft", esc10), ("words", speech)):
        recipe = recipes.get(name)
        assert recipe == replace(with_fields(recipes.tiny(), settings), name=name, summary=recipe.summary)
    for name, train in (("frozen_stem", "frozen-stem"), ("head_only", "head")):
        assert recipes.get(name) == replace(recipes.lp_ft(), name=name, summary=recipes.get(name).summary, train=train)


OWN = """
from dataclasses import replace
from aasp.evaluate.finetune.recipes import lp_ft

def mine():
    return replace(lp_ft(), name="mine", steps=7)

ready = mine()
number = 3

def wrong():
    return 3

def failing():
    return 1 / 0

def impossible():
    return replace(lp_ft(), steps=0)
"""


@pytest.mark.parametrize("place", ["own_finetuning.py", "own_finetuning"])
@pytest.mark.parametrize("name", ["mine", "ready"])
def test_a_user_defined_recipe(place: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own(tmp_path, monkeypatch)
    recipe = recipes.get(f"{place}:{name}")
    assert recipe == replace(recipes.lp_ft(), name="mine", steps=7)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_finetuning.py:min", "own_finetuning.py has no min; did you mean 'mine'?"),
        ("own_finetuning.py:number", "is of type int, not FinetuneRecipe; name a FinetuneRecipe, or a function"),
        ("own_finetuning.py:wrong", "is of type int, not FinetuneRecipe; name a FinetuneRecipe, or a function"),
        ("own_finetuning.py:failing", "can't be made: ZeroDivisionError: division by zero; fix it"),
        ("own_finetuning.py:replace", r"can't be made: TypeError: .*; fix it"),
        ("own_finetuning.py:impossible", "fine-tuning: steps is 0; give a positive number"),
        ("nowhere.py:mine", "no such file: nowhere.py"),
        ("no_such_module:mine", "can't import no_such_module"),
    ],
)
def test_an_invalid_recipe_is_refused_in_one_line(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own(tmp_path, monkeypatch)
    with pytest.raises(AaspError, match=message) as error:
        recipes.get(name)
    assert "\n" not in str(error.value)


def own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a user's in the working folder, not imported yet."""
    (folder / "own_finetuning.py").write_text(OWN)
    monkeypatch.chdir(folder)
    monkeypatch.delitem(sys.modules, "own_finetuning", raising=False)
