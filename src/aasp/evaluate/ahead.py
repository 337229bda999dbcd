"""Sounds decoded ahead, on threads, while the model computes; in batches of about one length, in bounded memory.

Sounds are taken in the order given, some hundred at a time. Of each such stretch the shortest come first, batched with
their neighbours in length, so that little is padding. Their headers, and the sounds of the next batches, are read
meanwhile by threads of low priority: where both want the same core, the model has it.

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
PADDING = 0.1  # at most so much of a batch
STRETCH, STRETCH_SECONDS = 256, 3600.0  # sounds that are sorted together, and how long they may be together
AHEAD_SECONDS = 600.0  # of sound that waits decoded: 40 MB
WORKERS = min(8, os.cpu_count() or 1)

Refused = Callable[[int, AudioError], None]


@dataclass(frozen=True)
class Batch:
    """Which sounds, their waveforms (B, S), zero beyond their ends, and valid samples (B,).

    Of a sound too long to be decoded as a whole there is its row only.
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
    """Sounds in batches: each sound once, those of one stretch before those of the next.

    Args:
        sounds: n files, excerpts, mixtures or samples.
        front: gives the rate, and the shortest clip that can be used.
        window_seconds: what longer clips are cut in: of those, a batch holds so many as fill as many windows.
        refused: called with a sound's row and why it can't be used; what it raises ends the whole.
        batch: clips in a batch.
        workers: threads; 0 decodes while the caller waits.
        whole: seconds; longer sounds are left to the caller to decode.

    Raises:
        AaspError: a folder that was there at the start is gone.
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
    """The folder of a sound's first file; "" of samples."""
    return next((os.path.dirname(path) for path in files(sound)), "")


def _planned(
    sounds: Sequence[Sound],
    window_seconds: float,
    refused: Refused,
    batch: int,
    submit: Callable[..., Future],
    whole: float,
) -> Iterator[tuple[list[int], float]]:
    """Rows of each batch, and their seconds together; long sounds alone. Headers are read a stretch ahead."""
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
    """Rows of each batch: at most `batch` clips, and of longer clips so many that they fill as many windows.

    Clips shorter than a window are filled up to the batch's longest, or to a window: a batch ends before PADDING of it
    is that.

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
    """The batch, if one of its sounds can be used."""
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
    """A sound's waveform, if an encoder would take it."""
    wave = read_sound(sound, rate=front.rate)
    check(wave, sound, front)
    return wave


def check(wave: np.ndarray, sound: Sound, front: FrontEndConfig) -> None:
    """Check that an encoder would take a sound's waveform: it would refuse a whole batch, and not know the file.

    Raises:
        AudioError: it is too short, or no waveform.
    """
    if len(wave) < front.window:
        reason = f"too short: {1000 * len(wave) / front.rate:.3g} ms, under one analysis window"
        raise AudioError(describe(sound), f"{reason} of {front.shortest_ms:g} ms", "give a longer clip")
    check_loud(describe(sound), wave)


def _at_once(do: Callable, *arguments: object) -> Future:
    """`submit` of a pool, run by the caller."""
    done: Future = Future()
    try:
        done.set_result(do(*arguments))
    except AudioError as error:
        done.set_exception(error)
    return done
