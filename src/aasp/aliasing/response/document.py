"""All measurements of `aasp alias response`, as the JSON document from which its pages are drawn.

In addition to the responses: whether the true rate of a modulation too fast for the tokens can be decoded from them,
linearly. Rates are in eight classes, log-spaced between the post-patch Nyquist and 45 Hz; a class is a band, and rates
are drawn from its middle half. Each clip has its own phase, depth, pattern over the bins, level and noise. A logistic
regression is fitted to the tokens' mean over time, or mean and deviation; chance is 1 / 8. The ceiling is the result of
the same probe on magnitudes of the DFT over time of the frames, before any patch.

Legend: n clips, T frames, M mel bins, S samples, G tokens, C channels. Source: ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from aasp.aliasing.response.measure import Stage, respond, stages
from aasp.aliasing.response.stimuli import BAND, LOG_ENERGY, Settings, modulations
from aasp.encoders import EncoderAdapter, LogMelAdapter
from aasp.evaluate.intervals import interval
from aasp.evaluate.linear import linear_probe
from aasp.evaluate.probe import ProbeResult
from aasp.evaluate.task import Round, Task

CLASSES = 8
TRAIN, VALID, TEST = 320, 80, 320
TOKENS, MIN_SECONDS = 16, 2.0
"""Length of a clip in tokens, but at least this many seconds."""
ROOM = 1.5
"""How far above the post-patch Nyquist 45 Hz must be, as a ratio, for eight classes to fit."""
BATCH = 40

Decoded = Mapping[tuple[str, str], ProbeResult]
"""The probe's results by (stage, pooling); that for the frames is under ("frames", "DFT")."""


class Rates(NamedTuple):
    """Clips of known modulation rate: log-mels (n, T, M) or waveforms (n, S); log-energies of their frames (n, T, F),
    for the ceiling; classes (n,), and the edges of the classes in Hz."""

    clips: Tensor
    frames: np.ndarray
    classes: np.ndarray
    edges: np.ndarray


def examine(
    adapters: Sequence[EncoderAdapter],
    settings: Settings,
    wanted: tuple[str, ...],
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> dict[str, Any]:
    """Responses and decoded rates of every adapter; later ones are compared with the first where possible.

    Args:
        adapters: the models.
        settings: settings of the modulations.
        wanted: "stem", "encoder".
        progress: called with (steps done, steps).

    Raises:
        AaspError: an adapter has no output over time.
    """
    clips = TRAIN + VALID + TEST
    places = [stages(adapter, wanted) for adapter in adapters]
    steps = [len(modulations(adapter, settings).hz) + -(-clips // BATCH) for adapter in adapters]
    done, total = count(1), sum(each * len(place) for each, place in zip(steps, places, strict=True))
    advance = lambda: progress(next(done), total)
    models: list[dict[str, Any]] = []
    first: tuple[Tensor, Decoded] = torch.empty(0), {}  # clips of the first decoded adapter, and its results
    reference: str | None = None  # its name
    for adapter, place in zip(adapters, places, strict=True):
        responses = [respond(adapter, stage, settings, advance) for stage in place]
        decoding = None
        if has_room(adapter.token_rate):
            rates = draw(adapter, settings.seed, clips)
            decoded = decode(rates, place, advance)
            rows = compared(decoded, first[1] if torch.equal(first[0], rates.clips) else {})
            decoding = {"chance": 1 / CLASSES, "classes_hz": rates.edges.tolist(), "rows": rows, "against": reference}
            first, reference = (first, reference) if first[1] else ((rates.clips, decoded), adapter.name)
        models.append(
            {
                "name": adapter.name,
                "token_rate": adapter.token_rate,
                "nyquist_hz": adapter.token_rate / 2,
                "stages": responses,
                "decoding": decoding,
            }
        )
    return {"band_hz": list(BAND), "settings": settings._asdict(), "models": models}


def has_room(token_rate: float) -> bool:
    """Whether some modulations alias and are still represented by frames of 10 ms."""
    return token_rate / 2 * ROOM < BAND[1]


def draw(adapter: EncoderAdapter, seed: int, clips: int) -> Rates:
    """Clips for an adapter; the same for all adapters with the same rate, tokens and bins."""
    stream = np.random.default_rng([seed, 1])
    edges = np.geomspace(adapter.token_rate / 2, BAND[1], CLASSES + 1)
    classes = np.arange(clips) % CLASSES  # equal class counts in train, valid and test
    place = stream.uniform(0.25, 0.75, clips)
    hz = edges[classes] * (edges[classes + 1] / edges[classes]) ** place
    phase, depth = stream.uniform(0, 2 * np.pi, clips), stream.uniform(0.25, 0.75, clips)
    swing = lambda seconds: depth[:, None] * np.cos(2 * np.pi * hz[:, None] * seconds + phase[:, None])
    length = max(TOKENS / adapter.token_rate, MIN_SECONDS)
    if isinstance(adapter, LogMelAdapter):
        rate, mels, subbands = adapter.frontend.config.frame_rate, adapter.stem.mels, adapter.stem.subbands
        frames = adapter.stem.patch[0] * math.ceil(length * rate / adapter.stem.patch[0])
        # Smooth over the bins, so that neighbouring bins are modulated together, like partials of a sound.
        knots, at = stream.uniform(0, 1, (clips, subbands + 1)), np.linspace(0, subbands, mels)
        pattern = np.stack([np.interp(at, np.arange(subbands + 1), one) for one in knots])
        mel = swing(np.arange(frames) / rate)[:, :, None] * pattern[:, None]
        mel += stream.uniform(-0.5, 0.5, (clips, 1, mels)) + 0.1 * stream.standard_normal(mel.shape, np.float32)
        bands = np.stack([part.mean(2) for part in np.array_split(mel, subbands, axis=2)], axis=2)
        return Rates(torch.from_numpy(mel).float(), bands, classes, edges)
    samples, hop = math.ceil(length * adapter.rate), round(adapter.rate / 100)
    level = 0.05 * 10 ** stream.uniform(-0.5, 0.5, (clips, 1))
    wave = level * stream.standard_normal((clips, samples), np.float32)
    wave *= np.exp(LOG_ENERGY / 2 * swing(np.arange(samples) / adapter.rate))
    energy = np.square(wave[:, : samples // hop * hop]).reshape(clips, -1, hop).mean(2)
    return Rates(torch.from_numpy(wave).float(), np.log(energy)[..., None], classes, edges)


def decode(rates: Rates, stages: Sequence[Stage], progress: Callable[[], object] = lambda: None) -> Decoded:
    """Decode the rates from every stage, and from the frames; `progress` is called after each batch of each stage."""
    spectra = np.abs(np.fft.rfft(rates.frames - rates.frames.mean(1, keepdims=True), axis=1)).mean(2)
    features = {("frames", "DFT"): spectra}
    for stage in stages:
        pooled = []
        for batch in rates.clips.split(BATCH):
            with torch.inference_mode():
                tokens = stage.read(batch).float()
            pooled.append(torch.cat([tokens.mean(1), tokens.std(1, correction=0)], dim=1))
            progress()
        X = torch.cat(pooled).numpy()
        features |= {(stage.name, "mean"): X[:, : X.shape[1] // 2], (stage.name, "mean+std"): X}
    n, whole = len(rates.classes), TRAIN + VALID + TEST
    parts = np.split(np.arange(n), [round(n * TRAIN / whole), round(n * (TRAIN + VALID) / whole)])
    task = Task(rates.classes, [str(k) for k in range(CLASSES)], [Round("test", *parts)], None)
    return {key: linear_probe({key: X}, task) for key, X in features.items()}


def compared(decoded: Decoded, first: Decoded) -> list[dict[str, Any]]:
    """Accuracies as JSON values, with the paired lead over those of a first adapter's same stages, if it has some."""
    lead = lambda key: interval(decoded[key].correct, minus=first[key].correct).to_dict() if key in first else None
    return [
        {"stage": key[0], "pooling": key[1], "accuracy": result.alone.to_dict(), "lead": lead(key)}
        for key, result in decoded.items()
    ]
