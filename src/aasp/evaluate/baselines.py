"""What a frozen encoder has to beat: statistics of log-mel spectrograms under a linear head.

- `statistics_40`: 40 HTK bands from 50 to 7800 Hz; mean, deviation, deviation of the first difference and 90th percentile
  over time. With `fixed_probe` (C = 0.05, nothing tuned, trained on all but the test part) it is the baseline whose
  figures the project was given as the bar.
- `statistics_128`: the encoder's own front end (128 normalised bands) with the encoder's own pooling (mean, mean and
  deviation over time), as candidates for `linear.linear_probe`: what the encoder adds to its input.

n clips, T frames. Source: ours; the forty bands follow the common "MFCC statistics" baseline without the cosine step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from os import PathLike

import numpy as np
import scipy.signal
import torch

from aasp.audio.io import read
from aasp.evaluate.linear import Choice, ProbeResult, score
from aasp.evaluate.logistic import Rotated
from aasp.evaluate.task import Task
from aasp.features.logmel import LogMel, LogMelConfig

RATE, WINDOW, HOP, FFT, BANDS = 16_000, 400, 160, 512, 40
C = 0.05


def statistics_40(paths: Iterable[str | PathLike[str]]) -> np.ndarray:
    """Statistics over time of 40 log-mel bands of each file, shape (n, 160)."""
    return np.stack([_statistics_40(read(path, rate=RATE)) for path in paths])


def statistics_128(
    paths: Sequence[str | PathLike[str]], config: LogMelConfig | None = None
) -> dict[tuple[str, str], np.ndarray]:
    """Mean, and mean and deviation, over time of each file's normalised log-mel.

    Returns:
        `("log-mel", "mean")`: (n, M) and `("log-mel", "mean+std")`: (n, 2 M).
    """
    front = LogMel(config)
    mean, std = [], []
    for path in paths:
        mel_TM = front(torch.from_numpy(read(path, rate=front.config.rate))[None])[0][0].double()
        mean.append(mel_TM.mean(0).numpy())
        std.append(mel_TM.std(0, correction=0).numpy())
    return {
        ("log-mel", "mean"): np.stack(mean).astype(np.float32),
        ("log-mel", "mean+std"): np.concatenate([mean, std], axis=1).astype(np.float32),
    }


def fixed_probe(X: np.ndarray, task: Task) -> ProbeResult:
    """Train at C = 0.05 on everything but the test part, round by round; nothing is chosen.

    Args:
        X: features (n, D).
        task: labels and rounds.
    """
    test = task.test
    probabilities = np.zeros((len(test), len(task.classes)))
    folds = np.zeros(len(test), dtype=int)
    choices = []
    for number, r in enumerate(task.rounds):
        fitted = Rotated(X[r.refit], task.y[r.refit], len(task.classes))
        head = fitted.head(*next(fitted.path([C])))
        rows = np.searchsorted(test, r.test)
        probabilities[rows] = head.probabilities(X[r.test])
        folds[rows] = number
        choices.append(Choice(r.name, "fixed", C, float("nan"), score(task.y[r.test], probabilities[rows]), head, {}))
    clusters = None if task.groups is None else task.groups[test]
    return ProbeResult(test, task.y[test], probabilities, folds, clusters, choices)


def _statistics_40(wave: np.ndarray) -> np.ndarray:
    wave = np.pad(wave, (0, max(0, 1024 - len(wave))))
    spectrum = scipy.signal.stft(wave, RATE, nperseg=WINDOW, noverlap=WINDOW - HOP, nfft=FFT, boundary=None)[2]
    logmel = np.log(_filterbank() @ np.abs(spectrum) ** 2 + 1e-8)
    difference = np.diff(logmel, axis=1).std(1)
    return np.concatenate([logmel.mean(1), logmel.std(1), difference, np.percentile(logmel, 90, axis=1)])


@cache
def _filterbank() -> np.ndarray:
    """Triangles straight on the hertz axis, peak 1, shape (BANDS, FFT // 2 + 1)."""
    mel = 2595 * np.log10(1 + np.array([50, 7800]) / 700)
    edges = 700 * (10 ** (np.linspace(*mel, BANDS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(FFT, 1 / RATE)
    rise = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    return np.clip(np.minimum(rise, fall), 0, None)
