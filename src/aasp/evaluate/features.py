"""Embeddings of sounds: every pooling and layer in one pass, whole clips of any length, in the order given.

Sounds are read shortest first and batched with their neighbours in length, so that little is padding; results go back
to the order given. n sounds, B clips of a batch, S samples, G time patches, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aasp.audio.io import AudioError
from aasp.audio.sounds import Sound, describe, duration, read_sound
from aasp.datasets.index import Skipped
from aasp.errors import AaspError
from aasp.features.waves import LOUDEST
from aasp.model.audio_encoder import AudioEncoder, Embeddings
from aasp.model.pooling import POOLINGS, Pooling, pool

BATCH = 16
PADDING = 0.1  # at most so much of a batch

Progress = Callable[[int, int], object]
Key = tuple[int, str]  # (layer, pooling)


@dataclass(frozen=True)
class Timestamps:
    """One file's vectors over time: `vectors` (G, F · D), and `seconds` (G,), the centre of each."""

    vectors: np.ndarray
    seconds: np.ndarray


def clip_features(
    encoder: AudioEncoder,
    sounds: Sequence[Sound],
    keys: Sequence[Key] | None = None,
    *,
    batch: int = BATCH,
    skipped: list[Skipped] | None = None,
    progress: Progress | None = None,
) -> dict[Key, np.ndarray]:
    """Embed whole sounds with a frozen encoder, for every layer and pooling at once.

    Args:
        encoder: the model; evaluated in fp32 on its own device.
        sounds: n files, excerpts or mixtures.
        keys: (layer, pooling) pairs, from `clip_keys`; all there are when left out.
        batch: clips in a batch; fewer where they are longer than the encoder's window.
        skipped: takes sounds that can't be used, whose rows are then NaN; without it the first of them raises.
        progress: called with (sounds done, n).

    Returns:
        (layer, pooling) → (n, D') float32, rows in the order of `sounds`.

    Raises:
        AaspError: a sound that can't be used, or none that can.
    """
    keys = clip_keys(encoder) if keys is None else keys
    out: dict[Key, np.ndarray] = {}
    below = needs_layers(encoder, keys)
    for rows, found in embedded(encoder, sounds, layers=below, batch=batch, skipped=skipped, progress=progress):
        for key, vectors in pooled(encoder, found, keys).items():
            out.setdefault(key, np.full((len(sounds), vectors.shape[1]), np.nan, np.float32))[rows] = vectors
    return out


def clip_keys(
    encoder: AudioEncoder, layers: Sequence[int] | None = None, poolings: Sequence[str] = POOLINGS
) -> list[Key]:
    """(layer, pooling) pairs, to ask for.

    Args:
        encoder: the model.
        layers: 0 (the input of the first block) to `depth` (the normalised output); all when left out. The class token
            of layer 0 is the same for every clip and left out.
        poolings: ways to make one vector of a clip's tokens (see `aasp.model.pooling`).

    Raises:
        AaspError: an unknown pooling or layer, or nothing asked for but what is left out.
    """
    depth = encoder.config.encoder.depth
    layers = range(depth + 1) if layers is None else layers
    keys = [(layer, pooling) for layer in layers for pooling in poolings if (layer, pooling) != (0, "cls")]
    for layer, pooling in keys:
        if pooling not in POOLINGS:
            raise AaspError(f"no such pooling: {pooling}; choose from {', '.join(POOLINGS)}")
        if not 0 <= layer <= depth:
            raise AaspError(f"no such layer: {layer}; this encoder has 0 to {depth}")
    if not keys:
        raise AaspError("the class token of layer 0 is the same for every clip; choose another layer or pooling")
    return keys


def own_keys(encoder: AudioEncoder) -> list[Key]:
    """The model's own vector, what `aasp embed` gives of it, to ask for."""
    return [(encoder.config.encoder.depth, encoder.config.pooling)]


def pooled(encoder: AudioEncoder, found: Embeddings, keys: Sequence[Key]) -> dict[Key, np.ndarray]:
    """The clip vectors (B, D') of each key in what `embedded` found; with `layers` where a key is not the output."""
    subbands, depth = encoder.stem.subbands, encoder.config.encoder.depth
    out = {}
    for layer, pooling in keys:
        tokens, cls = found.stages[layer - depth - 1]  # from the end: the output may be all there is
        out[layer, pooling] = pool(tokens, cls, subbands, found.valid, pooling).cpu().numpy()
    return out


def needs_layers(encoder: AudioEncoder, keys: Sequence[Key]) -> bool:
    """Whether a key is not the encoder's output."""
    return min(layer for layer, _ in keys) < encoder.config.encoder.depth


def embedded(
    encoder: AudioEncoder,
    sounds: Sequence[Sound],
    *,
    layers: bool = False,
    pooling: Pooling | None = None,
    batch: int = BATCH,
    skipped: list[Skipped] | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[list[int], Embeddings]]:
    """Embed whole sounds batch by batch: which of `sounds` they are, and what the encoder says of them.

    Args:
        layers, pooling: passed to the encoder.
        encoder, sounds, batch, skipped, progress: as in `clip_features`.
    """
    unusable: list[Skipped] = []
    done = 0
    show = None if progress is None else lambda now: progress(now, len(sounds))
    for rows, found in batches(encoder, sounds, unusable, skipped is None, layers, pooling, batch, show):
        yield rows, found
        done += len(rows)
    if not done:
        raise nothing_usable(unusable)
    if skipped is not None:
        skipped.extend(unusable)


def batches(
    encoder: AudioEncoder,
    sounds: Sequence[Sound],
    unusable: list[Skipped],
    strict: bool,
    layers: bool = False,
    pooling: Pooling | None = None,
    batch: int = BATCH,
    show: Callable[[int], object] | None = None,
) -> Iterator[tuple[list[int], Embeddings]]:
    """`embedded` where it may be that no sound can be used: all of them are then in `unusable`.

    Args:
        unusable: takes sounds that can't be used; or, if `strict`, the first of them raises.
        show: called with the number of sounds done.
    """
    device = next(encoder.parameters()).device
    training = encoder.training
    encoder.eval()
    done = 0
    try:
        order = _by_length(sounds, unusable, strict)
        for rows in _grouped(order, batch, encoder.config.window_seconds):
            wave, lengths, rows = _read(encoder, sounds, rows, unusable, strict)
            if rows:
                with torch.inference_mode():
                    found = encoder(wave.to(device), lengths, layers=layers, pooling=pooling)
                yield rows, found
            done += len(rows)
            if show is not None:
                show(done + len(unusable))
    finally:
        encoder.train(training)


def nothing_usable(unusable: Sequence[Skipped]) -> AaspError:
    """What is raised where every sound was skipped, or there was none."""
    why = f"all {len(unusable)} skipped, the first {unusable[0].path}: {unusable[0].reason}" if unusable else "none"
    return AaspError(f"no usable audio to embed: {why}; mend or replace the files")


def timestamps(found: Embeddings) -> list[Timestamps]:
    """What `embedded` found of each clip over time, without padding."""
    seconds = found.seconds.cpu().numpy().astype(np.float64)
    vectors, valid = found.timestamps.cpu().numpy(), found.valid.cpu().numpy()
    return [Timestamps(vectors[i, valid[i]], seconds[valid[i]]) for i in range(len(vectors))]


def _by_length(sounds: Sequence[Sound], unusable: list[Skipped], strict: bool) -> list[tuple[float, int]]:
    """(seconds, row) of the sounds whose headers can be read, shortest first."""
    order = []
    for row, sound in enumerate(sounds):
        try:
            order.append((duration(sound), row))
        except AudioError as error:
            if strict:
                raise
            unusable.append(_skipped(sound, error))
    return sorted(order)


def _skipped(sound: Sound, error: AudioError) -> Skipped:
    """The sound, and why, with the file at fault where it is only a part of the sound."""
    name = describe(sound)
    return Skipped(name, error.reason if error.path == name else f"{error.path}: {error.reason}")


def _grouped(order: list[tuple[float, int]], batch: int, window_seconds: float) -> Iterator[list[int]]:
    """Rows of each batch: at most `batch` clips, and of longer clips so many that they fill as many windows.

    Clips shorter than a window are filled up to the batch's longest, or to a window: a batch ends before PADDING of it
    is that.
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


def _read(
    encoder: AudioEncoder, sounds: Sequence[Sound], rows: list[int], unusable: list[Skipped], strict: bool
) -> tuple[Tensor, Tensor, list[int]]:
    """Decode some sounds: waveforms (B, S), zero beyond their ends, valid samples (B,), and which sounds they are."""
    front = encoder.config.frontend
    waves, kept = [], []
    for row in rows:
        try:
            wave = read_sound(sounds[row], rate=front.rate)
            if len(wave) < front.window:
                reason = f"too short: {1000 * len(wave) / front.rate:.3g} ms, under one analysis window"
                raise AudioError(describe(sounds[row]), f"{reason} of {front.shortest_ms:g} ms", "give a longer clip")
            if (peak := np.abs(wave).max()) > LOUDEST:  # the encoder would refuse the batch, and not know the file
                reason = f"samples reach {peak:g}, which is no waveform in -1 to 1"
                raise AudioError(describe(sounds[row]), reason, "divide it by its full scale")
        except AudioError as error:
            if strict:
                raise
            unusable.append(_skipped(sounds[row], error))
            continue
        waves.append(torch.from_numpy(wave))
        kept.append(row)
    lengths = torch.tensor([len(wave) for wave in waves])
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True) if waves else torch.empty(0, 0), lengths, kept
