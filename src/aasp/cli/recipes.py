"""`aasp recipes`: the recipes for pre-training and fine-tuning, and every field of one."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from aasp.cli.arguments import parse
from aasp.cli.facts import facts
from aasp.config import flat, to_dict


@dataclass(frozen=True)
class Recipes:
    """List the recipes, one line each, or print every field of one.

    Each field can be changed for a run: `aasp pretrain RECIPE --set FIELD=VALUE`, and the same for `aasp finetune`. The
    prefix `method.` can be omitted.
    """

    name: tyro.conf.Positional[str | None] = None
    """The recipe to print, or your own as package.module:name or file.py:name; without it all are listed."""
    finetune: bool = False
    """Show the recipes of `aasp finetune` instead."""


def run(argv: list[str]) -> int:
    arguments = parse(Recipes, argv, prog="aasp recipes")
    from aasp.evaluate.finetune import recipes as finetuning
    from aasp.pretrain import recipes as pretraining

    recipes = finetuning if arguments.finetune else pretraining
    if arguments.name is None:
        heading = "fine-tuning recipes" if arguments.finetune else "recipes"
        facts(heading, {known: recipes.get(known).summary for known in recipes.names()})
    else:
        recipe = recipes.get(arguments.name)
        facts(f"recipe {recipe.name}: {recipe.summary}", flat(to_dict(recipe)) | {"name": None, "summary": None})
    return 0
