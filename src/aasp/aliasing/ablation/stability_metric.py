"""A short stability measure of a cell's encoder: a few perturbations of `aasp alias stability`, on some clips.

n clips. Source: ours, see `aliasing.stability`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aasp.aliasing.stability.document import PATCHES_A_SECOND
from aasp.aliasing.stability.excerpts import MIN_CLIPS, RATE, Excerpts, gather, groups_of
from aasp.aliasing.stability.measure import observe
from aasp.aliasing.stability.perturbations import CONTROLS, rows
from aasp.compare.inputs import Given, measured_clips_hash
from aasp.compare.measures import Listener, Scores
from aasp.compare.readings import AdapterReader
from aasp.datasets.index import Skipped
from aasp.datasets.manifest import Manifest
from aasp.encoders import AudioEncoderAdapter, EncoderAdapter

CLIPS, SECONDS, SEED = 40, 2.5, 0
LOOKED_AT = {
    "stability under shifts": ("shift 4", "shift 8", "shift 12"),
    "stability under fast modulation": ("AM 9 Hz", "AM 26 Hz"),
}
"""The measures, and the rows of the laboratory's table that each one averages."""
METRIC = "log2 of the control's distance over its own"
NYQUIST = PATCHES_A_SECOND / 2
"""Hz, of 16-frame patches. Controls stay below it whatever the encoder's own rate is, so that all encoders are compared
on the same sounds; for longer patches they reach beyond their Nyquist frequency."""
LEAST = 1e-3
"""In units of the distance between two clips; added to both distances, so that smaller ones hardly count."""


class StabilityMetric:
    """How much less a perturbation moves a clip's embedding than a slow change of equal energy does.

    In octaves: 1, half as far; −1, twice as far. It is a ratio, since encoders differ in how far any change moves their
    embeddings. A clip that is changed more than by the strongest control is excluded.

    Args:
        name: one of LOOKED_AT.
        clips: the clips.
        groups: the group of each clip, shape (n,), or None.

    Attributes:
        workload: what an encoder embeds, once for all of these measures, and its seconds.
    """

    def __init__(self, name: str, clips: Excerpts, groups: Sequence[str] | None) -> None:
        self.name, self._clips, self._groups = name, clips, groups
        embedded = 1 + sum(map(len, LOOKED_AT.values())) + len(CONTROLS)
        self.workload = "stability", embedded * len(clips) * clips.samples / RATE

    def __call__(self, listener: Listener | AdapterReader) -> Scores:
        adapter = AudioEncoderAdapter("cell", listener.encoder) if isinstance(listener, Listener) else listener.adapter
        octaves = listener.once("stability_metric", lambda: _octaves(adapter, self._clips))
        values = np.mean([octaves[key] for key in LOOKED_AT[self.name]], axis=0)
        known = np.isfinite(values)  # the same clips for every encoder: it depends on the waveforms only
        groups = None if self._groups is None else [str(group) for group in np.asarray(self._groups)[known]]
        return Scores(METRIC, values[known].tolist(), groups, details={"clips left out": int((~known).sum())})


class Stability(NamedTuple):
    """The measures on some clips, the unusable clips, with reasons, and the word and the hash of the clips."""

    measures: list[StabilityMetric]
    skipped: list[Skipped]
    given: Given | None


def open_stability_metrics(word: str | None) -> Stability:
    """The measures on clips as given on the command line, `PATH` of a folder or an index, or `INDEX:GROUP`.

    Args:
        word: as typed; None: no measures.

    Raises:
        AaspError: no such path or column, or not enough clips that are long enough.
    """
    if word is None:
        return Stability([], [], None)
    path, _, group = word.partition(":")
    manifest, unusable = Manifest.open(Path(path))
    marks = manifest.marks(group) if group else None
    remedy = f"give --stability {MIN_CLIPS} or more clips that are longer"
    gathered = gather(manifest, clips=CLIPS, seconds=SECONDS, unusable=unusable, remedy=remedy)
    found = groups_of(manifest, gathered.rows, marks)
    groups = None if found is None else found.tolist()
    measures = [StabilityMetric(name, gathered.excerpts, groups) for name in LOOKED_AT]
    given = Given(word, measured_clips_hash([manifest.sound(int(row)) for row in gathered.rows], groups))
    return Stability(measures, gathered.skipped, given)


def _octaves(adapter: EncoderAdapter, clips: Excerpts) -> Mapping[str, np.ndarray]:
    """By row key: octaves from the perturbation's distance to the control's at the same energy, (n,)."""
    wanted = {key for keys in LOOKED_AT.values() for key in keys}
    every = rows(NYQUIST, clips.samples / RATE)
    table = [row for row in every if row.key in wanted or row.family == "control"]
    values = observe([adapter], clips, table, SEED).adapters[0].values
    octaves = lambda one: np.log2((one["control_distance"] + LEAST) / (one["distance"] + LEAST))
    return {key: octaves(values[key]) for key in wanted}
