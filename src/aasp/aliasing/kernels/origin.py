"""Where a model comes from: the run that it lies in tells the seed of its first weights, and how training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aasp.documents import read_object
from aasp.errors import AaspError
from aasp.training.tracking import read_metrics

TOLD = ("alpha_mean", "alpha_spread", "alpha_saturation", "beta_mean", "beta_spread", "beta_saturation")
GRADIENT = "sblu_gradient_norm"


@dataclass(frozen=True)
class Origin:
    """What a run tells of its model.

    Attributes:
        seed: of the weights it began with; None where no pre-training run is at hand, or it began with another model's.
        evolution: course of the stem's health, each a list of (step, value).
        started_from: the run or model whose weights it began with, if so.
    """

    seed: int | None
    evolution: Mapping[str, Sequence[tuple[int, float]]]
    started_from: str | None = None


def origin(model: str | Path) -> Origin:
    """Look for the run around a model's folder.

    Args:
        model: folder of a run, or of the model in one.

    Raises:
        AaspError: the run's recipe is damaged.
    """
    path = Path(model)
    run = next((folder for folder in (path, path.parent) if (folder / "recipe.json").is_file()), None)
    if run is None:
        return Origin(None, {})
    file = run / "recipe.json"
    try:
        recipe = read_object(file, "copy the run anew")
        # Some began with another model's weights, not with those of their seed.
        started_from = str(recipe["started_from"]["model"]) if "started_from" in recipe else None
        seed = None if "finetuned" in recipe or started_from is not None else int(recipe["seed"])
    except (ValueError, KeyError, TypeError) as error:
        raise AaspError(f"not a run's recipe: {file} ({error!r}); copy the run anew") from None
    lines = read_metrics(run)
    course = {
        name: [(int(line["step"]), line[logged]) for line in lines if line.get(logged) is not None]
        for name in (*TOLD, GRADIENT)
        for logged in (f"diagnostics/{name}",)
    }
    return Origin(seed, {name: points for name, points in course.items() if len(points) > 1}, started_from)
