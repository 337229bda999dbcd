"""Settings by name: strict, typed, and set together."""

from __future__ import annotations

import pytest

from aasp.config import flat, from_dict, to_dict, with_fields
from aasp.errors import AaspError
from aasp.pretrain import recipes
from aasp.pretrain.recipe import Recipe
from aasp.stems.conv import ConvConfig


@pytest.mark.parametrize("name", recipes.names())
def test_recipes_survive_json(name: str) -> None:
    import json

    recipe = recipes.get(name)
    values = json.loads(json.dumps(to_dict(recipe)))
    assert from_dict(Recipe, values, "here") == recipe
    assert from_dict(Recipe, values, "here").fingerprint == recipe.fingerprint


def test_fields_from_text() -> None:
    recipe = with_fields(
        recipes.get("aasp_tiny"),
        {"model.encoder.width": "256", "model.encoder.heads": "4", "losses.contrastive": "0.5", "steps": "7",
         "optimizer.betas": "0.9,0.98", "masking.scheme": "random", "model.stem": "conv"},
    )  # fmt: skip
    assert (recipe.model.encoder.width, recipe.model.encoder.heads) == (256, 4), "fields that fit only together"
    assert recipe.losses.contrastive == 0.5 and recipe.steps == 7 and recipe.optimizer.betas == (0.9, 0.98)
    assert recipe.model.stem == ConvConfig()
    assert flat(to_dict(recipe))["masking.scheme"] == "random"
    assert recipe.fingerprint != recipes.get("aasp_tiny").fingerprint


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("losses.contrastiv", "1", "unknown field 'contrastiv'; did you mean 'contrastive'"),
        ("steps", "many", "'many' is not a whole number"),
        ("steps", "1.5", "'1.5' is not a whole number"),
        ("masking.scheme", "blocks", "'blocks' is not one of inverse-block, random, structured"),
        ("model.stem", "fourier", "'fourier' is not one of conv, lowpass, aape"),
        ("model.stem.patch", "16", "needs 2 values"),
        ("model.stem.patch", "a,b", "'a' is not a whole number"),
        ("model.stem.kind", "conv", "set the part itself"),
        ("steps.more", "1", "set steps itself"),
        ("model.encoder", "wide", "set one of width, depth"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(name: str, value: str, words: str) -> None:
    with pytest.raises(AaspError, match=words) as error:
        with_fields(recipes.get("aasp_tiny"), {name: value})
    assert "\n" not in str(error.value) and name.split(".")[0].split("=")[0]


def test_an_incomplete_file_is_refused() -> None:
    with pytest.raises(AaspError, match=r"run\.json: lacks name, summary"):
        from_dict(Recipe, {"steps": 3}, "run.json")


def test_unknown_recipe() -> None:
    with pytest.raises(AaspError, match="did you mean 'aasp_tiny'"):
        recipes.get("aasp_tinny")
