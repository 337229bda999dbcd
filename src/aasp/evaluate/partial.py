"""Unfinished embeddings: a folder beside the final file, with complete shards of rows and a description of the job.

A run that stops in any way loses the rows since its last shard. The folder is resumed only for the same model, settings
and sounds: names and order of all, size and time of those that are done. The final file is written at the end from all
shards, and appears only when it is complete.

n sounds, r rows of a shard.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from aasp.audio.packed import is_file
from aasp.audio.sounds import Excerpt, Sound, channels_of, files
from aasp.datasets.fingerprint import stamps
from aasp.datasets.index import Skipped
from aasp.documents import parse_json, read_json
from aasp.errors import AaspError
from aasp.files import atomic_write, clear_left, locked

MODEL, SOUNDS, PRECISION = "model", "sounds", "precision"
_AUTO = "precision was auto"
_WRITTEN = "written.json"
_METADATA = b"aasp"


class Partial:
    """Shards of rows beside `out`, written in order.

    Args:
        out: the final file.
        sounds: all n, in order.
    """

    def __init__(self, out: Path, sounds: Sequence[Sound]) -> None:
        self.folder = out.with_name(f"{out.name}.part")
        self._out, self._sounds = out, sounds
        self.done = 0
        self.skipped: list[Skipped] = []
        self.shards: list[Path] = []

    @cached_property
    def _listed(self) -> str:
        return _listing(self._sounds)

    @property
    def job(self) -> dict[str, Any]:
        """The job of the shards in the folder; {} if there are none."""
        try:
            found = read_json(self.folder / "job.json", "remove it")
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def resolved(self, job: Mapping[str, Any]) -> Any:
        """The precision that "auto" was resolved to for the shards in the folder; None unless they are of this job.

        Args:
            job: as in `opened`, without a precision.
        """
        was = self.job
        precision, auto = was.pop(PRECISION, None), was.pop(_AUTO, False)
        return precision if auto and was == {**job, SOUNDS: self._listed} else None

    @contextmanager
    def opened(self, job: Mapping[str, Any], *, overwrite: bool, auto: bool = False) -> Iterator[None]:
        """Resume the folder or create it; on exit, a folder without a shard is removed.

        Args:
            job: settings by name that the rows depend on, as JSON values; the sounds are added to it.
            overwrite: delete the shards of another job.
            auto: its precision was "auto" and has been resolved.

        Raises:
            AaspError: the folder belongs to another job, or another process uses it.
        """
        job = {**job, SOUNDS: self._listed}
        if self._strange() or (self.folder.exists() and not self.folder.is_dir()):
            raise AaspError(f"{self.folder}: in the way of unfinished embeddings; move it, or choose another --out")
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / "lock") as ours:
            if not ours:
                raise AaspError(f"{self.folder}: another process is embedding to {self._out}; choose another --out")
            clear_left(self.folder, held=True)
            self._resume(job, overwrite, auto)
            try:
                yield
            finally:
                if not self.shards:
                    self.remove()

    def add(self, table: pa.Table, last: int, skipped: Sequence[Skipped]) -> None:
        """Write a shard with the rows of the next sounds up to `last`, exclusive.

        Args:
            table: rows of the usable sounds.
            last: how many sounds are done.
            skipped: the other sounds.

        Raises:
            OSError: the disk is full; earlier shards are kept.
        """
        metadata = {"last": last, "skipped": skipped, "stamps": stamps(self._sounds[self.done : last])}
        table = table.replace_schema_metadata({_METADATA: json.dumps(metadata).encode()})
        path = self.folder / f"{self.done:012d}.parquet"
        with atomic_write(path) as beside:
            pq.write_table(table, beside)
        self.shards.append(path)
        self.skipped += skipped
        self.done = last

    def becomes(self, file: Path) -> None:
        """Record that the file, made of all shards, is about to be moved to its place."""
        status = file.stat()
        (self.folder / _WRITTEN).write_text(json.dumps([status.st_dev, status.st_ino, status.st_size]))

    @property
    def became(self) -> bool:
        """Whether the final file was made of these shards, by a process that was killed before it removed them."""
        try:
            status = self._out.stat()
            written = json.loads((self.folder / _WRITTEN).read_text())
        except (OSError, ValueError):
            return False
        return written == [status.st_dev, status.st_ino, status.st_size]

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The tables of the shards in order, or some columns of them."""
        for shard in self.shards:
            table = pq.read_table(shard, columns=columns)
            if table.num_rows:
                yield table.replace_schema_metadata(None)

    def remove(self) -> None:
        """Remove the shards, once the final file exists, and the folder if nothing else is in it.

        `job.json` and the lock come last: if the process is killed here, the folder is still known to be ours.
        """
        shards = self.folder.glob("[0-9]*.parquet")
        for file in [*shards, *(self.folder / name for name in (_WRITTEN, "job.json", "lock"))]:
            file.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()
        self.shards = []

    def _strange(self) -> bool:
        """Whether the folder holds something else; a process that was killed early may have left only its lock."""
        if not self.folder.is_dir() or (self.folder / "job.json").exists():
            return False
        return any(file.name != "lock" and not file.name.startswith(".") for file in self.folder.iterdir())

    def _resume(self, job: Mapping[str, Any], overwrite: bool, auto: bool) -> None:
        shards, was = sorted(self.folder.glob("[0-9]*.parquet")), self.job
        was_auto = was.pop(_AUTO, False)
        if shards and was != job:
            if not overwrite:
                raise AaspError(self._another(was, job))
            for shard in shards:
                shard.unlink()
            shards = []
        if was != job or was_auto != auto:
            try:
                with atomic_write(self.folder / "job.json") as beside:
                    beside.write_text(json.dumps({**job, _AUTO: True} if auto else job, indent=1) + "\n")
            except OSError:
                self.remove()  # nothing is done yet
                raise
        for shard in shards:
            metadata = _metadata(shard)
            if metadata is None or int(shard.stem) != self.done:  # damaged, or after a missing one: made again
                shard.unlink()
                continue
            if metadata["stamps"] != stamps(self._sounds[self.done : metadata["last"]]):
                if not overwrite:
                    raise AaspError(self._another({SOUNDS: "as they were"}, {SOUNDS: "changed since"}))
                shard.unlink()
                continue
            self.shards.append(shard)
            self.skipped += [Skipped(*one) for one in metadata["skipped"]]
            self.done = metadata["last"]

    def _another(self, was: Mapping[str, Any], job: Mapping[str, Any]) -> str:
        names = [name for name in {**was, **job} if was.get(name) != job.get(name)]
        plain = [name for name in names if name not in (MODEL, SOUNDS)]
        changes = [f"another {MODEL}"] * (MODEL in names) + ["other sounds"] * (SOUNDS in names)
        changes += [f"{name} {was.get(name)}, not {job.get(name)}" for name in plain]
        remedy = "run the same command again, start over with --overwrite, or choose another --out"
        return f"{self.folder}: half-done embeddings of {', '.join(changes)}; {remedy}"


def _metadata(shard: Path) -> dict[str, Any] | None:
    """The metadata of a shard; None if it cannot be read."""
    try:
        return parse_json((pq.read_schema(shard).metadata or {})[_METADATA], str(shard), "remove it")
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None


def _listing(sounds: Sequence[Sound]) -> str:
    """Hash of the sounds' names, times and channels in their order."""
    digest = hashlib.sha256()
    for sound in sounds:
        times = [f"{sound.start} {sound.seconds}"] if isinstance(sound, Excerpt) else []
        digest.update("\0".join([*map(_absolute, files(sound)), *times, str(channels_of(sound)), ""]).encode())
    return f"{len(sounds):,}, {digest.hexdigest()[:16]}"


def _absolute(path: str) -> str:
    return os.path.abspath(path) if is_file(path) else path
