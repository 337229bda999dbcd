"""`aasp search`: the rows of an index nearest to a sound, as a table, JSON, CSV or labels for Audacity."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tyro

from aasp.audio.packed import file_of
from aasp.audio.remote import is_url
from aasp.cli.arguments import parse, set_threads
from aasp.cli.inputs import line
from aasp.cli.rows import listed
from aasp.cli.running import DeviceOptions
from aasp.errors import AaspError

if TYPE_CHECKING:
    from aasp.index import Index
    from aasp.model.audio_encoder import AudioEncoder


@dataclass(frozen=True, kw_only=True)
class Search(DeviceOptions):
    """Find the sounds of an index that are nearest to a sound file, or to one of its rows.

    Every row is compared: the result is exact. Similarities are cosines. A file's vector is made with the index's own
    settings; if the index has a row per channel, the nearest of the file's channels counts.
    """

    index: tyro.conf.Positional[Path]
    """Folder that `aasp index` made."""
    query: tyro.conf.Positional[str]
    """A sound file, or the number of a row, which is then excluded from the results."""
    like: tuple[str, ...] = ()
    """More files or rows as positive examples: the query moves towards them."""
    unlike: tuple[str, ...] = ()
    """Files or rows as negative examples: the query moves away from them. Named rows are excluded from the results."""
    count: int = 10
    """Maximum number of results."""
    within: str | None = None
    """Only this recording, or those below this folder."""
    frames: bool = False
    """Search in the recordings that are found: their windows nearest to the query, as long as the query, but at most as
    the model's window."""
    format: Literal["table", "json", "csv", "audacity"] = "table"
    """Output format; audacity: a label track of the windows of one recording."""
    root: Path | None = None
    """Folder of the sounds, if they have moved since they were indexed."""
    threads: int | None = None
    """CPU threads of torch; one per core by default."""


def run(argv: list[str]) -> int:
    arguments = parse(Search, argv, prog="aasp search")
    if arguments.count < 1:
        raise AaspError(f"--count is {arguments.count}; give a number of at least 1")
    set_threads(arguments.threads)
    from aasp.index import Index
    from aasp.index.query import described, rocchio

    index = Index.open(arguments.index, arguments.root)
    if not len(index):
        better = line("index", "recordings", "--out", str(arguments.index))
        raise AaspError(f"{arguments.index}: an index without rows; add some by {better}")
    if arguments.frames and index.settings.window is not None:
        detail = f"--frames, and the index is of moments of {index.settings.window:g} s"
        raise AaspError(f"{detail}; leave it out")
    queries = _Queries(index, arguments)
    own = queries.vectors([arguments.query])
    like, unlike = queries.vectors(arguments.like), queries.vectors(arguments.unlike)
    query = np.stack([rocchio(one, like, unlike) for one in own])
    most = arguments.count + len(queries.rows)  # the named rows are removed afterwards
    numbers, similarities = index.search(query, most, _within(index, arguments.within))
    best: dict[int, float] = {}  # of the query's channels
    for row, one in zip(numbers.ravel().tolist(), similarities.ravel().tolist(), strict=True):
        if row not in queries.rows:
            best[row] = max(one, best.get(row, one))
    if not best:
        raise AaspError(f"{arguments.index}: nothing left to search; there is no other row")
    found = [
        described(index, row, similarity) | {"path": index.sound(row).path}
        for row, similarity in sorted(best.items(), key=lambda pair: -pair[1])[: arguments.count]
    ]
    if arguments.frames:
        found = queries.moments(found, query)
    if arguments.format == "audacity":
        _audacity(found)
    else:
        listed(found, arguments.format)
    return 0


@dataclass
class _Queries:
    """Files and rows as vectors (C, D), C channels of a file if the index has a row per channel; the model is loaded
    when the first file is named."""

    index: Index
    arguments: Search

    def __post_init__(self) -> None:
        self.rows: list[int] = []

    @cached_property
    def encoder(self) -> AudioEncoder:
        from aasp.index.query import model_of

        return model_of(self.index, self.arguments.place())

    def vectors(self, words: Sequence[str]) -> np.ndarray:
        from aasp.index.query import channels_in, embed

        made = []
        for word in words:
            if word.isdecimal() and not _is_sound(word):
                row = int(word)
                self.index.sound(row)
                self.rows.append(row)
                made.append(np.asarray(self.index.vectors[row : row + 1], np.float32))
                continue
            if os.path.isdir(word):
                raise AaspError(f"a folder where a sound file was meant: {word}; name a file, or the number of a row")
            if not _is_sound(word):
                raise AaspError(f"no such file: {word}; name a sound file, or a row from 0 to {len(self.index) - 1}")
            made.append(embed(self.index, self.encoder, channels_in(self.index, word)))
        return np.concatenate(made) if made else np.zeros((0, self.index.vectors.shape[1]), np.float32)

    def moments(self, found: list[dict[str, Any]], query: np.ndarray) -> list[dict[str, Any]]:
        """The nearest windows of the recordings that were found."""
        from aasp.audio.sounds import duration
        from aasp.index.query import moments

        word = self.arguments.query
        own = duration(word) if _is_sound(word) else self.index.sound(int(word)).seconds
        window = min(own, self.encoder.config.window_seconds)
        every = []
        for one in found:
            spans, similarities = moments(self.index, self.encoder, one["row"], query, window)
            for (start, seconds), similarity in zip(spans, similarities.tolist(), strict=True):
                every.append(one | {"start": start, "seconds": seconds, "similarity": similarity})
        every.sort(key=lambda one: -one["similarity"])
        return every[: self.arguments.count]


def _is_sound(word: str) -> bool:
    """Whether a word is a file that exists, the address of a sound in one, or a URL."""
    return is_url(word) or os.path.exists(file_of(word))


def _within(index: Index, place: str | None) -> np.ndarray | None:
    """Numbers of the rows to search; None for all."""
    if place is None:
        return None
    wanted = [place.rstrip("/"), os.path.abspath(place)]
    inside = lambda path: any(path == one or path.startswith(f"{one}/") for one in wanted)
    stated = index.rows["path"].to_pylist()
    found = [row for row, path in enumerate(stated) if inside(path) or inside(os.path.join(index.root, path))]
    if not found:
        raise AaspError(f"--within {place}: no row is there; name a recording or a folder, as in {stated[0]}")
    return np.array(found)


def _audacity(found: list[dict[str, Any]]) -> None:
    """Start, end and text, separated by tabs, in order of time."""
    paths = sorted({one["path"] for one in found})
    if len(paths) > 1:
        detail = f"--format audacity: results of {len(paths)} recordings, and a label track is of one"
        raise AaspError(f"{detail}; choose one by --within {paths[0]}")
    for one in sorted(found, key=lambda one: one["start"]):
        print(f"{one['start']:.6f}\t{one['start'] + one['seconds']:.6f}\t{one['similarity']:.4f}")
