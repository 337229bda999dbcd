"""An open index: its rows, its vectors, the location of each row's sound, and nearest-neighbour search."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from aasp.audio.channels import checked
from aasp.audio.remote import is_url
from aasp.audio.sounds import Excerpt, Recording, Sound
from aasp.datasets.index import is_sound
from aasp.errors import AaspError
from aasp.index.layout import Model, Settings, State, read_rows, read_state, read_vectors
from aasp.index.nearest import nearest

_TRIES = 3


class Place(NamedTuple):
    """A row's sound: a file, an address in a shard or a URL, and start and length in seconds."""

    path: str
    start: float
    seconds: float


@dataclass(frozen=True)
class Index:
    """An index as it was when opened: later additions or removals do not affect it.

    Attributes:
        folder: its folder.
        rows: a row for each vector: `path` (relative to `root`, or absolute if it is elsewhere), `start` and `seconds`,
            `hash` (SHA-256 of the file), `modified` and `size`, `source`, `channel` if channels are chosen, and the
            manifest's own columns.
        vectors: float16 (rows, width), memory-mapped, each of unit length.
        root: the folder that relative paths start from.
        state: its model and settings.
    """

    folder: Path
    rows: pa.Table
    vectors: np.ndarray
    root: str
    state: State

    @classmethod
    def open(cls, folder: str | Path, root: str | Path | None = None) -> Index:
        """Open an index, which may come from an untrusted source.

        Args:
            folder: the folder given to `aasp index --out`.
            root: the sounds' current folder, if they have moved.

        Raises:
            AaspError: there is no index, it is damaged, or it has another version.
        """
        folder = Path(folder)
        for left in reversed(range(_TRIES)):
            state = read_state(folder)
            try:
                vectors, rows = read_vectors(folder, state), read_rows(folder, state)
                break
            except AaspError:
                if not left or read_state(folder) == state:  # otherwise it was changed meanwhile
                    raise
        where = state.root if root is None else os.path.abspath(root)
        return cls(folder, rows, vectors, where, state)

    def __len__(self) -> int:
        return self.state.rows

    @property
    def model(self) -> Model:
        """The model of the vectors: `name`, a folder or a name, and `digest`, its fingerprint."""
        return self.state.model

    @property
    def settings(self) -> Settings:
        """How the vectors were made."""
        return self.state.settings

    def search(self, query: np.ndarray, count: int, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The rows nearest to each query.

        Args:
            query: float, shape (q, width) or (width,), not zero.
            count: number of rows K; all if there are fewer.
            rows: numbers of the rows to search, or a mask (rows,); all if omitted.

        Returns:
            Numbers, int64 (q, K), and cosines, float32 (q, K), the largest first.

        Raises:
            AaspError: a query has another width, is zero or not finite, there is no such row, or count is below 1.
        """
        return nearest(self.vectors, query, count, rows)

    def sound(self, row: int, *, inside: bool = False) -> Place:
        """The location of a row's sound.

        Args:
            row: its number.
            inside: for a file to be served: refuse a name that is not a sound file's, or that is outside the root.

        Raises:
            AaspError: there is no such row, or it is refused.
        """
        if not 0 <= row < len(self):
            raise AaspError(f"{self.folder}: no row {row}; there are {len(self):,}, from 0 on")
        stated = self._paths[row].as_py() or ""
        path = stated if is_url(stated) else os.path.join(self.root, stated)
        if inside and (
            not path.startswith(os.path.join(self.root, "")) or ".." in path.split("/") or not is_sound(path)
        ):
            raise AaspError(
                f"{self.folder}, row {row}: {stated} is no sound file below {self.root}; it is not given away"
            )
        return Place(path, self._starts[row].as_py() or 0.0, self._seconds[row].as_py() or 0.0)

    def recording(self, row: int) -> Sound:
        """A row's sound as it was embedded, for `aasp.audio.sounds.read_sound`."""
        path, start, seconds = self.sound(row)
        stated = self.rows["channel"][row].as_py() if "channel" in self.rows.column_names else None
        channels = checked(stated if stated is not None else self.settings.channels)
        if self.settings.window is not None:
            return Excerpt(path, start, seconds, channels)
        return path if channels == "mean" else Recording(path, channels)

    # Access to a column searches its chunks each time; with a single chunk it is direct.
    @functools.cached_property
    def _paths(self) -> pa.Array:
        return _whole(self.rows["path"])

    @functools.cached_property
    def _starts(self) -> pa.Array:
        return _whole(self.rows["start"])

    @functools.cached_property
    def _seconds(self) -> pa.Array:
        return _whole(self.rows["seconds"])


def _whole(column: pa.ChunkedArray) -> pa.Array:
    joined = column.combine_chunks()
    return joined if isinstance(joined, pa.Array) else pa.concat_arrays(joined.chunks)
