"""A folder of tar shards: its metadata, and how far it is written.

While shards are written, `.unfinished` has the settings, and a part of the index for each complete shard. A folder is
finished once it has an index.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from aasp.audio.packed import place
from aasp.errors import AaspError
from aasp.files import check_output, clear_left

INDEX = "index.parquet"
"""The addresses of the samples: a manifest like any other."""
SHARDS = b"aasp.shards"
"""Key in its metadata, as JSON: name, samples, bytes and SHA-256 of each shard, and the settings."""
UNFINISHED = ".unfinished"
SKIPPED = "skipped.csv"
JOB = "job.json"

# Also as `files.hidden` names what is being written, on any machine.
_SHARD = re.compile(r"\.?shard-\d{6}(\.(\w+\.)?\d+\.tmp)?\.tar|\.(index|skipped)\.(\w+\.)?\d+\.tmp\.(parquet|csv)")


@dataclass(frozen=True)
class Written:
    """Totals of a finished folder."""

    shards: int
    samples: int
    bytes: int
    seconds: float
    skipped: int


def counted(out: Path, document: dict[str, Any]) -> Written:
    seconds = pa.parquet.read_table(out / INDEX, columns=["seconds"])["seconds"].to_numpy()
    shards = document["shards"]
    held = sum(one["bytes"] for one in shards)
    return Written(len(shards), len(seconds), held, float(seconds.sum()), document["skipped"])


def digest(table: pa.Table) -> str:
    """Hash of the rows of a table, independent of how it is divided into chunks."""
    found = hashlib.sha256()

    class Sink:
        closed = False
        write, flush = staticmethod(found.update), staticmethod(lambda: None)

    with pa.ipc.new_stream(pa.PythonFile(Sink(), mode="w"), table.schema.remove_metadata()) as stream:
        stream.write_table(table.combine_chunks(), max_chunksize=65_536)
    return found.hexdigest()


def written(out: Path) -> dict[str, Any] | None:
    """The metadata of a finished folder; None if it has no index of shards that we wrote."""
    try:
        found = json.loads((pa.parquet.read_schema(out / INDEX).metadata or {})[SHARDS])
    except (OSError, ValueError, KeyError, RecursionError, pa.ArrowException):
        return None
    return found if _is_ours(found) else None


def _is_ours(document: Any) -> bool:
    """Whether metadata has the types that are read from it: a stranger may have written the file."""
    if not isinstance(document, dict) or not isinstance(document.get("job"), dict):
        return False
    shards = document.get("shards")
    if not isinstance(shards, list) or not isinstance(document.get("skipped"), int):
        return False
    kinds = {"name": str, "samples": int, "bytes": int, "sha256": str}
    return all(
        isinstance(one, dict)
        and all(isinstance(one.get(name), kind) for name, kind in kinds.items())
        and "\0" not in one["name"]
        for one in shards
    )


def changed(out: Path) -> list[str]:
    """A line for each shard of a finished folder whose content does not match the index."""
    problems = []
    for one in (written(out) or {}).get("shards", []):
        path = out / os.path.basename(one["name"])
        with suppress(OSError), path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != one["sha256"]:
                problems.append(f"{path}: its SHA-256 is not the one in {INDEX}; fetch it again")
    return problems


def check_folder(out: Path, job: dict[str, Any], finished: bool) -> None:
    """Check that a folder contains nothing but the same shards, unfinished."""
    if not out.exists():
        check_output(out)
        return
    if not out.is_dir():
        raise AaspError(f"output is a file: {out}; name a folder")
    if finished:
        text = "shards of another set, of sounds that have changed since, or made with other settings"
        raise AaspError(f"{out}: {text}; choose another --out")
    clear_left(out)
    names = set(os.listdir(out))
    known = {UNFINISHED, SKIPPED} if UNFINISHED in names else set()
    strange = sorted(name for name in names - known if not (known and _SHARD.fullmatch(name)))
    if strange:
        raise AaspError(f"{out}: not empty, it holds {strange[0]}; choose another --out")
    try:
        was = json.loads((out / UNFINISHED / JOB).read_text())
    except (OSError, ValueError):
        return
    was = {"contents": job["contents"], **was}  # earlier versions did not record it
    names = {name for name in {**was, **job} if was.get(name) != job.get(name)}
    if names:
        options = (f"--{name.replace('_', '-')}" for name in sorted(names - {"rows", "contents"}))
        text = ", ".join([*options, *["sounds or labels"] * bool(names & {"rows", "contents"})])
        raise AaspError(f"{out}: unfinished shards with other {text}; run that command again, or choose another --out")


def finished(out: Path, job: dict[str, Any], stamp: Callable[[int, int], str]) -> list[dict[str, Any]]:
    """The metadata of complete shards; all other files are removed, to be written again.

    Args:
        out: the folder.
        job: what is written.
        stamp: `aasp.datasets.fingerprint.stamps` of the rows from one to another.

    Raises:
        AaspError: the sounds of a complete shard have changed since.
    """
    parts: list[dict[str, Any]] = []
    whole, begin = {UNFINISHED, SKIPPED}, 0
    while (part := _part(out, len(parts))) is not None and (out / UNFINISHED / JOB).exists():
        now, begin = stamp(begin, part["next"]), part["next"]
        if part.get("stamps", now) != now:
            text = f"sounds of shard {len(parts)} have changed since it was written"
            raise AaspError(f"{out}: {text}; choose another --out, or remove this folder")
        whole.add(part["shard"]["name"] if part["shard"] else "")
        parts.append(part)
    for name in set(os.listdir(out)) - whole:
        (out / name).unlink()
    kept = {JOB, "lock", *(f"{number:06d}.parquet" for number in range(len(parts)))}
    for name in set(os.listdir(out / UNFINISHED)) - kept:
        (out / UNFINISHED / name).unlink()
    return parts


def _part(out: Path, number: int) -> dict[str, Any] | None:
    """The metadata of a part of the index, if its shard exists."""
    try:
        schema = pa.parquet.read_schema(out / UNFINISHED / f"{number:06d}.parquet")
        part = json.loads((schema.metadata or {})[SHARDS])
        shard = part["shard"]
        return part if shard is None or (out / shard["name"]).stat().st_size == shard["bytes"] else None
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None


def check_space(out: Path, needed: float) -> None:
    """Check that `needed` bytes fit on the disk.

    Raises:
        AaspError: they don't.
    """
    free = shutil.disk_usage(out).free
    if needed > free:
        text = f"about {needed / 1e9:,.2f} GB are needed, {free / 1e9:,.2f} GB are free"
        raise AaspError(f"{out}: {text}; free some space, write elsewhere, or write a part of the set")


def bytes_of(path: str) -> int:
    """Size of a sound's file; 0 if unknown: for rows of Parquet files and remote files."""
    found = place(path)
    if found is not None:
        return found.size or 0
    with suppress(OSError):
        return os.stat(path).st_size
    return 0
