"""A cache of embeddings: a second evaluation of the same sounds with the same model does not embed them again.

The cache key of a clip's vectors is everything they depend on: the model (configuration, including the front end, and
weights), the precision, the layer and the pooling, the content of the clip's files, and how it is cut from them. A
renamed file is the same clip; a changed file, another model or another layer is a cache miss. Vectors are stored in
shards, each with some clips and all layers and poolings that were requested together. A shard is named by the SHA-256
of its content, so a damaged one is detected and removed, and its clips are embedded again. The folder may be deleted at
any time.

n sounds, m clips of a shard, D width.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

import aasp
from aasp.audio.error import AudioError
from aasp.audio.packed import on_disk
from aasp.audio.sounds import Excerpt, Mixture, Recording, Samples, Sound, files
from aasp.datasets.index import Skipped
from aasp.errors import AaspError
from aasp.evaluate.baselines import BANDS_40, BANDS_128, statistics
from aasp.evaluate.features import PLAIN, Progress, Running, batches, needs_layers, nothing_usable, pooled
from aasp.files import atomic_write, check_output
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.readout import Key
from aasp.training.precision import fastest, for_vectors
from aasp.weights import model_hash

FORMAT = 2  # increase it when a change makes the same model give other vectors of the same sounds
STATISTICS_CLIPS = 64  # clips per batch
SHARD_CLIPS, SHARD_BYTES = 1024, 64 * 2**20  # size at which a shard is written: the most that a stopped run loses

Vectors = Iterator[tuple[list[int], Mapping[Any, np.ndarray]]]


@dataclass
class Kept:
    """The result of `kept_features` or `kept_vectors`.

    Attributes:
        features: key, e.g. (layer, pooling) → (n, D) float32, rows in the order of the sounds, NaN for sounds that
            can't be used.
        reused: number of clips read from the cache.
        damaged: damaged files of the cache; they were removed and their clips embedded again.
    """

    features: dict[Any, np.ndarray]
    reused: int = 0
    damaged: list[str] = field(default_factory=list)


def kept_features(
    encoder: AudioEncoder,
    sounds: Sequence[Sound],
    keys: Sequence[Key],
    folder: Path,
    *,
    running: Running = PLAIN,
    skipped: list[Skipped] | None = None,
    progress: Progress | None = None,
) -> Kept:
    """`clip_features` of the given keys with a cache: results of earlier runs are read from `folder`, new ones written.

    Args:
        encoder, sounds, running, skipped, progress: as in `clip_features`.
        keys: (layer, pooling) pairs, from `clip_keys`.
        folder: of the cache; created when there is something to write.

    Raises:
        AaspError: a sound can't be used, or none can; or the folder can't be written.
        OSError: the disk is full; shards written before are kept.
    """
    precision = for_vectors(running.precision, encoder.config.whitened)
    running = replace(running, precision=fastest(precision, encoder.device))
    made_by = model_hash(encoder) + ("" if running.precision == "fp32" else f" {running.precision}")
    unusable: list[Skipped] = []

    def compute(some: Sequence[Sound], show: Callable[[int], object]) -> Vectors:
        below = needs_layers(encoder, keys)
        options: dict[str, Any] = {"layers": below, "running": running, "show": show}
        for positions, one in batches(encoder, some, unusable, strict=skipped is None, **options):
            yield positions, pooled(encoder, one, keys)

    kept = kept_vectors(made_by, sounds, keys, folder, compute, progress)
    if len(unusable) == len(sounds):
        raise nothing_usable(unusable)
    if skipped is not None:
        skipped.extend(unusable)
    return kept


def kept_vectors(
    made_by: str,
    sounds: Sequence[Sound],
    keys: Sequence[Any],
    folder: Path,
    compute: Callable[[Sequence[Sound], Callable[[int], object]], Vectors],
    progress: Progress | None = None,
) -> Kept:
    """Vectors of sounds from any source: those of earlier runs are read from `folder`, new ones written to it.

    Args:
        made_by: a full description of what computes the vectors; it is part of the cache key.
        sounds: n files, excerpts or mixtures.
        keys: of the requested vectors, pairs.
        folder: of the cache; created when there is something to write.
        compute: takes sounds and a callback for the number of sounds done; yields, for some sounds at a time, their
            positions and the vectors (m, D) of every key.
        progress: called with (sounds done, n).

    Raises:
        AaspError: the folder can't be written.
        OSError: the disk is full; shards written before are kept.
    """
    place = folder / hashlib.sha256(f"{FORMAT} {aasp.__version__} {made_by}".encode()).hexdigest()[:32]
    digests = list(_digests(sounds))
    kept = Kept({})
    present = _read_shards(place, keys, digests, kept)
    missing = np.flatnonzero(~present).tolist()
    kept.reused = len(sounds) - len(missing)
    show = lambda done: progress and progress(kept.reused + done, len(sounds))
    show(0)
    if not missing:
        return _in_order(kept, keys)
    try:
        check_output(place / "shard", overwrite=True)
    except AaspError as error:
        raise AaspError(f"cache: {error}, or use no cache (--no-cache)") from None
    shard = _Shard(place)
    for positions, vectors in compute([sounds[row] for row in missing], show):
        rows = [missing[position] for position in positions]
        for key, values in vectors.items():
            _rows(kept, key, len(sounds), values.shape[1])[rows] = values
        shard.add([digests[row] for row in rows], vectors)
    shard.write()
    return _in_order(kept, keys)


def _in_order(kept: Kept, keys: Sequence[Any]) -> Kept:
    """The vectors in the order of `keys`, not in that of the shards, for readers that stack them."""
    return replace(kept, features={key: kept.features[key] for key in keys if key in kept.features})


def kept_statistics(sounds: Sequence[Sound], folder: Path, progress: Progress | None = None) -> Kept:
    """Both baselines' `statistics`, cached. Arguments and errors are those of `kept_vectors`."""

    def compute(some: Sequence[Sound], show: Callable[[int], object]) -> Vectors:
        for first in range(0, len(some), STATISTICS_CLIPS):
            part = some[first : first + STATISTICS_CLIPS]
            found = {key: X.astype(np.float32) for key, X in statistics(part).items()}
            yield list(range(first, first + len(part))), found
            show(first + len(part))

    return kept_vectors("statistics", sounds, [BANDS_40, *BANDS_128], folder, compute, progress)


class _Shard:
    """Vectors waiting to be written together."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.clear()

    def clear(self) -> None:
        self.digests: list[bytes] = []
        self.vectors: dict[Any, list[np.ndarray]] = defaultdict(list)
        self.bytes = 0

    def add(self, digests: Sequence[bytes | None], vectors: Mapping[Any, np.ndarray]) -> None:
        """Add vectors (m, D) of some clips; clips whose file could not be hashed are left out."""
        known = [i for i, digest in enumerate(digests) if digest is not None]
        self.digests += [digest for digest in digests if digest is not None]
        for key, values in vectors.items():
            self.vectors[key].append(values[known])
            self.bytes += values.nbytes
        if len(self.digests) >= SHARD_CLIPS or self.bytes >= SHARD_BYTES:
            self.write()

    def write(self) -> None:
        """Write the waiting vectors, if any, to a file named by the hash of its content."""
        if self.digests:
            tensors = {_name(key): np.concatenate(values) for key, values in self.vectors.items()}
            tensors["digests"] = np.frombuffer(b"".join(self.digests), np.uint8).reshape(-1, 32)
            content = save(tensors)
            with atomic_write(self.place / f"{hashlib.sha256(content).hexdigest()}.safetensors") as beside:
                beside.write_bytes(content)
            self.clear()


def _read_shards(place: Path, keys: Sequence[Any], digests: Sequence[bytes | None], kept: Kept) -> np.ndarray:
    """Fill `kept` from the shards; return which sounds have vectors for every key, (n,)."""
    wanted: dict[bytes, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests):
        if digest is not None:
            wanted[digest].append(row)
    present = np.zeros((len(keys), len(digests)), dtype=bool)
    for file in sorted(place.glob("[0-9a-f]*.safetensors")):
        content = file.read_bytes()
        try:
            if hashlib.sha256(content).hexdigest() != file.stem:
                raise SafetensorError("another content")
            tensors = load(content)
        except SafetensorError:
            kept.damaged.append(str(file))
            file.unlink(missing_ok=True)
            continue
        there = [(i, wanted[digest.tobytes()]) for i, digest in enumerate(tensors["digests"])]
        sources = [i for i, rows in there for _ in rows]
        targets = [row for _, rows in there for row in rows]
        for number, key in enumerate(keys):
            vectors = tensors.get(_name(key))
            if vectors is not None and targets:
                _rows(kept, key, len(digests), vectors.shape[1])[targets] = vectors[sources]
                present[number, targets] = True
    return np.logical_and.reduce(present)


def _rows(kept: Kept, key: Any, sounds: int, width: int) -> np.ndarray:
    return kept.features.setdefault(key, np.full((sounds, width), np.nan, np.float32))


def _name(key: Any) -> str:
    return f"{key[0]} {key[1]}"


def _digests(sounds: Sequence[Sound]) -> Iterator[bytes | None]:
    """The hash of each sound, 32 bytes; None if its file cannot be read, or it has none."""
    known: dict[str, str | None] = {}
    for sound in sounds:
        parts: list[str | None] = [None] if isinstance(sound, Samples) else []
        for path in files(sound):
            if path not in known:
                known[path] = _file_digest(path)
            parts.append(known[path])
        cut: object = "whole"
        if isinstance(sound, Recording):
            cut = sound.channels
        elif isinstance(sound, Excerpt):
            cut = (sound.start, sound.seconds, sound.channels)
        elif isinstance(sound, Mixture):
            cut = [(one.gain_db, one.offset, one.channels) for one in sound.ingredients]
        yield None if None in parts else hashlib.sha256(repr((parts, cut)).encode()).digest()


def _file_digest(path: str) -> str | None:
    """Hash of a file's content, with its suffix, which decides how it is decoded."""
    try:
        with on_disk(path) as content, open(content, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() + os.path.splitext(path)[1].lower()
    except (OSError, AudioError):
        return None
