"""Embeddings of any number of sounds in one file: in their order, in constant memory, resumed where they stopped.

n sounds, r rows of a shard, G time patches, F subbands, D width, V the vector's width.
"""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import aasp
from aasp.audio.io import AudioError
from aasp.audio.sounds import Excerpt, Sound, channels_of, files
from aasp.datasets.index import Skipped
from aasp.evaluate.features import PLAIN, Progress, Running, left_out, nothing_usable
from aasp.evaluate.partial import MODEL, Partial
from aasp.evaluate.vectors import ClipVectors, VectorRequest, vectors
from aasp.files import atomic_write, check_output
from aasp.model.embeddings import Embedder
from aasp.training.precision import Precision, fastest

FORMAT = 2  # to be raised when the same model comes to give other vectors of the same sounds
SHARD_ROWS, SHARD_SECONDS = 256, 30.0  # a shard is written once it has so many rows, or after so long
SUFFIXES = (".npz", ".parquet")


@dataclass(frozen=True)
class Written:
    """How many sounds were embedded, in how many dimensions; how many were done before this call; what was left out."""

    rows: int
    dimensions: int
    before: int
    skipped: list[Skipped]


@dataclass(frozen=True)
class Work:
    """What is embedded, and how.

    Attributes:
        encoder: the model.
        sounds: n files or channels of them.
        half: what is done of them.
        wanted: what of each sound.
        running: precision, batches, threads.
        named: whether a row is one that ends everything if it can't be used.
        channel: type of a column of their channels, if there is one.
        progress: called with (sounds done, n).
    """

    encoder: Embedder
    sounds: Sequence[Sound]
    half: Partial
    wanted: VectorRequest
    running: Running
    named: Callable[[int], bool]
    channel: pa.DataType | None
    progress: Progress | None

    def show(self, done: int) -> None:
        """Say how many sounds are done."""
        if self.progress is not None:
            self.progress(done, len(self.sounds))


class Engine(Protocol):
    """Makes the shards that are not there yet, as `_embed` does, elsewhere: in the precision that suits that place."""

    def precision(self, requested: Precision) -> Precision: ...

    def __call__(self, work: Work) -> None: ...


def stream(
    encoder: Embedder,
    sounds: Sequence[Sound],
    out: Path,
    wanted: VectorRequest,
    *,
    channel: bool = False,
    running: Running = PLAIN,
    named: Callable[[int], bool] = lambda row: True,
    overwrite: bool = False,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> Written:
    """Embed sounds to a .npz or .parquet file.

    Args:
        encoder: the model.
        sounds: n files or channels of them.
        out: the file; what is half done lies beside it (`aasp.evaluate.partial`) until it is whole.
        wanted: what of each sound.
        channel: write a column of their channels too.
        running: precision, batches, threads; a resumed run keeps the precision that "auto" was before.
        named: whether a row is one that ends everything if it can't be used; others are left out.
        overwrite: replace a file that is there, and start over where what is half done is of something else.
        progress: called with (sounds done, n).
        engine: what embeds in place of this process.

    Raises:
        AudioError: a named sound can't be used.
        AaspError: none can; the file is there; or what is half done is of something else.
        OSError: the disk is full; what is done is kept.
    """
    half = Partial(out, sounds)
    before = half.job.get("precision") if running.precision == "auto" else None
    requested = running.precision
    precision = before or (fastest(requested, encoder.device) if engine is None else engine.precision(requested))
    running = replace(running, precision=precision)
    job = {
        "format": FORMAT,
        "version": aasp.__version__,
        MODEL: encoder.digest,
        "vector": "own" if wanted.keys is None else " ".join(f"{layer}:{pooling}" for layer, pooling in wanted.keys),
        "frames": "no" if not wanted.frames else " ".join(["of layers", " ".join(map(str, wanted.layers)) or "last"]),
        **({} if wanted.hop is None else {"hop": wanted.hop}),
        "precision": precision,
    }
    numbers = all(isinstance(channels_of(sound), int) for sound in sounds)
    kind = None if not channel else pa.int64() if numbers else pa.string()
    with half.opened(job, overwrite=overwrite):
        again = overwrite or half.became
        check_output(out, overwrite=again)  # another process may have been quicker
        resumed = half.done
        work = Work(encoder, sounds, half, wanted, running, named, kind, progress)
        work.show(resumed)
        (engine or _embed)(work)
        rows = sum(pq.read_metadata(shard).num_rows for shard in half.shards)
        if not rows:
            half.remove()
            raise nothing_usable(half.skipped)
        check_output(out, overwrite=again)
        with atomic_write(out) as beside:
            (_write_npz if out.suffix == ".npz" else _write_parquet)(beside, half, job)
            half.becomes(beside)
        width = next(half.tables(["embedding"])).schema.field("embedding").type.list_size
        half.remove()
    return Written(rows, width, resumed, half.skipped)


def _embed(work: Work) -> None:
    """Make the shards that are not there yet."""
    half, sounds = work.half, work.sounds
    first, left = half.done, sounds[half.done :]
    made: dict[int, ClipVectors] = {}
    refused: dict[int, Skipped] = {}

    def refuse(row: int, error: AudioError) -> None:
        if work.named(first + row):
            raise error
        refused[first + row] = left_out(left[row], error)

    def keep(enough: int) -> None:
        last = half.done
        while last in made or last in refused:
            last += 1
        if last - half.done >= enough:
            rows = range(half.done, last)
            usable = [row for row in rows if row in made]
            table = rows_of([sounds[row] for row in usable], [made.pop(row) for row in usable], work.channel)
            half.add(table, last, [refused[row] for row in rows if row in refused])

    kept = time.monotonic()
    for some in vectors(work.encoder, left, refuse, work.wanted, work.running):
        made |= {first + row: said for row, said in some.items()}
        late = time.monotonic() - kept > SHARD_SECONDS
        before = half.done
        keep(1 if late else SHARD_ROWS)
        kept = time.monotonic() if half.done > before else kept
        work.show(half.done + len(made) + sum(row >= half.done for row in refused))
    keep(1)


def rows_of(sounds: Sequence[Sound], made: Sequence[ClipVectors], channel: pa.DataType | None) -> pa.Table:
    """The rows of a shard."""
    columns: dict[str, Any] = {"path": pa.array([files(sound)[0] for sound in sounds], pa.string())}
    if channel is not None:
        choices = [channels_of(sound) for sound in sounds]
        columns["channel"] = pa.array(choices if channel == pa.int64() else map(str, choices), channel)
    if any(isinstance(sound, Excerpt) for sound in sounds):
        columns["start"] = pa.array([sound.start if isinstance(sound, Excerpt) else 0.0 for sound in sounds])
    if made:
        columns["embedding"] = _vectors(np.stack([vector for vector, _ in made]))
    over_time = [one for _, one in made if one is not None]
    if over_time:
        offsets = pa.array(np.cumsum([0, *(len(one.seconds) for one in over_time)]), pa.int32())
        frames = _vectors(np.concatenate([one.vectors for one in over_time]))
        columns["frames"] = pa.ListArray.from_arrays(offsets, frames)
        columns["seconds"] = pa.ListArray.from_arrays(offsets, np.concatenate([one.seconds for one in over_time]))
    return pa.table(columns)


def _vectors(x: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])


def _write_parquet(out: Path, half: Partial, job: Mapping[str, Any]) -> None:
    writer = None
    try:
        for table in half.tables():
            if writer is None:
                metadata = {b"aasp": json.dumps({k: v for k, v in job.items() if k != "sounds"}).encode()}
                writer = pq.ParquetWriter(out, table.schema.with_metadata(metadata))
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _write_npz(out: Path, half: Partial, _: Mapping[str, Any]) -> None:
    """As `numpy.savez` writes them, an array after the other, a shard at a time."""
    schema = next(half.tables()).schema
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name in (name for name in ("path", "channel") if name in schema.names):
            read = lambda name=name: (np.array(table[name].to_pylist()) for table in half.tables([name]))
            _append(archive, name, read, max((array.dtype for array in read()), key=lambda one: one.itemsize))
        _append(archive, "embedding", lambda: (_matrix(t["embedding"]) for t in half.tables(["embedding"])))
        if "frames" in schema.names:
            _append(archive, "frames", lambda: (_matrix(_flat(t["frames"])) for t in half.tables(["frames"])))
            _append(archive, "seconds", lambda: (_flat(t["seconds"]).to_numpy() for t in half.tables(["seconds"])))
            _append(archive, "offsets", lambda: _offsets(half))


def _append(
    archive: zipfile.ZipFile, name: str, read: Callable[[], Iterator[np.ndarray]], dtype: np.dtype | None = None
) -> None:
    """Add an array, given in parts that are read twice: first for the shape that stands before it."""
    shapes, last = [], None
    for part in read():
        shapes.append(part.shape)
        last = part
    assert last is not None
    dtype = dtype or last.dtype
    header = {"descr": dtype.str, "fortran_order": False, "shape": (sum(s[0] for s in shapes), *last.shape[1:])}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in read():
            file.write(np.ascontiguousarray(part.astype(dtype)).tobytes())


def _flat(column: pa.ChunkedArray) -> pa.Array:
    """What the lists of a column hold, one after the other."""
    return column.combine_chunks().flatten()


def _matrix(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    vectors = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return vectors.flatten().to_numpy().reshape(len(vectors), -1)


def _offsets(half: Partial) -> Iterator[np.ndarray]:
    """Where each file's rows begin, and the end."""
    end = 0
    yield np.zeros(1, np.int64)
    for table in half.tables(["seconds"]):
        counts = table["seconds"].combine_chunks().value_lengths().to_numpy()
        yield end + np.cumsum(counts, dtype=np.int64)
        end += int(counts.sum())
