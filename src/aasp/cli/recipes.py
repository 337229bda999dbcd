"""`aasp recipes`: the systems that can be pre-trained, and every field of one."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from aasp.cli.arguments import parse
from aasp.cli.show import facts
from aasp.config import flat, to_dict


@dataclass(frozen=True)
class Recipes:
    """List the recipes with a line each, or print every field of one.

    Each field can be changed for a run: `aasp pretrain RECIPE --set FIELD=VALUE`.
    """

    name: tyro.conf.Positional[str | None] = None
    """The recipe to print; all are listed without it."""


def run(argv: list[str]) -> int:
    name = parse(Recipes, argv, prog="aasp recipes").name
    from aasp.pretrain import recipes

    if name is None:
        facts("recipes", {known: recipes.get(known).summary for known in recipes.names()})
    else:
        recipe = recipes.get(name)
        facts(f"recipe {recipe.name}: {recipe.summary}", flat(to_dict(recipe)) | {"name": None, "summary": None})
    return 0
