"""Bring an index up to date: embed new and changed sounds, and drop those that are gone."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence, Set
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from aasp.audio.remote import is_url, located
from aasp.datasets.index import Skipped
from aasp.datasets.manifest import read_skipped
from aasp.errors import AaspError
from aasp.evaluate.features import Progress, Running, nothing_usable
from aasp.files import clear_left, locked
from aasp.index.adding import Adding, Done
from aasp.index.changes import changes
from aasp.index.layout import (
    SKIPPED,
    STATE,
    Model,
    Settings,
    State,
    keep,
    read_rows,
    read_state,
    write_state,
)
from aasp.index.listing import listing, root_of, whole
from aasp.model.embeddings import Embedder

_PART = re.compile(r"( at [^ ]+ s)?( channel \d+)?$")  # as `aasp.audio.sounds.describe` names parts of a file


def update(
    folder: Path,
    encoder: Embedder,
    model: Model,
    settings: Settings,
    sources: Sequence[str],
    *,
    running: Running,
    path_column: str | None = None,
    progress: Progress | None = None,
) -> Done:
    """Make an index, or bring it up to date with folders, manifests or shards.

    Args:
        folder: the index's folder.
        encoder: the model.
        model: its name and digest.
        settings: how to make the vectors; the precision is that of `running`.
        sources: folders, searched recursively, .csv, .tsv or .parquet manifests, tar shards, URLs of these.
        running: batches and threads.
        path_column: the manifests' column of paths.
        progress: called with (files done, files to embed).

    Raises:
        AaspError: the index has another model or other settings, another process is using it, or nothing is usable.
        OSError: the disk is full; finished work is kept.
    """
    if folder.is_dir() and not (folder / STATE).exists() and any(name != "lock" for name in os.listdir(folder)):
        raise AaspError(f"{folder}: holds other files and no index; choose another --out")
    if folder.exists() and not folder.is_dir():
        raise AaspError(f"{folder}: a file, and an index is a folder; choose another --out")
    new = not (folder / STATE).exists()
    state = State(model, settings, root_of(sources[0])) if new else read_state(folder)
    _check_same(folder, state, model, settings)
    skipped: list[Skipped] = []
    done = Done(skipped=skipped)
    found = listing(sources, state.root, path_column, skipped, done.notes)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock") as ours:
        if not ours:
            raise AaspError(f"{folder}: another process is at this index; wait for it")
        if new and (folder / STATE).exists():
            raise AaspError(f"{folder}: made by another process meanwhile; give the same command again to add to it")
        clear_left(folder, held=True)
        if new:
            write_state(folder, state)
        work = Adding(folder, encoder, replace(running, precision=settings.precision), done)
        state = work.finish(read_state(folder))
        rows, before = read_rows(folder, state), read_skipped(folder / SKIPPED)
        names = [name if is_url(name) else os.path.abspath(name) for name in map(located, sources)]
        todo = changes(rows, found, state.root, names)
        done.changed, done.gone = todo.changed, todo.gone
        known = set(skipped)
        asked = {whole(path, state.root) for path in found["path"].to_pylist()}
        skipped += [one for one in _still_missing(before, todo.rows, state.root, asked, names) if one not in known]
        if len(todo.kept) < state.rows or not todo.rows.equals(rows):
            state = keep(folder, state, todo.kept, todo.rows)
        state = work.embed(state, found.take(pa.array(todo.new, pa.int64())), progress)
        if len(state.parts) > 1:
            state = keep(folder, state, np.arange(state.rows), read_rows(folder, state))
        if new and not state.rows:
            for name in (STATE, SKIPPED, "lock"):
                (folder / name).unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()
            if not found.num_rows:
                raise AaspError(f"{', '.join(sources)}: no audio, so there is nothing to index; name other sounds")
            raise nothing_usable(skipped)
    done.rows, done.width = state.rows, state.width
    return done


def _still_missing(
    before: Sequence[Skipped], kept: pa.Table, root: str, asked: Set[str], sources: Sequence[str]
) -> list[Skipped]:
    """What was left out earlier and is not read again now.

    These are moments and channels of files that stay as they are, and files that are there, but neither asked for nor
    below one of the sources.
    """
    files = {whole(path, root) for path in kept["path"].to_pylist()}

    def elsewhere(path: str) -> bool:
        below = any(path == source or path.startswith(f"{source}{os.sep}") for source in sources)
        return path not in asked and not below and os.path.exists(path)

    parts = [(one, _PART.sub("", one.path)) for one in before]
    return [one for one, path in parts if one.path in files or path in files or elsewhere(path)]


def _check_same(folder: Path, state: State, model: Model, settings: Settings) -> None:
    """Refuse to continue an index with another model or other settings."""
    if state.model.digest != model.digest:
        text = f"made by {state.model.name} ({state.model.digest[:12]}), not by {model.name} ({model.digest[:12]})"
        raise AaspError(f"{folder}: {text}; name that model, or choose another --out")
    for name in ("vector", "channels", "window", "hop", "precision"):
        was, now = getattr(state.settings, name), getattr(settings, name)
        if was != now:
            raise AaspError(
                f"{folder}: made with {name} {was}, not {now}; leave the option out, or choose another --out"
            )
