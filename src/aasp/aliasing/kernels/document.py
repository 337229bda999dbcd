"""Everything that `kernels.json` holds of an adapter and some clips.

Legend: n clips, T frames, M mel bins, G x F grid of patches (time x subbands), S states, D channels, R modulation
rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aasp.aliasing.kernels import estimates
from aasp.aliasing.kernels.channels import FRAME_RATE, Kernels, check_over_time, linearised, locked_kernels
from aasp.aliasing.kernels.departure import Origin, departure
from aasp.aliasing.kernels.estimates import over_clips
from aasp.aliasing.kernels.frequency_gradient import frequency_gradients
from aasp.audio.io import read
from aasp.encoders import EncoderAdapter, LogMelAdapter
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
COLUMNS, LEVELS = 32, 255
"""Time patches that are drawn of a clip, five seconds at 160 ms a patch; and steps of their mel levels."""

Clip = tuple[Spectrogram, Tensor]


def measure(
    adapter: EncoderAdapter,
    files: Sequence[str],
    origin: Origin,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure which modulations an adapter's channels respond to on some clips, as JSON values.

    Args:
        adapter: of log-mels, its stem is read; of waveforms, what its vectors over time follow.
        files: sound files.
        origin: the run that its model comes from.
        progress: called with (done, total).

    Raises:
        AaspError: the adapter gives one vector a clip, or a file can't be used.
    """
    chosen = sorted({round(k) for k in np.linspace(0, len(files) - 1, min(LINEARISED, len(files)))})
    total = len(chosen)
    done = iter(range(1, total + 3 * len(files) + 1))
    step = lambda: progress(next(done), total)
    if not isinstance(adapter, LogMelAdapter):
        return _of_waveforms(adapter, files, chosen, step)
    frame_rate, patch = adapter.frontend.config.frame_rate, adapter.stem.patch
    band = tuple(w * frame_rate / (2 * np.pi) for w in beta_range(patch[0]))
    clips = [_read(adapter, file) for file in files]
    total += 3 * len(clips) if adapter.stem.states else 0
    found: dict[str, Any] = {
        "subject": adapter.name,
        "frame_rate": frame_rate,
        "patch": list(patch),
        "band_hz": list(band),
        "clips": [
            {"file": file, "seconds": len(clip.mel) / frame_rate, "patches": int(np.prod(clip.grid))}
            for file, (clip, _) in zip(files, clips, strict=True)
        ],
        "linear": _linear(adapter, [clips[k] for k in chosen], band, step),
        "pull": frequency_gradients(),
        "evolution": {name: [list(point) for point in points] for name, points in origin.evolution.items()},
        "departure": departure(adapter, origin),
    }
    if adapter.stem.states is not None:
        found |= _estimated(adapter, adapter.stem.states, files, clips, band, origin, step)
    return found


def _read(adapter: LogMelAdapter, file: str) -> Clip:
    wave, front = read(file, rate=adapter.rate), adapter.frontend.config
    fewest = front.samples(adapter.stem.patch[0])
    if len(wave) < fewest:
        length = f"{len(wave) / adapter.rate:.3g} s, less than one patch of {fewest / adapter.rate:.3g} s"
        raise AaspError(f"clip too short: {file} has {length}; leave it out")
    (clip,), mel_1TM = findings.listen(adapter, [wave])
    return clip, mel_1TM


def _of_waveforms(
    adapter: EncoderAdapter, files: Sequence[str], chosen: Sequence[int], step: Callable[[], None]
) -> dict[str, Any]:
    """What is known of an encoder of waveforms: the modulations that its channels follow."""
    check_over_time(adapter)
    waves = [torch.from_numpy(read(file, rate=adapter.rate)) for file in files]
    least = 2 / adapter.token_rate
    short = next((k for k, wave in enumerate(waves) if len(wave) < least * adapter.rate), None)
    if short is not None:
        raise AaspError(f"clip too short: {files[short]} is less than {least:.3g} s, two vectors; leave it out")
    found = []
    for k in chosen:
        found.append(locked_kernels(adapter, waves[k]))
        step()
    band = (adapter.token_rate / 2, FRAME_RATE / 2)
    return {
        "subject": adapter.name,
        "frame_rate": FRAME_RATE,
        "band_hz": list(band),
        "clips": [{"file": file, "seconds": len(w) / adapter.rate} for file, w in zip(files, waves, strict=True)],
        "linear": _of_channels(found, FRAME_RATE, band[0]) | {"adapts": True, "heard": True},
        "pull": frequency_gradients(),
        "evolution": {},
    }


def _linear(
    adapter: LogMelAdapter, clips: Sequence[Clip], band: tuple[float, ...], step: Callable[[], None]
) -> dict[str, Any]:
    """The linearised kernels: where channels respond most, what share of their power lies in the band."""
    frame_rate = adapter.frontend.config.frame_rate
    found: list[Kernels] = []
    for _, mel in clips:
        found.append(linearised(adapter.stem, mel[0], frame_rate))
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
    """Numbers of all channels, of a stem or of an encoder."""
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
    adapter: LogMelAdapter,
    stem: States,
    files: Sequence[str],
    clips: Sequence[Clip],
    band: tuple[float, ...],
    origin: Origin,
    step: Callable[[], None],
) -> dict[str, Any]:
    """What only a stem with states has: its parameters, and what interventions on them change."""
    frame_rate = adapter.frontend.config.frame_rate
    hertz = frame_rate / (2 * np.pi)
    fresh = estimates.untrained(stem, origin.seed or 0)
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

    shared = estimates.share(stem, estimates.means(alphas), estimates.means(betas) / hertz)
    changed = {"shared": shared, "shuffled": estimates.intervene(stem, "shuffled"), "off": stem.silenced()}
    effects: dict[str, list[dict[str, float]]] = {how: [] for how in changed}
    for _, mel in clips:
        for how, other in changed.items():
            effects[how].append(estimates.change(stem, other, mel))
        step()

    origin_alpha, origin_beta = (start.numpy() for start in stem.start())
    decays, range_hz, beta_hz = stem.bounds[0], (band[0], band[1]), hertz * origin_beta
    everything = [np.concatenate([x.ravel() for x in values]) for values in (alphas, betas)]
    return {
        "overlays": overlays,
        "parameters": {
            "learned": stem.trained,
            "taps": stem.taps,
            "states": stem.count,
            "seed": origin.seed,
            "alpha": estimates.describe(alphas, start_alphas, origin_alpha, decays),
            "beta": estimates.describe(betas, start_betas, beta_hz, range_hz),
            "density": density(everything[0], everything[1], decays, range_hz).astype(int).tolist(),
            "starts": {"alpha": origin_alpha.tolist(), "beta_hz": beta_hz.tolist()},
        },
        "interventions": {
            how: {what: over_clips(np.array([one[what] for one in each])) for what in ("tokens", "features")}
            for how, each in effects.items()
        },
    }


def overlay(name: str, clip: Spectrogram, found: findings.Estimates) -> dict[str, Any]:
    """The stretch of a clip where patches respond strongest, its mel levels in 256 steps, with each patch's rate.

    The estimates are of a batch of one.
    """
    strength_GF, rate_GF = found.strength[0], found.rate_hz[0]
    columns = min(COLUMNS, len(strength_GF))
    sums = np.convolve(strength_GF.sum(1), np.ones(columns), mode="valid")
    begin, frames = int(sums.argmax()), clip.patch[0]
    part, shown = slice(begin, begin + columns), clip.mel[begin * frames : (begin + columns) * frames]
    low, high = float(shown.min()), float(shown.max())
    return {
        "name": name,
        "begins": begin * frames / clip.frame_rate,
        "mel": np.round((shown - low) / max(high - low, 1e-9) * LEVELS).astype(int).tolist(),
        "mel_hz": np.round(clip.band_hz, 1).tolist(),
        "rate_hz": np.round(rate_GF[part], 2).tolist(),
        "strength": np.round(strength_GF[part], 3).tolist(),
    }
