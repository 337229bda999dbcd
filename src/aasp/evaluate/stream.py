"""Embed any number of sounds to one file: in their order, in constant memory, resumable.

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
from aasp.evaluate.partial import MODEL, PRECISION, Partial
from aasp.evaluate.vectors import ClipVectors, VectorRequest, vectors
from aasp.files import atomic_write, check_output
from aasp.model.embeddings import Embedder
from aasp.training.precision import Precision, fastest, for_vectors

FORMAT = 2  # increase it when a change makes the same model give other vectors of the same sounds
SHARD_ROWS, SHARD_SECONDS = 256, 30.0  # a shard is written at this many rows, or after this time
SUFFIXES = (".npz", ".parquet")


@dataclass(frozen=True)
class Written:
    """Number of embedded sounds, of dimensions, and of sounds done before this call; and the skipped sounds."""

    rows: int
    dimensions: int
    before: int
    skipped: list[Skipped]


@dataclass(frozen=True)
class Work:
    """An embedding job.

    Attributes:
        encoder: the model.
        sounds: n files or channels of them.
        partial: the shards done so far.
        wanted: the vectors requested for each sound.
        running: precision, batches, threads.
        named: whether a row's sound was named explicitly, so that it is an error if it can't be used.
        channel: type of the channel column, if there is one.
        progress: called with (sounds done, n).
    """

    encoder: Embedder
    sounds: Sequence[Sound]
    partial: Partial
    wanted: VectorRequest
    running: Running
    named: Callable[[int], bool]
    channel: pa.DataType | None
    progress: Progress | None

    def show(self, done: int) -> None:
        """Report how many sounds are done."""
        if self.progress is not None:
            self.progress(done, len(self.sounds))


class Engine(Protocol):
    """Makes the missing shards as `_embed` does, but elsewhere, in a precision that suits the devices there."""

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
        out: the file; unfinished shards are in a folder beside it (`aasp.evaluate.partial`) until it is complete.
        wanted: the vectors requested for each sound.
        channel: also write a column of channels.
        running: precision, batches, threads; a resumed run keeps the precision that "auto" was resolved to.
        named: whether a row's sound was named explicitly: if it can't be used, it raises; others are left out.
        overwrite: replace an existing file, and start over if the unfinished shards are of another job.
        progress: called with (sounds done, n).
        engine: embeds in place of this process.

    Raises:
        AudioError: a named sound can't be used.
        AaspError: no sound can be used; the file exists; or the unfinished shards are of another job.
        OSError: the disk is full; finished shards are kept.
    """
    partial = Partial(out, sounds)
    requested = for_vectors(running.precision, encoder.config.whitened)
    job = {
        "format": FORMAT,
        "version": aasp.__version__,
        MODEL: encoder.digest,
        "vector": "own" if wanted.keys is None else " ".join(f"{layer}:{pooling}" for layer, pooling in wanted.keys),
        "frames": "no" if not wanted.frames else " ".join(["of layers", " ".join(map(str, wanted.layers)) or "last"]),
        **({} if wanted.hop is None else {"hop": wanted.hop}),
    }
    before = partial.resolved(job) if running.precision == "auto" else None
    precision = before or (fastest(requested, encoder.device) if engine is None else engine.precision(requested))
    running, auto = replace(running, precision=precision), running.precision == "auto"
    job[PRECISION] = precision
    numbers = all(isinstance(channels_of(sound), int) for sound in sounds)
    kind = None if not channel else pa.int64() if numbers else pa.string()
    with partial.opened(job, overwrite=overwrite, auto=auto):
        again = overwrite or partial.became
        check_output(out, overwrite=again)  # another process may have written it meanwhile
        resumed = partial.done
        work = Work(encoder, sounds, partial, wanted, running, named, kind, progress)
        work.show(resumed)
        (engine or _embed)(work)
        rows = sum(pq.read_metadata(shard).num_rows for shard in partial.shards)
        if not rows:
            partial.remove()
            raise nothing_usable(partial.skipped)
        check_output(out, overwrite=again)
        with atomic_write(out) as beside:
            (_write_npz if out.suffix == ".npz" else _write_parquet)(beside, partial, job)
            partial.becomes(beside)
        width = next(partial.tables(["embedding"])).schema.field("embedding").type.list_size
        partial.remove()
    return Written(rows, width, resumed, partial.skipped)


def _embed(work: Work) -> None:
    """Make the missing shards."""
    partial, sounds = work.partial, work.sounds
    first, left = partial.done, sounds[partial.done :]
    made: dict[int, ClipVectors] = {}
    refused: dict[int, Skipped] = {}

    def refuse(row: int, error: AudioError) -> None:
        if work.named(first + row):
            raise error
        refused[first + row] = left_out(left[row], error)

    def keep(enough: int) -> None:
        last = partial.done
        while last in made or last in refused:
            last += 1
        if last - partial.done >= enough:
            rows = range(partial.done, last)
            usable = [row for row in rows if row in made]
            table = rows_of([sounds[row] for row in usable], [made.pop(row) for row in usable], work.channel)
            partial.add(table, last, [refused[row] for row in rows if row in refused])

    kept = time.monotonic()
    for some in vectors(work.encoder, left, refuse, work.wanted, work.running):
        made |= {first + row: embeddings for row, embeddings in some.items()}
        late = time.monotonic() - kept > SHARD_SECONDS
        before = partial.done
        keep(1 if late else SHARD_ROWS)
        kept = time.monotonic() if partial.done > before else kept
        work.show(partial.done + len(made) + sum(row >= partial.done for row in refused))
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


def _write_parquet(out: Path, partial: Partial, job: Mapping[str, Any]) -> None:
    writer = None
    try:
        for table in partial.tables():
            if writer is None:
                metadata = {b"aasp": json.dumps({k: v for k, v in job.items() if k != "sounds"}).encode()}
                writer = pq.ParquetWriter(out, table.schema.with_metadata(metadata))
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _write_npz(out: Path, partial: Partial, _: Mapping[str, Any]) -> None:
    """Write the arrays as `numpy.savez` does, one after the other, a shard at a time."""
    schema = next(partial.tables()).schema
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name in (name for name in ("path", "channel") if name in schema.names):
            read = lambda name=name: (np.array(table[name].to_pylist()) for table in partial.tables([name]))
            _append(archive, name, read, max((array.dtype for array in read()), key=lambda one: one.itemsize))
        _append(archive, "embedding", lambda: (_matrix(t["embedding"]) for t in partial.tables(["embedding"])))
        if "frames" in schema.names:
            _append(archive, "frames", lambda: (_matrix(_flat(t["frames"])) for t in partial.tables(["frames"])))
            _append(archive, "seconds", lambda: (_flat(t["seconds"]).to_numpy() for t in partial.tables(["seconds"])))
            _append(archive, "offsets", lambda: _offsets(partial))


def _append(
    archive: zipfile.ZipFile, name: str, read: Callable[[], Iterator[np.ndarray]], dtype: np.dtype | None = None
) -> None:
    """Add an array, given in parts; they are read twice, first for the shape in the header."""
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
    """The lists of a column, concatenated."""
    return column.combine_chunks().flatten()


def _matrix(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    vectors = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return vectors.flatten().to_numpy().reshape(len(vectors), -1)


def _offsets(partial: Partial) -> Iterator[np.ndarray]:
    """Index of each file's first vector over time, and the end."""
    end = 0
    yield np.zeros(1, np.int64)
    for table in partial.tables(["seconds"]):
        counts = table["seconds"].combine_chunks().value_lengths().to_numpy()
        yield end + np.cumsum(counts, dtype=np.int64)
        end += int(counts.sum())
