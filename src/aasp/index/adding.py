"""Add sounds to an index, without losses if the process is killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aasp.audio.channels import checked
from aasp.audio.sounds import Excerpt, Recording, Sound, channels_of, files
from aasp.datasets.channel_column import COLUMN
from aasp.datasets.index import Skipped
from aasp.datasets.manifest import WORKERS, Manifest, NothingUsable, read_skipped, write_skipped
from aasp.datasets.measured import MIN_SECONDS, measure
from aasp.datasets.tables import read_parquet
from aasp.evaluate.features import Progress, Running
from aasp.evaluate.partial import Partial
from aasp.evaluate.stream import stream
from aasp.evaluate.vectors import VectorRequest
from aasp.files import atomic_write
from aasp.index.changes import content, stamp, windows
from aasp.index.layout import (
    COLUMNS,
    SKIPPED,
    Settings,
    State,
    add,
    joined,
)
from aasp.index.listing import label_columns, whole
from aasp.model.embeddings import Embedder
from aasp.model.readout import Key

CHUNK = 4_096  # sounds embedded and added together
FILES = 64  # files measured together
_CHANGED = "changed while it was read; give the same command again"


@dataclass
class Done:
    """Counts of a call: files added, files among them that had changed, files dropped; rows in the index now; what was
    skipped, by this call or, of files that stay as they are, by an earlier one."""

    added: int = 0
    changed: int = 0
    gone: int = 0
    rows: int = 0
    width: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def keys_of(settings: Settings) -> list[Key] | None:
    """The (layer, pooling) pairs of an index's vectors; None for the model's default vector."""
    if settings.vector == "own":
        return None
    pairs = (pair.split(":", 1) for pair in settings.vector.split())
    return [(int(layer), pooling) for layer, pooling in pairs]  # type: ignore[misc]


@dataclass
class Adding:
    """Embeds files and adds them to an index, a few thousand sounds at a time.

    The next sounds are first listed in `adding-000001.parquet`, then embedded by `aasp.evaluate.stream` into a file
    beside it, and then added: after a kill, `finish` continues from there, even if the files have changed since.

    Attributes:
        folder: the index's folder.
        encoder: the model.
        running: precision, batches and threads.
        done: the counts, which are updated.
    """

    folder: Path
    encoder: Embedder
    running: Running
    done: Done

    def embed(self, state: State, found: pa.Table, progress: Progress | None) -> State:
        """Embed and add files, a few thousand sounds at a time."""
        finished, total = 0, found.num_rows
        for count, plan in self._plans(state, found):
            if plan.num_rows:
                with atomic_write(self._plan(state)) as beside:
                    pq.write_table(plan, beside)
                state = self.finish(state, _part(progress, finished, count, total))
            finished += count
            if progress is not None:
                progress(finished, total)
        return state

    def finish(self, state: State, progress: Progress | None = None) -> State:
        """Embed and add the listed sounds; leftovers of an earlier addition are removed."""
        ours = self._plan(state)
        for file in self.folder.glob("adding-*"):
            if file.is_file() and not file.name.startswith(ours.stem):
                file.unlink()
        if not ours.exists():
            return state
        plan = read_parquet(str(ours), "list of what is to be added")
        sounds = [_sound(state, row) for row in plan.to_pylist()]
        out, skipped = ours.with_suffix(".embedded.parquet"), list[Skipped]()
        if Partial(out, []).folder.exists() or not out.exists():
            try:
                skipped = stream(
                    self.encoder,
                    sounds,
                    out,
                    VectorRequest(keys_of(state.settings)),
                    channel=True,
                    running=self.running,
                    named=lambda row: False,
                    overwrite=True,
                    progress=progress,
                ).skipped
            except NothingUsable as error:
                skipped = error.skipped
        self.done.skipped += skipped
        if skipped:  # moments of files that are added now, and so are not read again after a kill
            listed = self.folder / SKIPPED
            write_skipped(list(dict.fromkeys([*read_skipped(listed), *skipped])), listed)
        if out.exists():
            state = self._add(state, plan, sounds, out)
        for file in (ours, out):
            file.unlink(missing_ok=True)
        return state

    def _add(self, state: State, plan: pa.Table, sounds: list[Sound], out: Path) -> State:
        made = pq.read_table(out)
        vectors = made["embedding"].combine_chunks()
        x = vectors.flatten().to_numpy().reshape(len(made), -1)
        length = np.linalg.norm(x, axis=1)
        numbers = iter(range(len(sounds)))
        starts = made["start"].to_pylist() if "start" in made.column_names else [0.0] * len(made)
        keys = zip(made["path"].to_pylist(), map(str, made[COLUMN].to_pylist()), starts, strict=True)
        at = [next(number for number in numbers if _key(sounds[number]) == key) for key in keys]
        usable = np.isfinite(length) & (length > 0)
        paths, sizes = plan["path"].to_pylist(), plan["size"].to_pylist()
        times = plan["modified"].cast(pa.int64()).to_pylist()
        good: dict[str, bool] = {}
        for row, number in enumerate(at):
            path = paths[number]
            if path not in good:
                now = stamp(whole(path, state.root))
                good[path] = (now.size, now.modified) == (sizes[number], times[number])
                self.done.added += good[path]
                if not good[path]:
                    self.done.skipped.append(Skipped(files(sounds[number])[0], _CHANGED))
            if not usable[row]:
                self.done.skipped.append(Skipped(files(sounds[number])[0], "its vector is zero or not finite"))
            usable[row] &= good[path]
        if not usable.any():
            return state
        chosen = np.flatnonzero(usable)
        rows = plan.take(pa.array([at[row] for row in chosen.tolist()], pa.int64()))
        return add(self.folder, state, x[chosen] / length[chosen, None], rows)

    def _plan(self, state: State) -> Path:
        return self.folder / f"adding-{state.number:06d}.parquet"

    def _plans(self, state: State, found: pa.Table) -> Iterator[tuple[int, pa.Table]]:
        """The number of files in each part and their rows, enough rows to be embedded together."""
        waiting: list[pa.Table] = []
        count = 0
        for begin in range(0, found.num_rows, FILES):
            some = found.slice(begin, FILES)
            count += len(some)
            waiting.append(self._rows(state, some))
            if sum(map(len, waiting)) >= CHUNK or begin + FILES >= found.num_rows:
                *first, last = _split(joined(waiting))
                yield from ((0, part) for part in first)
                yield count, last
                waiting, count = [], 0

    def _rows(self, state: State, found: pa.Table) -> pa.Table:
        """The rows of files: one for each channel and window, if these are requested."""
        settings = state.settings
        places = [whole(path, state.root) if path else path for path in found["path"].to_pylist()]
        place = found.column_names.index("path")
        stamps = {path: stamp(path) for path in places}  # before hashing: a change in between is found next time
        table, skipped = measure(
            found.set_column(place, "path", pa.array(places, pa.string())), WORKERS, False, False, None
        )  # a stated length may be wrong: the rest of the recording would be left out
        self.done.skipped += skipped
        if settings.channels != "mean":
            table = Manifest(table, str(self.folder)).choosing(settings.channels).table
        hashes = {path: content(path) for path in dict.fromkeys(table["path"].to_pylist())}
        moments = [
            (row, *moment)
            for row, seconds in enumerate(table["seconds"].to_pylist())
            for moment in windows(seconds, settings.window, settings.hop, MIN_SECONDS)
        ]
        of = table.take(pa.array([row for row, _, _ in moments], pa.int64()))
        paths = of["path"].to_pylist()
        names = dict(zip(places, found["path"].to_pylist(), strict=True))
        columns = {
            "path": [names[path] for path in paths],
            "start": [start for _, start, _ in moments],
            "seconds": [seconds for _, _, seconds in moments],
            "hash": [hashes[path] for path in paths],
            "modified": [stamps[path].modified for path in paths],
            "size": [stamps[path].size for path in paths],
            "source": of["source"].to_pylist(),
        }
        made = pa.table({name: pa.array(columns[name], kind) for name, kind in COLUMNS.items()})
        extra = [COLUMN] if COLUMN in of.column_names else []
        for name in [*extra, *label_columns(of)]:
            made = made.append_column(name, of[name])
        return made


def _split(rows: pa.Table) -> Iterator[pa.Table]:
    """Rows in parts of a few thousand; those of a file stay together, since after a kill it is not read again."""
    paths, begin = rows["path"].to_pylist(), 0
    for end in range(1, len(paths)):
        if end - begin >= CHUNK and paths[end] != paths[end - 1]:
            yield rows.slice(begin, end - begin)
            begin = end
    yield rows.slice(begin)


def _sound(state: State, row: dict) -> Sound:
    """The sound to embed for a row."""
    path = whole(row["path"], state.root)
    channels = checked(row.get(COLUMN) or "mean")
    if state.settings.window is not None:
        return Excerpt(path, row["start"], row["seconds"], channels)
    return path if channels == "mean" else Recording(path, channels)


def _key(sound: Sound) -> tuple[str, str, float]:
    return files(sound)[0], str(channels_of(sound)), sound.start if isinstance(sound, Excerpt) else 0.0


def _part(progress: Progress | None, finished: int, count: int, total: int) -> Progress | None:
    """Progress of a part, in sounds, as progress of the whole, in files."""
    if progress is None:
        return None
    show = progress
    return lambda done, of: show(finished + count * done // max(of, 1), total)
