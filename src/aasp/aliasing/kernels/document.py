"""The content of `kernels.json` for a model and some clips.

Legend: T frames, M mel bins, G x F grid of patches (time x subbands), S states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from aasp.aliasing.kernels import channels, estimates
from aasp.aliasing.kernels.departure import Origin, departure
from aasp.aliasing.kernels.frequency_gradient import frequency_gradients
from aasp.aliasing.response.theory import is_linear
from aasp.audio.io import read
from aasp.encoders import EncoderAdapter, LogMelAdapter
from aasp.errors import AaspError
from aasp.report import findings
from aasp.report.rates import density
from aasp.report.spectrogram import Spectrogram
from aasp.stems.lambda_encoder import beta_range
from aasp.stems.states import States

SHOWN = 3
"""Number of clips that are drawn: the first ones."""
LINEARISED = 8
"""Clips around which the stem is linearised, spread over all: it is slow, with a backward pass for each channel."""
COLUMNS, LEVELS = 32, 255
"""Time patches drawn per clip, five seconds at 160 ms a patch; and quantisation steps of their mel levels."""


class Clip(NamedTuple):
    """A sound file, its drawing, and the normalised log-mel (1, T, M), the stem's input."""

    file: str
    shown: Spectrogram
    mel_1TM: Tensor


def measure(
    adapter: EncoderAdapter,
    files: Sequence[str],
    origin: Origin,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure the modulation response of a stem's channels on some clips, as JSON values.

    Args:
        adapter: an adapter with log-mels; its stem is read.
        files: sound files.
        origin: the start of its model.
        progress: called with (done, total).

    Raises:
        AaspError: the adapter has no stem, or a file can't be used.
    """
    if not isinstance(adapter, LogMelAdapter):
        others = "`aasp alias stability`" + " and `aasp alias response`" * bool(adapter.token_rate)
        raise AaspError(f"{adapter.name}: reads no log-mel, so that its stem has no kernels; {others} can examine it")
    stem, frame_rate = adapter.stem, adapter.frontend.config.frame_rate
    low, high = (w * frame_rate / (2 * np.pi) for w in beta_range(stem.patch[0]))
    clips = [_read(adapter, file) for file in files]
    chosen = sorted({round(k) for k in np.linspace(0, len(clips) - 1, min(LINEARISED, len(clips)))})
    done, total = count(1), len(chosen) + (2 * len(clips) if stem.states else 0)

    def each(values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            yield value
            progress(next(done), total)

    kernels = [channels.linearised(stem, clips[k].mel_1TM[0], frame_rate) for k in each(chosen)]
    found: dict[str, Any] = {
        "subject": adapter.name,
        "frame_rate": frame_rate,
        "patch": list(stem.patch),
        "band_hz": [low, high],
        "clips": [
            {"file": file, "seconds": len(shown.mel) / frame_rate, "patches": int(np.prod(shown.grid))}
            for file, shown, _ in clips
        ],
        "linear": channels.describe(kernels, low, adapts=not is_linear(stem)),
        "pull": frequency_gradients(),
        "departure": departure(adapter, origin),
    }
    if stem.states is not None:
        found |= _estimated(stem.states, clips, (low, high), frame_rate, origin.seed, each)
    return found


def _read(adapter: LogMelAdapter, file: str) -> Clip:
    wave, front = read(file, rate=adapter.rate), adapter.frontend.config
    fewest = front.samples(adapter.stem.patch[0])
    if len(wave) < fewest:
        length = f"{len(wave) / adapter.rate:.3g} s, less than one patch of {fewest / adapter.rate:.3g} s"
        raise AaspError(f"clip too short: {file} has {length}; leave it out")
    (shown,), mel_1TM = findings.listen(adapter, [wave])
    return Clip(file, shown, mel_1TM)


def _estimated(
    stem: States,
    clips: Sequence[Clip],
    band: estimates.Bounds,
    frame_rate: float,
    seed: int | None,
    each: Callable[[Iterable[Clip]], Iterator[Clip]],
) -> dict[str, Any]:
    """Results only for stems with states: their parameters, and the effect of interventions on them."""
    stems = stem, estimates.untrained(stem, seed or 0)
    found = [[findings.estimate(one, clip.mel_1TM, frame_rate) for one in stems] for clip in each(clips)]
    now, start = zip(*found, strict=True)
    alphas, betas = [one.alpha[0] for one in now], [one.beta_hz[0] for one in now]
    start_alphas, start_betas = [one.alpha[0] for one in start], [one.beta_hz[0] for one in start]

    hertz = frame_rate / (2 * np.pi)
    changed = {
        "shared": estimates.share(stem, estimates.means(alphas), estimates.means(betas) / hertz),
        "shuffled": estimates.intervene(stem, "shuffled"),
        "off": stem.silenced(),
    }
    effects = [
        {how: estimates.change(stem, other, clip.mel_1TM) for how, other in changed.items()} for clip in each(clips)
    ]
    over_clips = lambda how, what: estimates.over_clips([effect[how][what] for effect in effects])

    bounds, origin_alpha, origin_beta = stem.bounds[0], *(values.numpy() for values in stem.start())
    return {
        "overlays": [overlay(clip, one) for clip, one in zip(clips[:SHOWN], now, strict=False)],
        "parameters": {
            "learned": stem.trained,
            "taps": stem.taps,
            "states": stem.count,
            "seed": seed,
            "alpha": estimates.describe(alphas, start_alphas, origin_alpha, bounds),
            "beta": estimates.describe(betas, start_betas, hertz * origin_beta, band),
            "density": density(np.concatenate(alphas), np.concatenate(betas), bounds, band).astype(int).tolist(),
            "starts": {"alpha": origin_alpha.tolist(), "beta_hz": (hertz * origin_beta).tolist()},
        },
        "interventions": {how: {what: over_clips(how, what) for what in ("tokens", "features")} for how in changed},
    }


def overlay(clip: Clip, found: findings.Estimates) -> dict[str, Any]:
    """The part of a clip with the strongest responses, its mel levels in 256 steps, with each patch's rate.

    The estimates must be for a batch of one.
    """
    strength_GF, rate_GF = found.strength[0], found.rate_hz[0]
    columns, frames = min(COLUMNS, len(strength_GF)), clip.shown.patch[0]
    begin = int(np.convolve(strength_GF.sum(1), np.ones(columns), mode="valid").argmax())
    part, mel = slice(begin, begin + columns), clip.shown.mel[begin * frames : (begin + columns) * frames]
    low, high = float(mel.min()), float(mel.max())
    return {
        "name": clip.file,
        "begins": begin * frames / clip.shown.frame_rate,
        "mel": np.round((mel - low) / max(high - low, 1e-9) * LEVELS).astype(int).tolist(),
        "mel_hz": np.round(clip.shown.band_hz, 1).tolist(),
        "rate_hz": np.round(rate_GF[part], 2).tolist(),
        "strength": np.round(strength_GF[part], 3).tolist(),
    }
