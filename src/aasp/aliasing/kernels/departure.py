"""Do learned parameters leave their initialisation? What a front end and a stem learn, against what they began with.

    distance = mean |now - start| / spread,        spread: the standard deviation of the start values

over the elements of a parameter (filters, states, weights). Where all begin alike there is no spread, and the distance
is in start values. The run that a model lies in records the seed of its first weights.

Source: the question is Anderson, Kinnunen & Harte's of learnable front ends ("Learnable Acoustic Frontends in Bird
Activity Detection", 2022); the measure is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from aasp.aliasing.text import plain
from aasp.documents import read_object
from aasp.encoders import AudioEncoderAdapter, EncoderAdapter
from aasp.errors import AaspError
from aasp.features import FRONTENDS, FrontEnd
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.pretrain.initial import read_initial
from aasp.stems import STEMS
from aasp.stems.contract import Stem

LEFT = 0.1
"""Spreads: what has moved less on average counts as still at its start."""
FOUR_FIFTHS = (0.1, 0.9)
ALIKE = 1e-6


class Origin(NamedTuple):
    """What a model began with: weights drawn from a seed, or another model's; neither is known without a run."""

    seed: int | None = None
    started_from: str | None = None


def origin(model: str | Path) -> Origin:
    """Look for the recipe of the run around a model's folder, which may be the run's own.

    Raises:
        AaspError: the run's recipe is damaged.
    """
    files = [folder / "recipe.json" for folder in (Path(model), Path(model).parent)]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return Origin()
    recipe = read_object(file, "copy the run again")
    try:
        if "started_from" in recipe:
            return Origin(started_from=str(recipe["started_from"]["model"]))
        return Origin() if "finetuned" in recipe else Origin(int(recipe["seed"]))
    except (ValueError, KeyError, TypeError) as error:
        raise AaspError(f"not a run's recipe: {file} ({error!r}); copy the run again") from None


def departure(adapter: EncoderAdapter, origin: Origin) -> list[dict[str, Any]]:
    """How far each learned parameter of a model of ours is from its start; others have nothing that could be rebuilt.

    Returns:
        JSON values of each parameter whose start is known, by part: the front end's, then the stem's. Start values that
        are drawn at random are known from the run's seed; where a run started from another model, all are that model's.

    Raises:
        AaspError: the model that the run started from can't be read.
    """
    if not isinstance(adapter, AudioEncoderAdapter):
        return []
    config = adapter.encoder.config
    if origin.started_from is not None:
        model = read_initial(origin.started_from).model
        start = _learned(config, model.frontend, model.stem)
    else:
        start = _first(config, origin.seed or 0)
        if origin.seed is None:  # known is only what another seed gives too
            other = _first(config, 1)
            start = {key: value for key, value in start.items() if torch.equal(value, other[key])}
    return [
        {"part": part, "name": name} | _distance(value, start[part, name])
        for (part, name), value in _learned(config, adapter.frontend, adapter.stem).items()
        if (part, name) in start and start[part, name].shape == value.shape
    ]


def _learned(config: AudioEncoderConfig, frontend: FrontEnd, stem: Stem) -> dict[tuple[str, str], Tensor]:
    """What is learned, by part, as `config` calls it, and name."""
    titles = f"front end {FRONTENDS.name_of(config.frontend)}", f"stem {STEMS.name_of(config.stem)}"
    parts = zip(titles, (frontend.learned(), stem.learned()), strict=True)
    return {(title, name): value for title, learned in parts for name, value in learned.items()}


def _first(config: AudioEncoderConfig, seed: int) -> dict[tuple[str, str], Tensor]:
    """What a model of that configuration begins with: `AudioEncoder` makes front end and stem before all else."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _learned(config, config.frontend.build(), config.stem.build(config.encoder.width, config.frontend.bins))


def _distance(now: Tensor, start: Tensor) -> dict[str, Any]:
    now_n, start_n = (one.detach().flatten().double().numpy() for one in (now, start))
    spread, size = float(start_n.std()), float(np.sqrt(np.square(start_n).mean()))
    alike = spread <= ALIKE * size
    moved = np.abs(now_n - start_n) / ((size if alike else spread) or 1.0)  # of zeros the distance is as it stands
    low, high = np.quantile(moved, FOUR_FIFTHS)
    return {
        "count": len(now_n),
        "alike": alike,
        "start": float(np.median(start_n)),
        "now": float(np.median(now_n)),
        "spread": spread,
        "distance": {"estimate": float(moved.mean()), "low": float(low), "high": float(high)},
        "farthest": float(moved.max()),
    }


def conclusion(rows: Sequence[Mapping[str, Any]]) -> str:
    """What came out, a sentence of plain text."""
    return plain("departure", rows=rows, limit=LEFT)
