"""The experiment itself: every row of the table is made once and given to every encoder.

Legend: n clips, S samples, D dimensions, R modulation rates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import soxr
import torch
from torch import Tensor

from aasp.aliasing.stability.energy import energy, log_power, to_decibel
from aasp.aliasing.stability.excerpts import RATE, Excerpts
from aasp.aliasing.stability.measure import Reference
from aasp.aliasing.stability.rows import CLEAN, Row
from aasp.aliasing.subjects import Subject


@dataclass(frozen=True)
class Observed:
    """What was seen of one subject.

    Attributes:
        reference: what it makes of the clean clips.
        measures: for each row's key, MEASURES of each clip, shape (n,).
        clip: for each row's key, embeddings of the perturbed clips, shape (n, D).
    """

    reference: Reference
    measures: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    clip: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Observations:
    """What was seen of all of them.

    Attributes:
        decibel: for each row's key, the rms change of each clip's log-mel, shape (n,).
        subjects: in their order.
        statistics: for each row's key, statistics of the log-mels (see `statistics`), shape (n, 3 M).
    """

    decibel: dict[str, np.ndarray]
    subjects: list[Observed]
    statistics: dict[str, np.ndarray]


def observe(
    subjects: Sequence[Subject],
    clips: Excerpts,
    table: Sequence[Row],
    seed: int,
    progress: Callable[[int, int], object] | None = None,
) -> Observations:
    """Let every subject hear the clean clips and every row.

    Args:
        subjects: the encoders.
        clips: the clips.
        table: the rows, without the clean one.
        seed: of what is random in the perturbations.
        progress: called with (embeddings done, embeddings in all).
    """
    length = clips.samples / RATE
    total, done = (len(table) + 1) * len(subjects), 0

    def tell() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    observed = []
    for subject in subjects:
        observed.append(Observed(Reference(*_heard(subject, list(CLEAN.waves(clips, seed))), length)))
        tell()
    clean_mel = log_power(clips.clean)
    decibel, kept = {}, {}
    for row in table:
        waves = list(row.waves(clips, seed))
        mel_nTM = log_power(torch.cat(waves))
        decibel[row.key] = to_decibel(energy(clean_mel, mel_nTM)).numpy().astype(np.float64)
        kept[row.key] = statistics(mel_nTM)
        for subject, one in zip(subjects, observed, strict=True):
            clip, timestamps, seconds = _heard(subject, waves)
            source = row.perturbation.source_seconds(seconds, length)
            one.measures[row.key] = one.reference.compare(clip, timestamps, source)
            one.clip[row.key] = clip
            tell()
    return Observations(decibel, observed, kept)


def statistics(mel_nTM: Tensor) -> np.ndarray:
    """Of each mel bin, the mean over time, the deviation, and the deviation of its change from frame to frame."""
    return torch.cat([mel_nTM.mean(1), mel_nTM.std(1), mel_nTM.diff(dim=1).std(1)], dim=1).numpy()


def _heard(subject: Subject, waves: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clip vectors (n, D'), timestamps (n, G, D) and their seconds (G,)."""
    heard = [subject.hear(_at_rate(wave_BS, subject.rate)) for wave_BS in waves]
    join = lambda parts: torch.cat(parts).double().cpu().numpy()
    seconds = heard[0].seconds.double().cpu().numpy()
    return join([one.clip for one in heard]), join([one.timestamps for one in heard]), seconds


def _at_rate(wave_BS: Tensor, rate: int) -> Tensor:
    """Waveforms at the rate that a subject takes."""
    return wave_BS if rate == RATE else torch.from_numpy(soxr.resample(wave_BS.T.numpy(), RATE, rate).T.copy())
