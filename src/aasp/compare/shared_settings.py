"""Settings that are determined once in a comparison and stored in its folder, for all processes. Source: ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from aasp.compare.budget import Budget, Costs, Trainable, costs
from aasp.compare.folder import REMEDY, Folder
from aasp.compare.inputs import Inputs
from aasp.compare.layout import identity
from aasp.compare.readings import BANDS
from aasp.devices import device_of, model_of
from aasp.documents import as_written
from aasp.errors import AaspError
from aasp.training.precision import Precision, has_fast_bf16


@dataclass(frozen=True)
class TrainingOptions:
    """How trainings run, as the command line says it.

    Attributes:
        precision: of the forward pass; "auto" is the precision stored in the folder, or the faster one here.
        threads: CPU threads of torch; None is the number stored in the folder, or the current one.
        device: of the trainings.
    """

    precision: Precision = "auto"
    threads: int | None = None
    device: str = "auto"

    def resolved(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Precision and threads as JSON values; torch is set to that number of threads.

        Args:
            known: settings of the folder, locked so that processes started at once get the same ones.
        """
        threads = known.get("threads") if self.threads is None else self.threads
        if threads is not None:
            torch.set_num_threads(int(threads))
        precision = known.get("precision") if self.precision == "auto" else self.precision
        if precision is None:
            precision = "bf16" if has_fast_bf16(device_of(self.device)) else "fp32"
        return {"precision": precision, "threads": torch.get_num_threads()}


@dataclass(frozen=True)
class Shared:
    """What all trainings of a comparison have in common.

    Attributes:
        costs: cost and steps of each recipe, and of each cell that is trained with labels.
        precision, threads: of all trainings.
    """

    costs: Mapping[str, Costs]
    precision: Precision
    threads: int


def resolve(
    folder: Folder,
    recipes: Mapping[str, Trainable],
    budget: Budget,
    options: TrainingOptions,
    inputs: Inputs,
    *,
    frozen: Mapping[str, str] | None = None,
    dry_run: bool = False,
) -> Shared:
    """The common settings: as stored in the folder, else determined now and stored.

    Args:
        folder: of the comparison; recipes and sets may be added to it.
        recipes: by name; and, by cell, architectures that are trained with labels.
        budget: of each training.
        options: precision, threads and device.
        inputs: data and sets.
        frozen: hash of each encoder that is not trained here, by its name.
        dry_run: write nothing.

    Raises:
        AaspError: the folder contains another comparison, an input has changed, the budget is less than a step of a
            recipe, or a recipe would be timed on another machine than the others.
    """
    folder.check({"budget": str(budget), "data": inputs.data.word})
    with contextlib.nullcontext() if dry_run else folder.setup_lock():
        known = folder.settings
        with as_written(folder.path / "settings.json", REMEDY):
            common = {"budget": str(budget), "data": inputs.data.word, **options.resolved(known)}
            kept: dict[str, Any] = {name: dict(one) for name, one in known.get("recipes", {}).items()}
            encoders: dict[str, str] = dict(known.get("frozen", {}))
        folder.check(common)
        joined = inputs.joined(folder)
        for name, digest in (frozen or {}).items():
            if encoders.setdefault(name, digest) != digest:
                text = f"{folder.path} has measured another encoder as {name}"
                raise AaspError(f"--encoder {name}: {text}; choose another --out")
        for name in sorted(set(frozen or {}) & set(rows_of({**kept, **recipes}))):
            raise AaspError(f"--encoder {name}: {folder.path} has another row of this name; rename the encoder")
        for name in sorted(set(encoders) & set(rows_of(recipes))):
            text = f"{folder.path} has an --encoder of this name"
            raise AaspError(f"{name}: {text}; rename the recipe, or choose another --out")
        for name, recipe in recipes.items():
            if name in kept and kept[name]["identity"] != identity(recipe):
                text = f"{folder.path} has a recipe {name} with other fields"
                remedy = "choose another --out, or the same --set"
                if kept[name]["identity"][:16] == identity(recipe)[:16]:  # the fingerprint of its fields
                    text = f"the file of its own parts has changed since recipe {name} was trained"
                    remedy = "bring it back, and add recipes in another file that imports it; or choose another --out"
                raise AaspError(f"output holds another comparison: {text}; {remedy}")
        here = model_of(device_of(options.device))
        machine = known.get("machine", here)
        new = [name for name in recipes if name not in kept]
        if new and budget.unit == "minutes" and machine != here:
            text = f"{folder.path} has timed its recipes on {machine}, this is {here}"
            raise AaspError(f"{new[0]}: {text}; add it there, or choose another --out")
        for name in new:
            made = costs(name, recipes[name], budget, common["precision"], options.device)
            kept[name] = {"identity": identity(recipes[name]), **made.to_dict()}
        with as_written(folder.path / "settings.json", REMEDY):
            fields = lambda name: {key: value for key, value in kept[name].items() if key != "identity"}
            found = {name: Costs(**fields(name)) for name in recipes}
        if not dry_run:
            folder.write_settings({**common, "machine": machine, **joined, "recipes": kept, "frozen": encoders})
    return Shared(found, common["precision"], common["threads"])


def rows_of(recipes: Mapping[str, object]) -> Iterator[str]:
    """The names of the rows of recipes, of their baselines and of the log-mel statistics."""
    yield from BANDS
    for name in recipes:
        cell, labelled, _ = name.partition("/")
        yield from (cell,) if labelled else (cell, f"untrained-{cell}")
