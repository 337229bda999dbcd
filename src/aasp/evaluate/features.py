"""Embeddings of files: every pooling and layer in one pass, whole clips of any length, in the order given.

Files are read shortest first and batched with their neighbours in length, so that little is padding; results go back to
the order given. n files, B clips of a batch, S samples, G time patches, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aasp.audio.io import AudioError, probe, read
from aasp.datasets.index import Skipped
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder, Embeddings
from aasp.model.pooling import POOLINGS, Pooling, pool

BATCH = 16

Progress = Callable[[int, int], object]
Key = tuple[int, str]  # (layer, pooling)


@dataclass(frozen=True)
class Timestamps:
    """One file's vectors over time: `vectors` (G, F · D), and `seconds` (G,), the centre of each."""

    vectors: np.ndarray
    seconds: np.ndarray


def clip_features(
    encoder: AudioEncoder,
    paths: Sequence[str],
    *,
    poolings: Sequence[str] = POOLINGS,
    layers: Sequence[int] | None = None,
    batch: int = BATCH,
    skipped: list[Skipped] | None = None,
    progress: Progress | None = None,
) -> dict[Key, np.ndarray]:
    """Embed whole files with a frozen encoder, for every layer and pooling at once.

    Args:
        encoder: the model; evaluated in fp32 on its own device.
        paths: n files.
        poolings: ways to make one vector of a clip's tokens (see `aasp.model.pooling`).
        layers: 0 (the input of the first block) to `depth` (the normalised output); all when left out. The class token
            of layer 0 is the same for every clip and left out.
        batch: clips in a batch; fewer where they are longer than the encoder's window.
        skipped: takes files that can't be used, whose rows are then NaN; without it the first of them raises.
        progress: called with (files done, n).

    Returns:
        (layer, pooling) → (n, D') float32, rows in the order of `paths`.

    Raises:
        AaspError: an unknown pooling or layer, a file that can't be used, or none that can.
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
    out: dict[Key, np.ndarray] = {}
    below = min(layers) < depth
    for rows, found in embedded(encoder, paths, layers=below, batch=batch, skipped=skipped, progress=progress):
        stages = [*found.layers[:depth], (found.tokens, found.cls)]
        for layer, pooling in keys:
            tokens, cls = stages[layer if below else -1]
            pooled = pool(tokens, cls, encoder.stem.subbands, found.valid, pooling).cpu().numpy()
            vectors = out.setdefault((layer, pooling), np.full((len(paths), pooled.shape[1]), np.nan, np.float32))
            vectors[rows] = pooled
    return out


def embedded(
    encoder: AudioEncoder,
    paths: Sequence[str],
    *,
    layers: bool = False,
    pooling: Pooling | None = None,
    batch: int = BATCH,
    skipped: list[Skipped] | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[list[int], Embeddings]]:
    """Embed whole files batch by batch: which of `paths` they are, and what the encoder says of them.

    Args:
        layers, pooling: passed to the encoder.
        encoder, paths, batch, skipped, progress: as in `clip_features`.
    """
    device = next(encoder.parameters()).device
    training = encoder.training
    encoder.eval()
    unusable: list[Skipped] = []
    done = 0
    try:
        order = _by_length(paths, unusable, strict=skipped is None)
        for rows in _grouped(order, batch, encoder.config.window_seconds):
            wave, lengths, rows = _read(encoder, paths, rows, unusable, strict=skipped is None)
            if rows:
                with torch.inference_mode():
                    found = encoder(wave.to(device), lengths, layers=layers, pooling=pooling)
                yield rows, found
            done += len(rows)
            if progress is not None:
                progress(done + len(unusable), len(paths))
    finally:
        encoder.train(training)
    if not done:
        why = f"all {len(unusable)} skipped, the first {unusable[0].path}: {unusable[0].reason}" if unusable else "none"
        raise AaspError(f"no usable audio to embed: {why}; mend or replace the files")
    if skipped is not None:
        skipped.extend(unusable)


def timestamps(found: Embeddings) -> list[Timestamps]:
    """What `embedded` found of each clip over time, without padding."""
    seconds = found.seconds.cpu().numpy().astype(np.float64)
    vectors, valid = found.timestamps.cpu().numpy(), found.valid.cpu().numpy()
    return [Timestamps(vectors[i, valid[i]], seconds[valid[i]]) for i in range(len(vectors))]


def _by_length(paths: Sequence[str], unusable: list[Skipped], strict: bool) -> list[tuple[float, int]]:
    """(seconds, row) of the files whose headers can be read, shortest first."""
    order = []
    for row, path in enumerate(paths):
        try:
            order.append((probe(path).seconds, row))
        except AudioError as error:
            if strict:
                raise
            unusable.append(Skipped(error.path, error.reason))
    return sorted(order)


def _grouped(order: list[tuple[float, int]], batch: int, window_seconds: float) -> Iterator[list[int]]:
    """Rows of each batch: at most `batch` clips, and of longer clips so many that they fill as many windows."""
    rows: list[int] = []
    for seconds, row in order:
        if rows and (len(rows) == batch or (len(rows) + 1) * seconds > batch * window_seconds):
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def _read(
    encoder: AudioEncoder, paths: Sequence[str], rows: list[int], unusable: list[Skipped], strict: bool
) -> tuple[Tensor, Tensor, list[int]]:
    """Decode some files: waveforms (B, S), zero beyond their ends, valid samples (B,), and which files they are."""
    front = encoder.config.frontend
    waves, kept = [], []
    for row in rows:
        try:
            wave = read(paths[row], rate=front.rate)
            if len(wave) < front.window:
                reason = f"too short: {1000 * len(wave) / front.rate:.3g} ms, under one analysis window"
                raise AudioError(paths[row], f"{reason} of {front.window_ms:g} ms", "give a longer clip")
        except AudioError as error:
            if strict:
                raise
            unusable.append(Skipped(error.path, error.reason))
            continue
        waves.append(torch.from_numpy(wave))
        kept.append(row)
    lengths = torch.tensor([len(wave) for wave in waves])
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True) if waves else torch.empty(0, 0), lengths, kept
