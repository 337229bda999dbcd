"""How far the learned parameters of front end and stem are from their initialisation.

    distance = mean |now - start| / spread,        spread: the standard deviation of the start values

over the elements of a parameter (filters, states, weights). If all start values are alike, there is no spread, and the
distance is relative to the start values. The run that contains a model records the seed of its first weights.

Source: the question is that of Anderson, Kinnunen & Harte about learnable front ends ("Learnable Acoustic Frontends in
Bird Activity Detection", 2022); the measure is ours.
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
"""In spreads: a parameter with a smaller mean distance counts as still at its start."""
FOUR_FIFTHS = (0.1, 0.9)
ALIKE = 1e-6


class Origin(NamedTuple):
    """The start of a model: weights drawn from a seed, or another model's; neither is known without a run."""

    seed: int | None = None
    started_from: str | None = None


def origin(model: str | Path) -> Origin:
    """Find the recipe of the run around a model's folder, or in the folder if it is a run.

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
    """The distance of each learned parameter of our model from its start; other models have none that can be rebuilt.

    Returns:
        JSON values of each parameter whose start is known, first the front end's, then the stem's. Random start values
        are known from the run's seed; if a run started from another model, all start values are that model's.

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
        if origin.seed is None:  # only what is the same for another seed is known
            other = _first(config, 1)
            start = {key: value for key, value in start.items() if torch.equal(value, other[key])}
    return [
        {"part": part, "name": name} | _distance(value, start[part, name])
        for (part, name), value in _learned(config, adapter.frontend, adapter.stem).items()
        if (part, name) in start and start[part, name].shape == value.shape
    ]


def _learned(config: AudioEncoderConfig, frontend: FrontEnd, stem: Stem) -> dict[tuple[str, str], Tensor]:
    """The learned parameters, by part, as named in `config`, and parameter name."""
    titles = f"front end {FRONTENDS.name_of(config.frontend)}", f"stem {STEMS.name_of(config.stem)}"
    parts = zip(titles, (frontend.learned(), stem.learned()), strict=True)
    return {(title, name): value for title, learned in parts for name, value in learned.items()}


def _first(config: AudioEncoderConfig, seed: int) -> dict[tuple[str, str], Tensor]:
    """The initial parameters for a configuration: `AudioEncoder` makes front end and stem before everything else."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _learned(config, config.frontend.build(), config.stem.build(config.encoder.width, config.frontend.bins))


def _distance(now: Tensor, start: Tensor) -> dict[str, Any]:
    now_n, start_n = (one.detach().flatten().double().numpy() for one in (now, start))
    spread, size = float(start_n.std()), float(np.sqrt(np.square(start_n).mean()))
    alike = spread <= ALIKE * size
    moved = np.abs(now_n - start_n) / ((size if alike else spread) or 1.0)  # if all are zero, the distance is absolute
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
    """The result as a sentence of plain text."""
    return plain("departure", rows=rows, limit=LEFT)
