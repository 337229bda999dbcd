"""Everything that `kernels.json` holds of a subject and some clips.

Legend: n clips, G x F grid of patches (time x subbands), S states, D channels, R modulation rates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aasp.aliasing.kernels import heard, interventions, parameters
from aasp.aliasing.kernels.departure import departure
from aasp.aliasing.kernels.linearised import Kernels, linearised
from aasp.aliasing.kernels.origin import Origin
from aasp.aliasing.kernels.overlay import overlay
from aasp.aliasing.kernels.pull import pulls
from aasp.aliasing.kernels.uncertain import over_clips
from aasp.aliasing.subjects import LogMelSubject, Subject
from aasp.audio.io import read
from aasp.errors import AaspError
from aasp.report import findings
from aasp.report.rates import density
from aasp.report.spectrogram import Spectrogram
from aasp.stems.lambda_encoder import beta_range
from aasp.stems.states import States

SHOWN = 3
"""Clips that are drawn: the first ones."""
LINEARISED = 8
"""Clips around which the stem is linearised, spread over all: a backward pass for each channel takes its time."""
PEAK_BINS = 25
"""Of the rates at which channels respond most, up to half the frame rate."""
QUANTILES = (0.1, 0.5, 0.9)

Clip = tuple[Spectrogram, Tensor]


def measure(
    subject: Subject, files: Sequence[str], origin: Origin, progress: Callable[[int, int], None] = lambda done, of: None
) -> dict[str, Any]:
    """Measure where a subject's kernels look on some clips.

    Args:
        subject: of log-mels, its stem is read; of waveforms, what its vectors over time follow.
        files: sound files.
        origin: the run that its model comes from.
        progress: called with (done, total).

    Returns:
        JSON values.

    Raises:
        AaspError: the subject gives one vector a clip, or a file can't be used.
    """
    if not isinstance(subject, LogMelSubject):
        return _heard(subject, files, progress)
    frame_rate, patch = subject.frontend.config.frame_rate, subject.stem.patch
    band = tuple(w * frame_rate / (2 * np.pi) for w in beta_range(patch[0]))
    clips = [_listen(subject, file) for file in files]
    chosen = sorted({round(k) for k in np.linspace(0, len(clips) - 1, min(LINEARISED, len(clips)))})
    total = len(chosen) + (3 * len(clips) if subject.stem.states else 0)
    done = iter(range(1, total + 1))
    step = lambda: progress(next(done), total)
    found: dict[str, Any] = {
        "subject": subject.name,
        "frame_rate": frame_rate,
        "patch": list(patch),
        "band_hz": list(band),
        "clips": [
            {"file": file, "seconds": len(clip.mel) / frame_rate, "patches": int(np.prod(clip.grid))}
            for file, (clip, _) in zip(files, clips, strict=True)
        ],
        "linear": _linear(subject, [clips[k] for k in chosen], band, step),
        "pull": pulls(),
        "evolution": {name: [list(point) for point in points] for name, points in origin.evolution.items()},
        "departure": departure(subject, origin),
    }
    if subject.stem.states is not None:
        found |= _estimated(subject, subject.stem.states, files, clips, band, origin, step)
    return found


def _listen(subject: LogMelSubject, file: str) -> Clip:
    wave, front = read(file, rate=subject.rate), subject.frontend.config
    fewest = front.samples(subject.stem.patch[0])
    if len(wave) < fewest:
        told = f"{len(wave) / subject.rate:.3g} s, less than one patch of {fewest / subject.rate:.3g} s"
        raise AaspError(f"clip too short: {file} has {told}; leave it out")
    (clip,), mel_1TM = findings.listen(subject, [wave])
    return clip, mel_1TM


def _heard(subject: Subject, files: Sequence[str], progress: Callable[[int, int], None]) -> dict[str, Any]:
    """What is known of an encoder of waveforms: the modulations that its channels follow."""
    heard.check(subject)
    waves = [torch.from_numpy(read(file, rate=subject.rate)) for file in files]
    least = 2 / subject.token_rate
    short = next((k for k, wave in enumerate(waves) if len(wave) < least * subject.rate), None)
    if short is not None:
        raise AaspError(f"clip too short: {files[short]} is less than {least:.3g} s, two vectors; leave it out")
    chosen = sorted({round(k) for k in np.linspace(0, len(waves) - 1, min(LINEARISED, len(waves)))})
    found = []
    for done, k in enumerate(chosen, start=1):
        found.append(heard.heard(subject, waves[k]))
        progress(done, len(chosen))
    band = (subject.token_rate / 2, heard.FRAME_RATE / 2)
    return {
        "subject": subject.name,
        "frame_rate": heard.FRAME_RATE,
        "band_hz": list(band),
        "clips": [{"file": file, "seconds": len(w) / subject.rate} for file, w in zip(files, waves, strict=True)],
        "linear": _of_channels(found, heard.FRAME_RATE, band[0]) | {"adapts": True, "heard": True},
        "pull": pulls(),
        "evolution": {},
    }


def _linear(
    subject: LogMelSubject, clips: Sequence[Clip], band: tuple[float, ...], step: Callable[[], None]
) -> dict[str, Any]:
    """The linearised kernels: where channels respond most, what share of their power lies in the band."""
    frame_rate = subject.frontend.config.frame_rate
    found: list[Kernels] = []
    for _, mel in clips:
        found.append(linearised(subject.stem, mel[0], frame_rate))
        step()
    first = found[0]
    middle = first.peak_hz.shape[0] // 2
    own = (first.power[middle] / first.power[middle].sum(-1, keepdims=True).clip(1e-30)).max(-1)
    away = lambda rate: np.abs(first.peak_hz[middle] - rate)
    examples = [int(np.lexsort((-own, away(rate)))[0]) for rate in (band[0], np.sqrt(band[0] * band[1]), 0.8 * band[1])]
    return _of_channels(found, frame_rate, band[0]) | {
        "adapts": bool(any(not np.allclose(k.jacobian, first.jacobian, rtol=1e-3, atol=1e-6) for k in found)),
        "heard": False,
        "examples": [  # channels that respond most at a slow, a middle and a fast rate
            {"hertz": float(first.peak_hz[middle, d]), "weights": first.profile(middle, d).tolist()} for d in examples
        ],
    }


def _of_channels(found: Sequence[Kernels], frame_rate: float, low_hz: float) -> dict[str, Any]:
    """What is told of all channels, of a stem or of an encoder."""
    peaks = [kernels.peak_hz for kernels in found]
    histogram = np.mean([np.histogram(p, PEAK_BINS, (0, frame_rate / 2))[0] / p.size for p in peaks], axis=0)
    levels = np.concatenate([kernels.power.reshape(-1, len(kernels.hertz)) for kernels in found])
    levels /= levels.sum(-1, keepdims=True).clip(1e-30)
    return {
        "clips": len(found),
        "channels": int(found[0].peak_hz.size),
        "hertz": found[0].hertz.tolist(),
        "power": np.quantile(levels, QUANTILES, axis=0).tolist(),
        "peaks": histogram.tolist(),
        "beyond": over_clips(np.array([kernels.beyond(low_hz) for kernels in found])),
        "peaks beyond": over_clips(np.array([float((p > low_hz).mean()) for p in peaks])),
    }


def _estimated(
    subject: LogMelSubject,
    stem: States,
    files: Sequence[str],
    clips: Sequence[Clip],
    band: tuple[float, ...],
    origin: Origin,
    step: Callable[[], None],
) -> dict[str, Any]:
    """What only a stem with states has: its parameters, and what interventions on them change."""
    frame_rate = subject.frontend.config.frame_rate
    hertz = frame_rate / (2 * np.pi)
    fresh = parameters.untrained(stem, origin.seed or 0)
    alphas, betas, start_alphas, start_betas = [], [], [], []
    overlays: list[dict[str, Any]] = []
    for file, (clip, mel) in zip(files, clips, strict=True):
        now = findings.estimate(stem, mel, frame_rate)
        alphas.append(now.alpha[0])
        betas.append(now.beta_hz[0])
        if len(overlays) < SHOWN:
            overlays.append(overlay(file, clip, now))
        step()
        with torch.no_grad():
            alpha, beta = fresh.estimate(mel)
        start_alphas.append(alpha[0].numpy())
        start_betas.append((beta * frame_rate / (2 * torch.pi))[0].numpy())
        step()

    shared = interventions.share(stem, interventions.means(alphas), interventions.means(betas) / hertz)
    changed = {"shared": shared} | {how: interventions.intervene(stem, how) for how in ("shuffled", "off")}
    effects: dict[str, list[dict[str, float]]] = {how: [] for how in changed}
    for _, mel in clips:
        for how, other in changed.items():
            effects[how].append(interventions.change(stem, other, mel))
        step()

    (origin_alpha, origin_beta), (decays, _) = parameters.starts(stem), stem.bounds
    everything = [np.concatenate([x.ravel() for x in values]) for values in (alphas, betas)]
    return {
        "overlays": overlays,
        "parameters": {
            "learned": stem.trained,
            "taps": stem.taps,
            "states": stem.count,
            "seed": origin.seed,
            "alpha": parameters.describe(alphas, start_alphas, origin_alpha, decays),
            "beta": parameters.describe(betas, start_betas, hertz * origin_beta, (band[0], band[1])),
            "density": density(everything[0], everything[1], decays, (band[0], band[1])).astype(int).tolist(),
            "starts": {"alpha": origin_alpha.tolist(), "beta_hz": (hertz * origin_beta).tolist()},
        },
        "interventions": {
            how: {what: over_clips(np.array([one[what] for one in each])) for what in ("tokens", "features")}
            for how, each in effects.items()
        },
    }
