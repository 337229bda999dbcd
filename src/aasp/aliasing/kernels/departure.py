"""Do learned parameters leave their initialisation? What a front end and a stem learn, against what they began with.

    distance = mean |now - start| / spread,        spread: the standard deviation of the start values

over the elements of a parameter (filters, states, weights). Where all begin alike there is no spread, and the distance
is in start values.

Source: the question is Anderson, Kinnunen & Harte's of learnable front ends ("Learnable Acoustic Frontends in Bird
Activity Detection", 2022); the measure is ours.

The run that a model lies in records the seed of its first weights, and how training went.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aasp.documents import read_object
from aasp.encoders import AudioEncoderAdapter, EncoderAdapter
from aasp.errors import AaspError
from aasp.features import FRONTENDS
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.pretrain.initial import read_initial
from aasp.report.findings import Sees
from aasp.stems import STEMS
from aasp.training.tracking import read_metrics

LEFT = 0.1
"""Spreads: what has moved less on average counts as still at its start."""
DRAWN = 400
"""Elements of a parameter that are kept for a figure, spread over all."""
FOUR_FIFTHS = (0.1, 0.9)
MOST_NAMED = 5
ALIKE = 1e-6

Learned = Mapping[str, Mapping[str, Tensor]]


def departure(adapter: EncoderAdapter, origin: Origin) -> list[dict[str, Any]]:
    """How far each learned parameter of an adapter is from its start.

    Args:
        adapter: a model of ours; others have nothing that could be rebuilt.
        origin: the run that it comes from.

    Returns:
        JSON values of each parameter whose start is known, by part: the front end's, then the stem's. Start values that
        are drawn at random are known from the run's seed; where a run started from another model, all are that model's.

    Raises:
        AaspError: the model that the run started from can't be read.
    """
    if not isinstance(adapter, AudioEncoderAdapter):
        return []
    config = adapter.encoder.config
    now = _learned(adapter)
    unknown = set[tuple[str, str]]()
    if origin.started_from is not None:
        start = _learned(read_initial(origin.started_from).model)
    else:
        start = _built(config, origin.seed or 0)
        if origin.seed is None:
            other = _built(config, 1)
            differ = lambda part, name: not torch.equal(start[part][name], other[part][name])
            unknown = {(part, name) for part in start for name in start[part] if differ(part, name)}
    names = {
        "front end": f"front end {FRONTENDS.name_of(config.frontend)}",
        "stem": f"stem {STEMS.name_of(config.stem)}",
    }
    return [
        {"part": names[part], "name": name} | _distance(value, start[part][name])
        for part, found in now.items()
        for name, value in found.items()
        if name in start[part] and start[part][name].shape == value.shape and (part, name) not in unknown
    ]


def _learned(model: Sees) -> Learned:
    return {"front end": model.frontend.learned(), "stem": model.stem.learned()}


def _built(config: AudioEncoderConfig, seed: int) -> Learned:
    """What a model of that configuration begins with: `AudioEncoder` makes front end and stem before all else."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        frontend = config.frontend.build()
        stem = config.stem.build(config.encoder.width, config.frontend.bins)
    return {"front end": frontend.learned(), "stem": stem.learned()}


def _distance(now: Tensor, start: Tensor) -> dict[str, Any]:
    now_n, start_n = (one.detach().flatten().double().numpy() for one in (now, start))
    spread, size = float(start_n.std()), float(np.sqrt(np.square(start_n).mean()))
    alike = spread <= ALIKE * size
    scale = (size if alike else spread) or 1.0  # zeros have neither: the distance is as it stands
    chosen = np.unique(np.linspace(0, len(now_n) - 1, min(DRAWN, len(now_n))).round().astype(int))
    moved = np.abs(now_n - start_n) / scale
    low, high = np.quantile(moved, FOUR_FIFTHS)
    return {
        "count": len(now_n),
        "alike": alike,
        "start": float(np.median(start_n)),
        "now": float(np.median(now_n)),
        "spread": spread,
        "distance": {"estimate": float(moved.mean()), "low": float(low), "high": float(high)},
        "farthest": float(moved.max()),
        "points": [[float(a), float(b)] for a, b in zip(start_n[chosen], now_n[chosen], strict=True)],
    }


def conclusion(rows: Sequence[Mapping[str, Any]]) -> str:
    """What came out, a sentence of plain text."""
    named = lambda row: f"{row['name']} of {row['part']}"
    apart = lambda row: f"{named(row)} ({row['distance']['estimate']:.2g})"
    far = sorted(rows, key=lambda row: -row["distance"]["estimate"])
    left = [row for row in far if row["distance"]["estimate"] > LEFT]
    if not left:
        return (
            f"No learned parameter has left its initialisation: the farthest, {apart(far[0])}, moved less than "
            f"{LEFT:g} of the spread of its starts on average."
        )
    stay = [named(row) for row in far if row not in left]
    rest = ", ".join(stay) if len(stay) <= MOST_NAMED else f"the other {len(stay)}"
    rest = f"; {rest} stayed within {LEFT:g} of it" if stay else ""
    share = "All" if not stay else f"{len(left)} of {len(far)}"
    most = ", ".join(apart(row) for row in left[:MOST_NAMED]) + " and others" * (len(left) > MOST_NAMED)
    left_them = f"{share} learned parameters left their initialisation, by mean distances in spreads of starts"
    return f"{left_them}: {most}{rest}."


LOGGED = ("alpha_mean", "alpha_spread", "alpha_saturation", "beta_mean", "beta_spread", "beta_saturation")
GRADIENT = "sblu_gradient_norm"


@dataclass(frozen=True)
class Origin:
    """What a run records of its model.

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
        recipe = read_object(file, "copy the run again")
        # Some began with another model's weights, not with those of their seed.
        started_from = str(recipe["started_from"]["model"]) if "started_from" in recipe else None
        seed = None if "finetuned" in recipe or started_from is not None else int(recipe["seed"])
    except (ValueError, KeyError, TypeError) as error:
        raise AaspError(f"not a run's recipe: {file} ({error!r}); copy the run again") from None
    lines = read_metrics(run)
    course = {
        name: [(int(line["step"]), line[logged]) for line in lines if line.get(logged) is not None]
        for name in (*LOGGED, GRADIENT)
        for logged in (f"diagnostics/{name}",)
    }
    return Origin(seed, {name: points for name, points in course.items() if len(points) > 1}, started_from)
