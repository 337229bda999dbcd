"""Clip vectors of sounds by any encoder that can be examined: what a probe compares ours with.

n sounds, B clips of one length, S samples, D width.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch

from aasp.aliasing.subjects.contract import Subject
from aasp.audio.io import AudioError
from aasp.audio.sounds import Sound, describe, read_sound
from aasp.datasets.index import Skipped
from aasp.errors import AaspError

BATCH = 16


def clip_vectors(
    subject: Subject,
    sounds: Sequence[Sound],
    skipped: list[Skipped],
    progress: Callable[[int, int], object] | None = None,
) -> np.ndarray:
    """Embed whole sounds, those of one length together.

    Args:
        subject: the encoder.
        sounds: n files, excerpts or mixtures.
        skipped: takes sounds that can't be used.
        progress: called with (sounds done, n).

    Returns:
        float32 (n, D), rows in the order of `sounds`, NaN for those that can't be used.

    Raises:
        AaspError: no sound can be used, or the encoder refuses one.
    """
    found: dict[int, np.ndarray] = {}
    waiting: dict[int, list[tuple[int, np.ndarray]]] = defaultdict(list)
    bad = 0

    def embed(some: list[tuple[int, np.ndarray]]) -> None:
        wave_BS = torch.from_numpy(np.stack([wave for _, wave in some]))
        try:
            clip = subject.hear(wave_BS).clip
        except AaspError as error:
            raise AaspError(f"{describe(sounds[some[0][0]])}: {error}") from None
        found.update(zip((row for row, _ in some), clip.float().cpu().numpy(), strict=True))
        some.clear()
        if progress is not None:
            progress(len(found) + bad, len(sounds))

    for row, sound in enumerate(sounds):
        try:
            wave = read_sound(sound, rate=subject.rate)
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
        raise AaspError(f"{subject.name}: no usable audio to embed: {why}; mend or replace the files")
    width = len(next(iter(found.values())))
    return np.stack([found.get(row, np.full(width, np.nan, np.float32)) for row in range(len(sounds))])
