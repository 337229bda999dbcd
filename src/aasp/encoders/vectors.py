"""Clip vectors of sounds by any encoder. Legend: n sounds, D width."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch

from aasp.audio.io import AudioError
from aasp.audio.sounds import Sound, describe, read_sound
from aasp.datasets.index import Skipped
from aasp.encoders.contract import EncoderAdapter
from aasp.encoders.own import call_own, checked
from aasp.errors import AaspError

OWN = "own"
"""Key of the encoder's own clip vector."""
BATCH, STRETCH = 16, 64
"""Sounds of one length per batch, and sounds of any length in memory."""


def clip_vectors(
    adapter: EncoderAdapter,
    sounds: Sequence[Sound],
    skipped: list[Skipped],
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> dict[str, np.ndarray]:
    """Embed whole sounds, in batches of equal length.

    Args:
        adapter: the encoder.
        sounds: n files, excerpts or mixtures.
        skipped: collects sounds that can't be used.
        progress: called with (sounds done, n).

    Returns:
        By name, the clip vector as OWN, and the encoder's layers: float32 (n, D), rows in the order of `sounds`, NaN
        for sounds that can't be used.

    Raises:
        AaspError: no sound can be used, or the encoder rejects one.
    """
    found: dict[str, np.ndarray] = {}
    done = 0
    for first in range(0, len(sounds), STRETCH):
        by_length: dict[int, list[tuple[int, np.ndarray]]] = defaultdict(list)
        for row, sound in enumerate(sounds[first : first + STRETCH], start=first):
            try:
                wave = read_sound(sound, rate=adapter.rate)
                by_length[len(wave)].append((row, wave))
            except AudioError as error:
                skipped.append(Skipped(describe(sound), error.reason))
                done += 1
        for some in (same[k : k + BATCH] for same in by_length.values() for k in range(0, len(same), BATCH)):
            rows = [row for row, _ in some]
            try:
                made = _embedded(adapter, torch.from_numpy(np.stack([wave for _, wave in some])))
            except AaspError as error:
                raise AaspError(f"{describe(sounds[rows[0]])}: {error}") from None
            for name, here in made.items():
                if (width := found.get(name, here).shape[1]) != here.shape[1]:
                    text = f"its vector has {here.shape[1]:,} numbers, and {width:,} for a clip of another length"
                    raise AaspError(f"{adapter.name}: {describe(sounds[rows[0]])}: {text}; average it over time")
                found.setdefault(name, np.full((len(sounds), here.shape[1]), np.nan, np.float32))[rows] = here
            done += len(rows)
            progress(done, len(sounds))
    if not found:
        why = f"the first {skipped[0].path}: {skipped[0].reason}" if skipped else "none"
        raise AaspError(f"{adapter.name}: no usable audio to embed: {why}; repair or replace the files")
    return found


def _embedded(adapter: EncoderAdapter, wave_BS: torch.Tensor) -> dict[str, np.ndarray]:
    """By name, the clip vectors of waveforms as OWN, and the encoder's layers, float32 (B, D).

    Raises:
        AaspError: the encoder rejects them, or does not return such vectors.
    """
    with torch.inference_mode():
        made = call_own(adapter.name, lambda: adapter.embed_waveform(wave_BS))
        given = call_own(adapter.name, lambda: {OWN: made.clip, **made.layers})
    return {
        name: checked(adapter.name, one, len(wave_BS), "(B, D), a vector of each clip", (2,)).cpu().numpy()
        for name, one in given.items()
    }
