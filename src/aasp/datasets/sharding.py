"""Write a set of sounds as tar shards with an index: `aasp shard`.

Rows are taken in order, and shards are filled one after the other. A finished shard and its part of the index are
synced before the next begins, so that a process that is killed at any moment resumes at its current shard, and the
shards are identical byte for byte.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import soundfile

from aasp.audio.io import AudioError, probe
from aasp.audio.packed import on_disk, place
from aasp.audio.priority import let_computing_first
from aasp.audio.sounds import describe, read_sound
from aasp.datasets.channel_column import COLUMN, choices
from aasp.datasets.fingerprint import contents, stamps
from aasp.datasets.index import Skipped, shared_folder
from aasp.datasets.manifest import Manifest, write_skipped
from aasp.datasets.shard_folder import (
    INDEX,
    JOB,
    SHARDS,
    SKIPPED,
    UNFINISHED,
    Written,
    bytes_of,
    check_folder,
    check_space,
    counted,
    digest,
    finished,
    written,
)
from aasp.datasets.tar_writer import BLOCK, Sample, ShardWriter
from aasp.errors import AaspError
from aasp.files import atomic_write, locked

RATE = 16_000
_FLAC_BYTES = 0.6 * 2 * RATE  # per second, approximately
_AHEAD = 8  # queued sounds per thread
_BATCH = 256
_MAX_PEAK = 2.0  # lossy files may overshoot full scale, which is clipped
_MADE = pa.schema({"path": pa.string(), "seconds": pa.float64(), "rate": pa.int32(), "channels": pa.int32()})
_MADE = _MADE.append(pa.field("source", pa.string()))
_JSON_TYPES = (
    *(pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean),
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_null),
)


@dataclass(frozen=True)
class Settings:
    """How shards are made.

    Attributes:
        size_mb: largest size of a shard in megabytes (10⁶ bytes); a larger sound gets its own shard.
        flac: re-encode as 16-bit FLAC, mono, 16 kHz; else files are copied unchanged.
        columns: columns of the manifest to include; all if omitted.
    """

    size_mb: int = 256
    flac: bool = False
    columns: tuple[str, ...] = ()


def shard(
    manifest: Manifest,
    unusable: Sequence[Skipped],
    out: Path,
    settings: Settings,
    *,
    workers: int = 2,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Written:
    """Write a set as tar shards, or resume writing them.

    Args:
        manifest: the set, in the order of the shards.
        unusable: files left out of the manifest.
        out: a folder: new, empty, or with the same shards, finished or not.
        settings: how shards are made.
        workers: threads that read and encode.
        progress: called with (rows done, all rows).

    Raises:
        AaspError: `out` contains something else or has too little space, or a column is missing or not JSON-able.
        OSError: the disk is full; complete shards are kept.
    """
    labels = _labels(manifest, settings)
    job = {"format": 1, **asdict(settings), "columns": labels, "rows": digest(manifest.table.select(["path", *labels]))}
    job |= _channels(manifest, settings) | {"contents": contents(len(manifest), manifest.sound)}
    job = json.loads(json.dumps(job))
    done = written(out)
    if done is not None and {"contents": job["contents"], **done["job"]} == job:  # earlier versions did not record it
        shutil.rmtree(out / UNFINISHED, ignore_errors=True)
        return counted(out, done)
    check_folder(out, job, done is not None)
    with ExitStack() as stack:
        work = out / UNFINISHED
        work.mkdir(parents=True, exist_ok=True)
        if not stack.enter_context(locked(work / "lock")):
            raise AaspError(f"{out}: another process is writing these shards; wait for it")
        parts = finished(out, job, lambda begin, end: stamps(map(manifest.sound, range(begin, end))))
        begin = parts[-1]["next"] if parts else 0
        check_space(out, _needed(manifest, begin, settings))
        if not parts:
            with atomic_write(work / JOB) as beside:
                beside.write_text(json.dumps(job))
        made = stack.enter_context(_Making(manifest, labels, settings, begin, workers))
        while begin < len(manifest):
            parts.append(_one_shard(out, len(parts), made, begin, settings))
            begin = parts[-1]["next"]
            progress(begin, len(manifest))
        return _finish(out, job, parts, [*unusable, *(Skipped(*one) for part in parts for one in part["skipped"])])


class _Making:
    """Samples in the order of the rows, read and encoded ahead by threads."""

    def __init__(self, manifest: Manifest, labels: list[str], settings: Settings, begin: int, workers: int) -> None:
        self.manifest, self._labels, self._flac = manifest, labels, settings.flac
        self._folder = len(shared_folder(manifest.table["path"]))
        self._pool = ThreadPoolExecutor(max(1, workers), "sharding", let_computing_first)
        self._ahead, self._most = deque[Future](), _AHEAD * max(1, workers)
        self._rows = self._noted(begin)
        self.held: tuple[int, dict[str, Any], Sample] | None = None

    @property
    def schema(self) -> pa.Schema:
        """Schema of the index."""
        fields = [*_MADE, *self.manifest.table.select(self._labels).schema]
        return pa.schema({field.name: _flat(field.type) for field in fields})

    def __enter__(self) -> _Making:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any], Sample | AudioError]]:
        """(row, its entry in the index, sample or error); first the one that was put back in `held`."""
        if self.held is not None:
            held, self.held = self.held, None
            yield held
        while True:
            for row in self._rows:
                self._ahead.append(self._pool.submit(self._sample, *row))
                if len(self._ahead) >= self._most:
                    break
            if not self._ahead:
                return
            yield self._ahead.popleft().result()

    def _noted(self, begin: int) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Each row's number, its path, and its other columns."""
        table = self.manifest.table.select(["path", *self._labels])
        for first in range(begin, table.num_rows, _BATCH):
            for row, noted in enumerate(table.slice(first, _BATCH).to_pylist(), start=first):
                path = noted.pop("path")
                yield row, path, {name: _plain(value) for name, value in noted.items()}

    def _sample(self, row: int, path: str, noted: dict[str, Any]) -> tuple[int, dict[str, Any], Sample | AudioError]:
        source = path[self._folder :]
        try:
            content, extension, facts = self._encoded(row) if self._flac else _copied(path)
        except AudioError as error:
            return row, {}, error
        noted = {"source": source, **noted}
        return row, {**facts, **noted}, Sample(content, extension, noted)

    def _encoded(self, row: int) -> tuple[bytes, str, dict[str, Any]]:
        sound = self.manifest.sound(row)
        wave = read_sound(sound, rate=RATE)
        peak = float(np.abs(wave).max(initial=0.0))
        if peak > _MAX_PEAK or 0 < peak < 2.0**-16:
            what = f"reaches {peak:.3g}, and 16-bit FLAC holds 1" if peak > 1 else "is too faint for 16-bit FLAC"
            raise AudioError(describe(sound), f"it {what}", "leave out --flac")
        content = BytesIO()
        soundfile.write(content, wave, RATE, format="FLAC", subtype="PCM_16")
        return content.getvalue(), ".flac", {"seconds": len(wave) / RATE, "rate": RATE, "channels": 1}


def _copied(path: str) -> tuple[bytes, str, dict[str, Any]]:
    """A file's bytes, its extension, and the facts in its header."""
    found = place(path)
    extension = os.path.splitext(path if found is None else found.name)[1].lower()
    with on_disk(path) as file:
        info = probe(file)
        content = Path(file).read_bytes()
    if not extension:
        raise AudioError(path, "its name has no extension, which a shard needs", "rename it, or --flac")
    return content, extension, {"seconds": info.seconds, "rate": info.rate, "channels": info.channels}


def _one_shard(out: Path, number: int, made: _Making, begin: int, settings: Settings) -> dict[str, Any]:
    """Write the shard that begins at row `begin`, and its part of the index; return its metadata."""
    name, first = f"shard-{number:06d}.tar", begin
    rows: list[dict[str, Any]] = []
    skipped: list[tuple[str, str]] = []
    written: dict[str, Any] | None
    with atomic_write(out / name) as beside:
        writer = ShardWriter(name, beside)
        for row, facts, sample in made:
            if isinstance(sample, AudioError):
                skipped.append((sample.path, sample.reason))
            elif writer.holds(sample, settings.size_mb * 10**6):
                rows.append({"path": writer.add(f"{row:09d}", sample), **facts})
            else:
                made.held = (row, facts, sample)
                break
            begin = row + 1
        written = writer.close()
    if not rows:  # the last rows of the set can't be used
        (out / name).unlink()
        written = None
    seen = stamps(map(made.manifest.sound, range(first, begin)))
    part = {"next": begin, "shard": written, "skipped": skipped, "stamps": seen}
    schema = made.schema.with_metadata({SHARDS: json.dumps(part).encode()})
    with atomic_write(out / UNFINISHED / f"{number:06d}.parquet") as beside:
        pa.parquet.write_table(pa.Table.from_pylist(rows, schema=schema), beside)
    return part


def _finish(out: Path, job: dict[str, Any], parts: list[dict[str, Any]], skipped: list[Skipped]) -> Written:
    """Join the parts of the index, list the skipped files, and remove the files for resuming."""
    tables = [pa.parquet.read_table(out / UNFINISHED / f"{number:06d}.parquet") for number in range(len(parts))]
    table = pa.concat_tables([one.replace_schema_metadata(None) for one in tables])
    if not table.num_rows:
        why = f"all {len(skipped)} skipped, the first {skipped[0].path}: {skipped[0].reason}"
        raise AaspError(f"no usable audio for {out}: {why}; repair or replace the files")
    shards = [part["shard"] for part in parts if part["shard"]]
    document = {"job": job, "shards": shards, "skipped": len(skipped)}
    if skipped:
        write_skipped(skipped, out / SKIPPED)
    with atomic_write(out / INDEX) as beside:
        pa.parquet.write_table(table.replace_schema_metadata({SHARDS: json.dumps(document).encode()}), beside)
    shutil.rmtree(out / UNFINISHED)
    return counted(out, document)


def _labels(manifest: Manifest, settings: Settings) -> list[str]:
    """The columns to include."""
    measured = {"path", "seconds", "rate", "channels"} | ({COLUMN} if settings.flac else set())
    there = [name for name in manifest.table.column_names if name not in measured]
    unknown = [name for name in settings.columns if name not in there]
    if unknown:
        held = ", ".join(there) or "none but those of the sounds"
        raise AaspError(f"{manifest.source}: no column {unknown[0]!r} to keep; it has {held}")
    labels = [name for name in there if not settings.columns or name in settings.columns]
    for name in labels:
        kind = _flat(manifest.table[name].type)
        if not any(test(kind) for test in _JSON_TYPES):
            remedy = "give those to keep with --columns"
            raise AaspError(f"{manifest.source}: column {name} is of {kind}, which JSON does not have; {remedy}")
    return labels


def _channels(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """A hash of the rows' choices of channels, if any is read that is not the mean."""
    found = choices(manifest.table, manifest.source) if settings.flac else []
    if set(found) <= {"mean"}:
        return {}
    return {"channels": digest(pa.table({COLUMN: pa.array(map(str, found), pa.string())}))}


def _needed(manifest: Manifest, begin: int, settings: Settings) -> float:
    """Approximate bytes of the rows from `begin` on."""
    if settings.flac:
        held = float(manifest.seconds[begin:].sum()) * _FLAC_BYTES
    else:
        held = float(sum(bytes_of(path) for path in manifest.table["path"][begin:].to_pylist()))
    return held + 4.5 * BLOCK * (len(manifest) - begin)  # headers, .json members, and padding of blocks


def _flat(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _plain(value: Any) -> Any:
    """A value for JSON: None for NaN and infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
