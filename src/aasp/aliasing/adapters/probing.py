"""Clip vectors of sounds by any encoder, and frozen probes on them, to compare our encoders with.

Legend: n sounds, B clips of one length, S samples, D width. Source: ours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import torch

from aasp.aliasing.adapters.contract import OWN, EncoderAdapter
from aasp.audio.io import AudioError
from aasp.audio.sounds import Sound, describe, read_sound
from aasp.compare.measures import Kept
from aasp.datasets.index import Skipped
from aasp.errors import AaspError
from aasp.evaluate.probe import ProbeResult
from aasp.evaluate.ridge import ridge_probe
from aasp.evaluate.task import Task

BATCH = 16


def clip_vectors(
    adapter: EncoderAdapter,
    sounds: Sequence[Sound],
    skipped: list[Skipped],
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, np.ndarray]:
    """Embed whole sounds, those of one length together.

    Args:
        adapter: the encoder.
        sounds: n files, excerpts or mixtures.
        skipped: takes sounds that can't be used.
        progress: called with (sounds done, n).

    Returns:
        By name, as `EncoderAdapter.vectors` has them, float32 (n, D), rows in the order of `sounds`, NaN for those that
        can't be used.

    Raises:
        AaspError: no sound can be used, or the encoder refuses one.
    """
    found: dict[int, dict[str, np.ndarray]] = {}
    waiting: dict[int, list[tuple[int, np.ndarray]]] = defaultdict(list)
    bad = 0

    def embed(some: list[tuple[int, np.ndarray]]) -> None:
        wave_BS = torch.from_numpy(np.stack([wave for _, wave in some]))
        try:
            made = {name: one.float().cpu().numpy() for name, one in adapter.vectors(wave_BS).items()}
        except AaspError as error:
            raise AaspError(f"{describe(sounds[some[0][0]])}: {error}") from None
        found.update({row: {name: one[n] for name, one in made.items()} for n, (row, _) in enumerate(some)})
        some.clear()
        if progress is not None:
            progress(len(found) + bad, len(sounds))

    for row, sound in enumerate(sounds):
        try:
            wave = read_sound(sound, rate=adapter.rate)
        except AudioError as error:
            skipped.append(Skipped(describe(sound), error.reason))
            bad += 1
            continue
        same = waiting[len(wave)]
        same.append((row, wave))
        if len(same) == BATCH:
            embed(same)
        if sum(map(len, waiting.values())) >= 4 * BATCH:  # of many lengths: no more than that wait in memory
            embed(max(waiting.values(), key=len))
    for same in waiting.values():
        if same:
            embed(same)
    if not found:
        why = f"the first {skipped[0].path}: {skipped[0].reason}" if skipped else "none"
        raise AaspError(f"{adapter.name}: no usable audio to embed: {why}; repair or replace the files")
    unknown = {name: np.full_like(one, np.nan) for name, one in next(iter(found.values())).items()}
    return {name: np.stack([found.get(row, unknown)[name] for row in range(len(sounds))]) for name in unknown}


class AdapterReader(Kept):
    """An encoder of others: its own vector, and the best of its layers where it gives them.

    Args:
        adapter: the encoder.
    """

    def __init__(self, adapter: EncoderAdapter) -> None:
        super().__init__()
        self.adapter = adapter
        self._last: tuple[Any, dict[str, np.ndarray]] = ((), {})

    def read(self, way: Hashable, sounds: Sequence[Sound], task: Task) -> ProbeResult:
        """What ridge regression says of the scored clips, of its vector or of its best layer on the valid part.

        Raises:
            AaspError: a sound can't be used.
        """
        given = tuple(sounds)
        if self._last[0] != given:
            skipped: list[Skipped] = []
            vectors = clip_vectors(self.adapter, sounds, skipped)
            if skipped:
                raise AaspError(f"can't use {skipped[0].path}: {skipped[0].reason}; replace it, or leave it out")
            self._last = given, vectors
        own, layers = {OWN: self._last[1][OWN]}, {key: X for key, X in self._last[1].items() if key != OWN}
        return ridge_probe(layers if layers and way == "best layer" else own, task)
