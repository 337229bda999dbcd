"""Decode sounds ahead of the model on threads, in batches of similar length and in bounded memory.

Sounds are processed in the given order, in stretches of a few hundred. Within a stretch they are sorted by length,
shortest first, and batched with their neighbours, so that there is little padding. Low-priority threads read the
headers and decode the next batches meanwhile; when they compete with the model for a core, the model has priority.

n sounds, B clips of a batch, S samples.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aasp.audio.error import check_folder
from aasp.audio.io import AudioError
from aasp.audio.priority import let_computing_first
from aasp.audio.reading import check_loud
from aasp.audio.sounds import Sound, describe, duration, files, read_sound
from aasp.features import FrontEndConfig

BATCH = 16
PADDING = 0.1  # largest padded share of a batch
STRETCH, STRETCH_SECONDS = 256, 3600.0  # sounds that are sorted together, and their largest total duration
AHEAD_SECONDS = 600.0  # of decoded sound in the queue: 40 MB
WORKERS = min(8, os.cpu_count() or 1)

Refused = Callable[[int, AudioError], None]


@dataclass(frozen=True)
class Batch:
    """Rows of the sounds, their waveforms (B, S), zero-padded at the end, and valid samples (B,).

    A sound too long to be decoded as a whole has only its row.
    """

    rows: list[int]
    wave: Tensor | None = None
    lengths: Tensor | None = None


def decoded(
    sounds: Sequence[Sound],
    front: FrontEndConfig,
    window_seconds: float,
    refused: Refused,
    *,
    batch: int = BATCH,
    workers: int = WORKERS,
    whole: float = float("inf"),
) -> Generator[Batch, None, None]:
    """Decode sounds in batches: each sound once, one stretch after the other.

    Args:
        sounds: n files, excerpts, mixtures or samples.
        front: sets the sample rate and the shortest usable clip.
        window_seconds: the encoder cuts longer clips into windows of this length; a batch holds at most `batch`
            windows' worth of them.
        refused: called with a sound's row and why it can't be used; an exception it raises ends the iteration.
        batch: clips in a batch.
        workers: threads; 0 decodes in the calling thread.
        whole: seconds; the caller decodes longer sounds itself.

    Raises:
        AaspError: a folder that existed at the start is gone.
    """
    there = {folder for folder in {_folder(sound) for sound in sounds} if os.path.isdir(folder)}

    def refuse(row: int, error: AudioError) -> None:
        if _folder(sounds[row]) in there:
            check_folder(error.path)
        refused(row, error)

    pool = ThreadPoolExecutor(workers, "decoding", let_computing_first) if workers else None
    waiting: deque[tuple[list[int], float, list[Future[np.ndarray]]]] = deque()
    submit = _at_once if pool is None else pool.submit
    try:
        held = 0.0
        for rows, seconds in _planned(sounds, window_seconds, refuse, batch, submit, whole):
            if seconds > whole and len(rows) == 1:
                waiting.append((rows, 0.0, []))
                continue
            waiting.append((rows, seconds, [submit(_read, sounds[row], front) for row in rows]))
            held += seconds
            while len(waiting) > (pool is not None) and (held > AHEAD_SECONDS or pool is None):
                held -= waiting[0][1]
                yield from _joined(*waiting.popleft(), refuse)
        while waiting:
            yield from _joined(*waiting.popleft(), refuse)
    finally:
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)


def _folder(sound: Sound) -> str:
    """The folder of a sound's first file; "" for samples in memory."""
    return next((os.path.dirname(path) for path in files(sound)), "")


def _planned(
    sounds: Sequence[Sound],
    window_seconds: float,
    refused: Refused,
    batch: int,
    submit: Callable[..., Future],
    whole: float,
) -> Iterator[tuple[list[int], float]]:
    """Rows of each batch and their total seconds; long sounds are alone. Headers are read one stretch ahead."""
    probe = lambda first: [submit(duration, sound) for sound in sounds[first : first + STRETCH]]
    probed = probe(0)
    for first in range(0, len(sounds), STRETCH):
        lengths, probed = probed, probe(first + STRETCH)
        known: dict[int, float] = {}
        together = 0.0
        for row, length in enumerate(lengths, start=first):
            try:
                known[row] = length.result()
                together += known[row]
            except AudioError as error:
                refused(row, error)
            if together >= STRETCH_SECONDS or row == first + len(lengths) - 1:
                order = sorted((seconds, row) for row, seconds in known.items())
                for rows in grouped([one for one in order if one[0] <= whole], batch, window_seconds):
                    yield rows, sum(known[row] for row in rows)
                yield from (([row], seconds) for seconds, row in order if seconds > whole)
                known, together = {}, 0.0


def grouped(order: list[tuple[float, int]], batch: int, window_seconds: float) -> Iterator[list[int]]:
    """Rows of each batch: at most `batch` clips, and at most `batch` windows when clips are longer than a window.

    Clips shorter than a window are padded to the longest clip of the batch, at most to a window. A batch ends before
    its padding exceeds the share PADDING.

    Args:
        order: (seconds, row), shortest first.
        batch, window_seconds: as in `decoded`.
    """
    rows: list[int] = []
    filled = 0.0
    for seconds, row in order:
        count, length = len(rows) + 1, min(seconds, window_seconds)
        padded = filled + length < (1 - PADDING) * count * length
        if rows and (padded or count > batch or count * seconds > batch * window_seconds):
            yield rows
            rows, filled = [], 0.0
        rows.append(row)
        filled += length
    if rows:
        yield rows


def _joined(rows: list[int], _: float, waves: list[Future[np.ndarray]], refused: Refused) -> Iterator[Batch]:
    """The batch, if any of its sounds can be used."""
    if not waves:
        yield Batch(rows)
        return
    kept: list[tuple[int, Tensor]] = []
    for row, wave in zip(rows, waves, strict=True):
        try:
            kept.append((row, torch.from_numpy(wave.result())))
        except AudioError as error:
            refused(row, error)
    if kept:
        padded = torch.nn.utils.rnn.pad_sequence([wave for _, wave in kept], batch_first=True)
        yield Batch([row for row, _ in kept], padded, torch.tensor([len(wave) for _, wave in kept]))


def _read(sound: Sound, front: FrontEndConfig) -> np.ndarray:
    """A sound's waveform, if an encoder accepts it."""
    wave = read_sound(sound, rate=front.rate)
    check(wave, sound, front)
    return wave


def check(wave: np.ndarray, sound: Sound, front: FrontEndConfig) -> None:
    """Check that an encoder accepts a sound's waveform: it would reject the whole batch, without naming the file.

    Raises:
        AudioError: it is too short, or not a waveform.
    """
    if len(wave) < front.window:
        reason = f"too short: {1000 * len(wave) / front.rate:.3g} ms, under one analysis window"
        raise AudioError(describe(sound), f"{reason} of {front.shortest_ms:g} ms", "give a longer clip")
    check_loud(describe(sound), wave)


def _at_once(do: Callable, *arguments: object) -> Future:
    """`submit` of a pool, but run in the calling thread."""
    done: Future = Future()
    try:
        done.set_result(do(*arguments))
    except AudioError as error:
        done.set_exception(error)
    return done
