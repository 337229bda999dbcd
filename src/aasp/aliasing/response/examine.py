"""Everything that `aasp alias response` finds out, as the JSON document that its pages are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch

from aasp.aliasing.response import decode
from aasp.aliasing.response.respond import modulations, respond
from aasp.aliasing.response.stages import stages
from aasp.aliasing.response.stimuli import BAND, Settings
from aasp.aliasing.subjects import Subject


def examine(
    subjects: Sequence[Subject],
    settings: Settings,
    wanted: tuple[str, ...],
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> dict[str, Any]:
    """Responses and decodability of every subject; further ones are compared with the first where they can be.

    Args:
        subjects: who is examined.
        settings: how modulations are put in.
        wanted: "stem", "encoder".
        progress: called with (steps done, steps).

    Raises:
        AaspError: a subject gives nothing over time.
    """
    clips = decode.TRAIN + decode.VALID + decode.TEST
    batches = -(-clips // decode.BATCH)
    places = [stages(subject, wanted) for subject in subjects]
    steps = [len(modulations(subject, settings).hz) + batches for subject in subjects]
    total = sum(count * len(place) for count, place in zip(steps, places, strict=True))
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    models: list[dict[str, Any]] = []
    first: tuple[torch.Tensor, decode.Decoded] | None = None
    for subject, place in zip(subjects, places, strict=True):
        told: dict[str, Any] = {
            "name": subject.name,
            "token_rate": subject.token_rate,
            "nyquist_hz": subject.token_rate / 2,
            "stages": [respond(subject, stage, settings, tell) for stage in place],
            "decoding": None,
        }
        if decode.has_room(subject.token_rate):
            rates = decode.draw(subject, settings.seed, clips)
            decoded = decode.decode(rates, place, tell)
            same = first is not None and torch.equal(first[0], rates.clips)
            told["decoding"] = decoded.told(first[1] if first is not None and same else None)
            first = first or (rates.clips, decoded)
        models.append(told)
    return {"band_hz": list(BAND), "settings": asdict(settings), "models": models}
