"""Do learned parameters leave their initialisation? What a front end and a stem learn, against what they began with.

    distance = mean |now - start| / spread,        spread: the standard deviation of the start values

over the elements of a parameter (filters, states, weights). Where all begin alike there is no spread, and the distance
is in start values.

Source: the question is Anderson, Kinnunen & Harte's of learnable front ends ("Learnable Acoustic Frontends in Bird
Activity Detection", 2022); the measure is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aasp.aliasing.kernels.origin import Origin
from aasp.aliasing.subjects import EncoderSubject, Subject
from aasp.features import FRONTENDS
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.pretrain.initial import read_initial
from aasp.report.findings import Sees
from aasp.stems import STEMS

LEFT = 0.1
"""Spreads: what has moved less on average is told as still where it began."""
DRAWN = 400
"""Elements of a parameter that are kept for a figure, spread over all."""
FOUR_FIFTHS = (0.1, 0.9)
MOST_NAMED = 5
ALIKE = 1e-6

Learned = Mapping[str, Mapping[str, Tensor]]


def departure(subject: Subject, origin: Origin) -> list[dict[str, Any]]:
    """How far each learned parameter of a subject is from its start.

    Args:
        subject: a model of ours; others have nothing that could be rebuilt.
        origin: the run that it comes from.

    Returns:
        JSON values of each parameter whose start is known, by part: the front end's, then the stem's. Start values that
        are drawn at random are known from the run's seed; where a run started from another model, all are that model's.

    Raises:
        AaspError: the model that the run started from can't be read.
    """
    if not isinstance(subject, EncoderSubject):
        return []
    config = subject.encoder.config
    now = _learned(subject)
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
    told = f"{share} learned parameters left their initialisation, by mean distances in spreads of starts"
    return f"{told}: {most}{rest}."
