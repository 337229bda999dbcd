"""Settings by name: strict, typed, and set together."""

from __future__ import annotations

import pytest

from aasp.cli.arguments import settings
from aasp.config import flat, from_dict, to_dict, with_fields
from aasp.errors import AaspError
from aasp.evaluate.finetune import recipes as finetune_recipes
from aasp.pretrain import recipes
from aasp.pretrain.recipe import Recipe
from aasp.stems.aape import AaPEConfig
from aasp.stems.ast import ASTConfig
from aasp.stems.conv import ConvConfig
from aasp.stems.lowpass import LowpassConfig


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
    assert recipe.method.losses.contrastive == 0.5 and recipe.steps == 7 and recipe.optimizer.betas == (0.9, 0.98)
    assert recipe.model.stem == ConvConfig(patch=(8, 32))
    assert flat(to_dict(recipe))["method.masking.scheme"] == "random"
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
        ("model.encoder.depth", "2", r"'4:mean\+std' is no layer .* 0 to 2; .* as in model\.vector=2:mean, or to none"),
        ("model.vector", "last", "'last' is no LAYER:POOLING; write it as in 4:mean"),
        ("model.vector", "9" * 5000 + ":mean", "9… is no LAYER:POOLING"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(name: str, value: str, words: str) -> None:
    with pytest.raises(AaspError, match=words) as error:
        with_fields(recipes.get("aasp_tiny"), {name: value})
    assert "\n" not in str(error.value) and name.split(".")[0].split("=")[0]


def test_an_incomplete_file_is_refused() -> None:
    with pytest.raises(AaspError, match=r"run\.json: has no name, summary"):
        from_dict(Recipe, {"steps": 3}, "run.json")


def test_unknown_recipe() -> None:
    with pytest.raises(AaspError, match="did you mean 'aasp_tiny'"):
        recipes.get("aasp_tinny")


@pytest.mark.parametrize(
    "settings",
    [
        {"model.stem.taps": "32", "model.stem": "conv"},
        {"model.stem": "conv", "model.stem.taps": "32"},
        {"model.stem.taps": 32, "model.stem": ConvConfig()},
        {"model.stem": {"kind": "conv", "taps": 32}},
        {"model.stem": "conv", "model.stem.kind": "conv", "model.stem.taps": "32"},
    ],
)
def test_the_choice_comes_before_its_fields_in_any_order(settings: dict[str, object]) -> None:
    assert with_fields(recipes.get("aasp_base"), settings).model.stem == ConvConfig(taps=32)


def test_a_choice_begins_with_its_defaults_and_its_fields_are_set_together() -> None:
    base = recipes.get("aasp_base")
    assert base.model.stem != AaPEConfig()
    assert with_fields(base, {"model.stem": "aape"}).model.stem == AaPEConfig()
    both = {"model.stem.taps": "24", "model.stem": "lowpass", "model.stem.patch": "8,32"}
    assert with_fields(base, both).model.stem == LowpassConfig(patch=(8, 32), taps=24)
    given = {"model.stem.patch": (8, 32), "model.stem": ConvConfig(taps=48)}
    assert with_fields(base, given).model.stem == ConvConfig(patch=(8, 32), taps=48)
    assert with_fields(base, {"model.stem.taps": "none", "model.stem": "conv"}).model.stem == ConvConfig()


def test_a_stem_in_place_of_another_has_its_patches() -> None:
    tiny = recipes.get("aasp_tiny")
    assert tiny.model.stem.patch == (8, 32)
    for kind, stem in {"conv": ConvConfig, "lowpass": LowpassConfig, "aape": AaPEConfig}.items():
        assert with_fields(tiny, {"model.stem": kind}).model.stem == stem(patch=(8, 32))
    assert with_fields(tiny, {"model.stem": "ast"}).model.stem == ASTConfig(), "whose patches overlap"
    assert with_fields(tiny, {"model.stem": "conv", "model.stem.patch": "16,16"}).model.stem == ConvConfig()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"model.stem.states": "8", "model.stem": "conv"},
            "--set model.stem.states: unknown field 'states' of conv; 'states' is a field of aape, "
            "as in model.stem=aape model.stem.states=…; did you mean 'taps'?",
        ),
        (
            {"model.stem": "lowpass", "model.stem.state": "8"},
            "--set model.stem.state: unknown field 'state' of lowpass; 'states' is a field of aape, "
            "as in model.stem=aape model.stem.states=…; known: patch, taps",
        ),
        ({"model.stem": "conv", "model.stem.tap": "8"}, "unknown field 'tap' of conv; did you mean 'taps'?"),
        ({"model.stem.tap": "8"}, "unknown field 'tap' of aape; did you mean 'taps'?"),
        ({"model.stem": "conv", "model.stem.taps": "many"}, "--set model.stem.taps=many: 'many' is not a whole number"),
        ({"model.stem": "conv", "model.stem.kind": "aape"}, "set the part itself, as in model.stem=aape"),
        ({"model.stem": "conv", "model.stem.taps.x": "1"}, "--set model.stem.taps: has no field 'x'; set taps itself"),
        ({"steps": "2", "steps.x": "1"}, "--set steps: has no field 'x'; set steps itself"),
        ({"model.stem": {"kind": "conv", "states": 8}}, "unknown field 'states'"),
        ({"model.stem": ""}, "'' is not one of conv, lowpass, aape"),
    ],
)
def test_a_field_of_another_kind_is_named_with_the_kinds_that_have_it(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(AaspError) as error:
        with_fields(recipes.get("aasp_tiny"), settings)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "setting",
    [
        *("model.encoder.heads=0", "model.encoder.heads=-3", "model.encoder.width=0", "model.encoder.depth=0"),
        *("model.encoder.depth=-1", "model.encoder.mlp_ratio=-1", "model.encoder.drop_path=1", "model.frontend.mels=0"),
        *("model.frontend.hop_ms=0", "model.window_seconds=0", "model.stem.patch=0,16", "model.stem.states=0"),
        *("model.stem.encoder_heads=0", "model.stem.frames_per_token=0", "masking.views=0", "masking.block_overlap=-1"),
        *("teacher.layers=0", "teacher.layers=-1", "teacher.momentum=1.5", "teacher.ramp=2", "teacher.ramp=nan"),
        *("predictor.heads=0", "predictor.heads=5", "predictor.heads=-6", "predictor.depth=0", "predictor.width=0"),
        *("losses.frame=-1", "losses.temperature=0", "losses.projector=0,8", "data.batch=0", "data.crop_seconds=0"),
        *("data.crop_seconds=0.01", "data.gain_db=-1", "optimizer.lr=nan", "optimizer.lr=inf", "optimizer.warmup=2"),
        *("optimizer.betas=0.9,1", "optimizer.final_lr=-1", "optimizer.weight_decay=-1", "steps=0", "seed=-1"),
        *("steps=1e400", "seed=9e99", "losses.projector=8", "predictor.heads="),
    ],
)
def test_impossible_numbers_are_refused_in_one_line(setting: str) -> None:
    name, _, value = setting.partition("=")
    with pytest.raises(AaspError) as error:
        with_fields(recipes.get("aasp_tiny"), {name: value})
    message = str(error.value)
    assert name.rpartition(".")[2] in message and "\n" not in message
    with pytest.raises(AaspError):  # and from a file
        tree: dict = {}
        *parents, last = name.split(".")
        inner = tree
        for parent in parents:
            inner = inner.setdefault(parent, {"kind": "aape"} if parent == "stem" else {})
        inner[last] = value
        from_dict(Recipe, {"name": "a", "summary": "b"} | tree, "recipe.json")


@pytest.mark.parametrize(
    "setting",
    [
        *("drop_path=1", "label_smoothing=-1", "epoch_clips=0", "layer_decay=0", "augment.gain_db=-3"),
        *("augment.mixup_alpha=0", "augment.roll_seconds=-1", "batch=0", "validations=0", "seed=-1", "optimizer.lr=0"),
    ],
)
def test_impossible_numbers_of_a_fine_tuning_are_refused_in_one_line(setting: str) -> None:
    name, _, value = setting.partition("=")
    with pytest.raises(AaspError, match=name.rpartition(".")[2]):
        with_fields(finetune_recipes.get("tiny"), {name: value})


@pytest.mark.parametrize(
    ("text", "keys"),
    [("2:mean", ((2, "mean"),)), ("0:flat,2:cls", ((0, "flat"), (2, "cls"))), ("none", ((2, "mean"),)), ("", None)],
)
def test_a_shallower_encoder_is_given_a_vector_of_its_own(text: str, keys: tuple | None) -> None:
    typed = settings((("model.encoder.depth=2", f"model.vector={text}"),)) if text else {"model.vector": text}
    model = with_fields(recipes.get("aasp_tiny"), typed).model
    assert model.keys == (keys or ((6, "mean"),)), "of the last layer, where it is set to none"


def test_nothing_to_learn_is_refused() -> None:
    nothing = {"losses.frame": "0", "losses.utterance": "0", "losses.contrastive": "0"}
    with pytest.raises(AaspError, match="nothing would be learned"):
        with_fields(recipes.get("aasp_tiny"), nothing)


def test_whole_numbers_are_read_exactly() -> None:
    tiny = recipes.get("aasp_tiny")
    assert with_fields(tiny, {"seed": "9007199254740993"}).seed == 9007199254740993
    assert with_fields(tiny, {"steps": "1e3"}).steps == 1000
    assert with_fields(tiny, {"optimizer.lr": 1}).optimizer.lr == 1.0


def test_more_teacher_layers_than_the_encoder_has_are_all_of_them() -> None:
    tiny = recipes.get("aasp_tiny")
    assert tiny.method.teacher.layers > tiny.model.encoder.depth
    assert with_fields(tiny, {"teacher.layers": "99"}).method.teacher.layers == 99


def test_settings_of_the_command_line() -> None:
    given = (("a=1", "b.c=2"), ("a=3",))
    assert settings(given, seed=4, steps=None) == {"a": "3", "b.c": "2", "seed": "4"}
    assert settings((("steps=2",),), steps=2) == {"steps": "2"}
    for wrong, message in [("a", "no value"), ("a=", "no value"), ("=1", "no field"), ("steps=3", "--steps says 2")]:
        with pytest.raises(AaspError, match=message):
            settings(((wrong,),), steps=2)
