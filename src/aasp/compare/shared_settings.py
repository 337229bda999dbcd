"""Settings that are determined once in a comparison and stored in its folder, for all processes. Source: ours."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from aasp.compare.budget import Budget, Costs, Trainable, costs
from aasp.compare.folder import REMEDY, Folder
from aasp.compare.layout import identity
from aasp.devices import device_of
from aasp.documents import as_written
from aasp.errors import AaspError
from aasp.training.precision import Precision, has_fast_bf16


def common_to_all(
    budget: Budget, data: Path, precision: Precision, device: str, known: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings shared by all trainings, as JSON values.

    Args:
        budget: of each training.
        data: the training data.
        precision: of the forward pass; "auto" is the precision stored in this folder, or the faster one here.
        device: of the trainings.
        known: settings of the folder.
    """
    if precision == "auto":
        precision = known.get("precision") or ("bf16" if has_fast_bf16(device_of(device)) else "fp32")
    return {
        "budget": str(budget),
        "data": str(data),
        "precision": precision,
        "threads": torch.get_num_threads(),
    }


def resolve_costs(
    folder: Folder,
    recipes: Mapping[str, Trainable],
    budget: Budget,
    common: Mapping[str, Any],
    sets: Mapping[str, str],
    device: str,
    *,
    frozen: Mapping[str, str] | None = None,
    dry_run: bool = False,
) -> dict[str, Costs]:
    """The cost and steps of each recipe: as stored in this folder, else measured now and stored.

    Args:
        folder: of the comparison; recipes and sets may be added to it.
        recipes: by name; and, by cell, architectures that are trained with labels.
        budget: of each training.
        common: common settings of all trainings.
        sets: the word for each set on the command line, by its name.
        device: where steps are timed.
        frozen: hash of each encoder that is not trained here, by its name.
        dry_run: write nothing.

    Raises:
        AaspError: the folder contains another comparison, or the budget is less than a step of a recipe.
    """
    folder.check(common)
    with contextlib.nullcontext() if dry_run else folder.setup_lock():
        known = folder.settings
        folder.check(common)
        with as_written(folder.path / "settings.json", REMEDY):
            kept: dict[str, Any] = {name: dict(one) for name, one in known.get("recipes", {}).items()}
            named: dict[str, str] = dict(known.get("sets", {}))
        for name, word in sets.items():
            if named.setdefault(name, word) != word:
                text = f"{folder.path} has measured {named[name]} as {name}"
                raise AaspError(f"--benchmarks {word}: {text}; choose another --out")
        encoders: dict[str, str] = dict(known.get("frozen", {}))
        for name, digest in (frozen or {}).items():
            if encoders.setdefault(name, digest) != digest:
                text = f"{folder.path} has measured another encoder as {name}"
                raise AaspError(f"--encoder {name}: {text}; choose another --out")
        for name, recipe in recipes.items():
            if name in kept and kept[name]["identity"] != identity(recipe):
                text = f"{folder.path} has a recipe {name} with other fields"
                raise AaspError(f"output holds another comparison: {text}; choose another --out, or the same --set")
        found = {}
        for name, recipe in recipes.items():
            if name not in kept:
                made = costs(name, recipe, budget, common["precision"], device)
                kept[name] = {"identity": identity(recipe), **made.to_dict()}
            found[name] = Costs(**{key: value for key, value in kept[name].items() if key != "identity"})
        if not dry_run:
            folder.write_settings({**common, "sets": named, "recipes": kept, "frozen": encoders})
    return found
