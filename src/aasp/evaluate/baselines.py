"""Baselines for frozen encoders: statistics of log-mel spectrograms with a linear head.

- `statistics_40`: 40 HTK bands from 50 to 7800 Hz; mean, deviation, deviation of the first difference and 90th
  percentile over time. With `fixed_probe` (C = 0.05, nothing tuned, trained on all but the test part) it is the
  baseline that the project has to beat.
- `statistics_128`: the encoder's front end (128 normalised bands) with the encoder's pooling (mean, mean and deviation
  over time), as candidates for `linear.linear_probe`. It shows what the encoder adds to its input.

n clips, T frames. Source: ours; the forty bands follow the common "MFCC statistics" baseline without the cosine step.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from os import PathLike, fspath

import numpy as np
import scipy.signal
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from aasp.audio.sounds import Sound, read_sound
from aasp.errors import AaspError
from aasp.evaluate.head import LinearHead
from aasp.evaluate.probe import Chosen, ProbeResult, score_heads
from aasp.evaluate.task import Task
from aasp.features.logmel import LogMel

RATE, WINDOW, HOP, FFT, BANDS = 16_000, 400, 160, 512, 40
C = 0.05
BANDS_40 = ("40 bands", "statistics")
BANDS_128 = ("log-mel", "mean"), ("log-mel", "mean+std")


def statistics_40(sounds: Iterable[Sound | PathLike[str]]) -> np.ndarray:
    """Statistics over time of 40 log-mel bands of each sound, shape (n, 160)."""
    return np.stack([_statistics_40(_wave(sound, RATE)) for sound in sounds])


def statistics_128(sounds: Iterable[Sound | PathLike[str]]) -> dict[tuple[str, str], np.ndarray]:
    """Mean, and mean and deviation, over time of each sound's normalised log-mel.

    Returns:
        `("log-mel", "mean")`: (n, M) and `("log-mel", "mean+std")`: (n, 2 M).
    """
    return _statistics_128(_wave(sound, RATE) for sound in sounds)


def statistics(sounds: Iterable[Sound | PathLike[str]]) -> dict[tuple[str, str], np.ndarray]:
    """Statistics of both baselines; each sound is decoded once.

    Returns:
        `statistics_40` under the key `BANDS_40`, (n, 160), and `statistics_128` under its own keys.
    """
    waves = [_wave(sound, RATE) for sound in sounds]
    return {BANDS_40: np.stack([_statistics_40(wave) for wave in waves]), **_statistics_128(waves)}


def fixed_probe(X: np.ndarray, task: Task) -> ProbeResult:
    """Train at C = 0.05 on everything but the test part, round by round; nothing is chosen.

    It uses scikit-learn's solver with its default tolerance: ours converges to the optimum, which changes the
    prediction of a few borderline clips.

    Args:
        X: features (n, D).
        task: labels and rounds.

    Raises:
        AaspError: the task is multi-label.
    """
    if task.multilabel:
        raise AaspError("fixed probe: the task is multi-label; use linear_probe on the same features")
    heads = []
    for r in task.rounds:
        scaler, y = StandardScaler().fit(X[r.refit]), task.y[r.refit]
        weight, bias = np.zeros((X.shape[1], len(task.classes))), np.full(len(task.classes), -np.inf)
        known = np.unique(y)
        bias[known] = 0.0
        if known.size > 1:  # scikit-learn refuses a single class, which is then predicted for every clip
            classifier = LogisticRegression(C=C, max_iter=2000).fit(scaler.transform(X[r.refit]), y)
            # For two classes scikit-learn keeps only the logit of the second; that of the first is 0.
            scored = known[-len(classifier.coef_) :]
            weight[:, scored], bias[scored] = classifier.coef_.T, classifier.intercept_
        head = LinearHead(scaler.mean_, scaler.scale_, weight, bias, multilabel=False)
        heads.append(Chosen("fixed", {"C": C}, head))
    return score_heads({"fixed": X}, task, heads)


def _wave(sound: Sound | PathLike[str], rate: int) -> np.ndarray:
    return read_sound(fspath(sound) if isinstance(sound, PathLike) else sound, rate=rate)


def _statistics_128(waves: Iterable[np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
    front, mean, std = LogMel(), [], []
    for wave in waves:
        mel_TM = front(torch.from_numpy(wave)[None])[0][0].double()
        mean.append(mel_TM.mean(0).numpy())
        std.append(mel_TM.std(0, correction=0).numpy())
    return {
        BANDS_128[0]: np.stack(mean).astype(np.float32),
        BANDS_128[1]: np.concatenate([mean, std], axis=1).astype(np.float32),
    }


def _statistics_40(wave: np.ndarray) -> np.ndarray:
    wave = np.pad(wave, (0, max(0, 1024 - len(wave))))
    spectrum = scipy.signal.stft(wave, RATE, nperseg=WINDOW, noverlap=WINDOW - HOP, nfft=FFT, boundary=None)[2]
    logmel = np.log(_filterbank() @ np.abs(spectrum) ** 2 + 1e-8)
    difference = np.diff(logmel, axis=1).std(1)
    return np.concatenate([logmel.mean(1), logmel.std(1), difference, np.percentile(logmel, 90, axis=1)])


@cache
def _filterbank() -> np.ndarray:
    """Triangular filters, linear in hertz, with peak 1, shape (BANDS, FFT // 2 + 1)."""
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (50, 7800))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(FFT, 1 / RATE)
    rise = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    return np.clip(np.minimum(rise, fall), 0, None)
