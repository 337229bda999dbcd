"""Embeddings of sounds: every pooling and layer in one pass, whole clips of any length, in the given order.

Sounds are decoded ahead and batched by similar length (`aasp.evaluate.prefetch`); results are put back in the given
order.

n sounds, B clips of a batch, G time patches, F subbands, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from aasp.audio.io import AudioError
from aasp.audio.sounds import Sound, describe
from aasp.config import check_range
from aasp.datasets.index import Skipped
from aasp.datasets.manifest import NothingUsable
from aasp.devices import copied
from aasp.errors import AaspError
from aasp.evaluate.prefetch import BATCH, WORKERS, Refused, decoded
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.embeddings import Embedder, Embeddings
from aasp.model.pooling import POOLINGS, over_frequency
from aasp.model.readout import Key, check_keys, read
from aasp.training.precision import Precision, autocast, for_vectors

Progress = Callable[[int, int], object]
OWN: Key = (-1, "own")
"""The model's default vector, where it is not just one layer under one pooling."""


class Timestamps(NamedTuple):
    """One file's vectors over time: `vectors` (G, F · D), and `seconds` (G,), their centres, at most the file's end."""

    vectors: np.ndarray
    seconds: np.ndarray


@dataclass(frozen=True)
class Running:
    """How a model is run over sounds.

    Attributes:
        precision: of the forward pass; "auto" for the fastest on the device, and fp32 if the vector is whitened.
        batch: clips in a batch; fewer if they are longer than the encoder's window.
        workers: threads that decode ahead; 0 decodes between batches.

    Raises:
        AaspError: a number is out of its range.
    """

    precision: Precision = "fp32"
    batch: int = BATCH
    workers: int = WORKERS

    def __post_init__(self) -> None:
        check_range(self, "running a model", "batch", least=1, most=65_536)
        check_range(self, "running a model", "workers", least=0, most=1_024)


PLAIN = Running()
"""The defaults: fp32."""


def clip_features(
    encoder: AudioEncoder,
    sounds: Sequence[Sound],
    keys: Sequence[Key] | None = None,
    *,
    running: Running = PLAIN,
    skipped: list[Skipped] | None = None,
    progress: Progress | None = None,
) -> dict[Key, np.ndarray]:
    """Embed whole sounds with a frozen encoder, for every layer and pooling at once.

    Args:
        encoder: the model; evaluated on its own device.
        sounds: n files, excerpts or mixtures.
        keys: (layer, pooling) pairs, from `clip_keys`; all pairs if omitted.
        running: precision, batches and threads.
        skipped: collects sounds that can't be used, whose rows are then NaN; if omitted, the first of them raises.
        progress: called with (sounds done, n).

    Returns:
        (layer, pooling) → (n, D') float32, rows in the order of `sounds`.

    Raises:
        AaspError: a sound can't be used, or none can.
    """
    keys = clip_keys(encoder) if keys is None else keys
    out: dict[Key, np.ndarray] = {}
    below = needs_layers(encoder, keys)
    for rows, found in embedded(encoder, sounds, layers=below, running=running, skipped=skipped, progress=progress):
        for key, vectors in pooled(encoder, found, keys).items():
            out.setdefault(key, np.full((len(sounds), vectors.shape[1]), np.nan, np.float32))[rows] = vectors
    return out


def clip_keys(
    encoder: AudioEncoder, layers: Sequence[int] | None = None, poolings: Sequence[str] = POOLINGS
) -> list[Key]:
    """The (layer, pooling) pairs of some layers and poolings.

    Args:
        encoder: the model.
        layers: 0 (the input of the first block) to `depth` (the normalised output); all if omitted. The class token
            of layer 0 is the same for every clip and left out.
        poolings: ways to make one vector of a clip's tokens (see `aasp.model.pooling`).

    Raises:
        AaspError: an unknown pooling or layer, or no pair is left.
    """
    depth = encoder.config.encoder.depth
    layers = range(depth + 1) if layers is None else layers
    keys = [(layer, pooling) for layer in layers for pooling in poolings if (layer, pooling) != (0, "cls")]
    check_keys(keys, depth)
    if not keys:
        raise AaspError("the class token of layer 0 is the same for every clip; choose another layer or pooling")
    return keys


def own_keys(encoder: AudioEncoder) -> list[Key]:
    """The keys of the model's default vector, which `aasp embed` returns."""
    return [OWN] if encoder.config.vector or encoder.config.whitened else list(encoder.config.keys)


def pooled(encoder: AudioEncoder, found: Embeddings, keys: Sequence[Key]) -> dict[Key, np.ndarray]:
    """The clip vectors (B, D') of each key from a batch of `embedded`, called with `layers` if `needs_layers`."""
    of = (encoder.config.encoder.depth, encoder.stem.subbands)
    vector = lambda key: found.clip if key == OWN else read(found.stages, found.valid, [key], *of)
    return {key: vector(key).cpu().numpy() for key in keys}


def needs_layers(encoder: AudioEncoder, keys: Sequence[Key]) -> bool:
    """Whether a key reads a layer below the encoder's output."""
    return any(layer < encoder.config.encoder.depth for layer, pooling in keys if (layer, pooling) != OWN)


def embedded(
    encoder: Embedder,
    sounds: Sequence[Sound],
    *,
    layers: bool = False,
    running: Running = PLAIN,
    skipped: list[Skipped] | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[list[int], Embeddings]]:
    """Embed whole sounds batch by batch: yields their rows in `sounds` and the encoder's output.

    Args:
        layers: passed to the encoder.
        encoder, sounds, running, skipped, progress: as in `clip_features`.
    """
    unusable: list[Skipped] = []
    done = 0
    show = None if progress is None else lambda now: progress(now, len(sounds))
    options: dict[str, Any] = {"layers": layers, "running": running, "show": show}
    for rows, found in batches(encoder, sounds, unusable, strict=skipped is None, **options):
        yield rows, found
        done += len(rows)
    if not done:
        raise nothing_usable(unusable)
    if skipped is not None:
        skipped.extend(unusable)


def batches(
    encoder: Embedder,
    sounds: Sequence[Sound],
    unusable: list[Skipped],
    *,
    strict: bool,
    layers: bool = False,
    running: Running = PLAIN,
    show: Callable[[int], object] | None = None,
    encode: Callable[[Tensor, Tensor], Any] | None = None,
) -> Iterator[tuple[list[int], Any]]:
    """`embedded` without an error if no sound can be used: all of them are then in `unusable`.

    Args:
        unusable: collects sounds that can't be used; with `strict`, the first of them raises.
        show: called with the number of sounds done.
        encode: applied to waveforms and their lengths; returns the encoder's `Embeddings` if omitted.
    """

    def refused(row: int, error: AudioError) -> None:
        if strict:
            raise error
        unusable.append(left_out(sounds[row], error))

    done = 0
    encode = encode or (lambda wave, lengths: encoder(wave, lengths, layers=layers))
    for rows, found in encoded_batches(encoder, sounds, refused, encode, running):
        assert found is not None
        yield rows, found
        done += len(rows)
        if show is not None:
            show(done + len(unusable))
    if show is not None and unusable:
        show(done + len(unusable))


def encoded_batches(
    encoder: Embedder,
    sounds: Sequence[Sound],
    refused: Refused,
    encode: Callable[[Tensor, Tensor], Any],
    running: Running = PLAIN,
    whole: float = float("inf"),
) -> Iterator[tuple[list[int], Any]]:
    """`batches` with a callback for each sound that can't be used: `refused(row, error)`.

    One stretch of sounds (`aasp.evaluate.prefetch`) comes after the other. A sound longer than `whole` seconds yields
    its row and None: the caller reads it.
    """
    device = encoder.device
    training = encoder.training
    encoder.eval()
    config, sizes = encoder.config, {"batch": running.batch, "workers": running.workers}
    read_ahead = decoded(sounds, config.frontend, config.window_seconds, refused, whole=whole, **sizes)
    casting = autocast(for_vectors(running.precision, config.whitened), device)
    try:
        for one in read_ahead:
            if one.wave is None or one.lengths is None:
                yield one.rows, None
                continue
            with torch.inference_mode(), casting:
                found = encode(copied(one.wave, device), one.lengths)
            yield one.rows, found
    finally:
        read_ahead.close()
        encoder.train(training)


def nothing_usable(unusable: Sequence[Skipped]) -> NothingUsable:
    """The error if every sound was skipped, or there were none."""
    why = f"all {len(unusable)} skipped, the first {unusable[0].path}: {unusable[0].reason}" if unusable else "none"
    return NothingUsable(f"no usable audio to embed: {why}; repair or replace the files", list(unusable))


def timestamps(
    found: Embeddings, ends: Sequence[float], layers: Sequence[int] = (), subbands: int = 0
) -> list[Timestamps]:
    """The vectors over time of each clip from `embedded`, without padding.

    Args:
        found: embeddings of a batch.
        ends: duration of each clip in seconds, the upper limit of its times.
        layers: layers whose vectors are concatenated, counted from 0 or, if negative, from the end; the output's if
            omitted.
        subbands: F, if layers are given.
    """
    seconds = found.seconds.cpu().numpy().astype(np.float64)
    named = [over_frequency(found.stages[layer][0], subbands, flat=True) for layer in layers]
    over_time = torch.cat(named, dim=-1) if named else found.timestamps
    vectors, valid = over_time.cpu().numpy(), found.valid.cpu().numpy()
    return [Timestamps(vectors[i, valid[i]], seconds[valid[i]].clip(max=end)) for i, end in enumerate(ends)]


def left_out(sound: Sound, error: AudioError) -> Skipped:
    """The skipped sound and the reason; the reason names the faulty file if that is only a part of the sound."""
    name = describe(sound)
    return Skipped(name, error.reason if error.path == name else f"{error.path}: {error.reason}")
