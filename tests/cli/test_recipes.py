"""`aasp recipes` lists what can be pre-trained, or fine-tuned, and prints every field of one."""

from __future__ import annotations

import pytest

from aasp.cli.main import main
from aasp.config import flat, to_dict
from aasp.evaluate.finetune import recipes as finetuning
from aasp.pretrain import recipes


def test_every_recipe_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name in ("aasp_tiny", "aasp_small", "aasp_base", "aasp_large"):
        assert f"{name} {' '.join(recipes.get(name).summary.split())}" in shown


def test_every_field_of_one_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "aasp_base"]) == 0
    rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:]]
    recipe = recipes.get("aasp_base")
    assert {row[0] for row in rows} == flat(to_dict(recipe)).keys() - {"name", "summary"}
    values = {name: value[0].strip() for name, *value in rows}
    assert values["model.encoder.width"] == str(recipe.model.encoder.width)
    assert values["steps"] == str(recipe.steps)


def test_an_unknown_recipe_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "aasp_tinny"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "aasp_tinny" in message and "aasp_tiny" in message


def test_the_recipes_of_fine_tuning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "--finetune"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name in ("audioset_2m", "esc50", "speech_commands", "tiny", "words", "lp_ft", "frozen_stem", "head_only"):
        assert f"{name} {finetuning.get(name).summary}" in shown
    assert main(["recipes", "esc50", "--finetune"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:] if len(line.split()) > 1)
    assert rows["layer_decay"].strip() == "0.65" and rows["augment.mask"].strip() == "0.4"
    assert main(["recipes", "--finetune", "aasp_base"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "fine-tuning recipe 'aasp_base' is unknown" in message


def test_of_many_recipes_the_nearest_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "nosuch"]) == 2
    message = capsys.readouterr().err
    assert "recipe 'nosuch' is unknown; the nearest of " in message and message.count("\n") == 1 and len(message) < 200
