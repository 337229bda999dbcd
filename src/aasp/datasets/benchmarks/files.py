"""Shared by the readers of published layouts: rows of a list, existing files, and the resulting set."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from aasp.audio.io import EXTENSIONS
from aasp.audio.sounds import Excerpt, Sound
from aasp.datasets.index import Skipped, hidden_note, is_hidden
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError


class Clip(NamedTuple):
    """A clip in a benchmark's lists.

    Attributes:
        path: its published path; the file may be in any supported format.
        labels: its classes.
        part: train, valid or test; or its fold.
        group: its group; None: unknown.
        stretch: start and length in seconds, if it is an excerpt of the file.
    """

    path: str
    labels: tuple[str, ...]
    part: str
    group: str | None = None
    stretch: tuple[float, float] | None = None

    @property
    def sound(self) -> Sound:
        return self.path if self.stretch is None else Excerpt(self.path, *self.stretch)


class Listing:
    """The existing files. Each folder is listed once, so that a million files are not looked up one by one.

    Attributes:
        hidden: hidden sound files that `sounds` left out, and hidden folders that `names` did.
    """

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}
        self._sounds: dict[str, dict[str, str]] = {}
        self.hidden: list[str] = []

    def names(self, folder: str | Path) -> frozenset[str]:
        """The visible entries of a folder; empty if there is no such folder."""
        folder = os.fspath(folder)
        passed = sorted(filter(is_hidden, self._listed(folder)))
        self.hidden += [os.path.join(folder, name, "") for name in passed if os.path.isdir(os.path.join(folder, name))]
        return self._listed(folder).difference(passed)

    def sounds(self, folder: str | Path) -> dict[str, str]:
        """Sound files of a folder, sorted: the name of each by its stem."""
        folder = os.fspath(folder)
        if folder not in self._sounds:
            # Sets are published as .wav: files of the same stem in another format are ignored beside it.
            names = sorted(self._listed(folder), key=lambda name: (name.endswith(".wav"), name))
            stems = [(*os.path.splitext(name), name) for name in names]
            sounds = [(stem, name) for stem, suffix, name in stems if suffix.lower() in EXTENSIONS]
            self.hidden += [os.path.join(folder, name) for _, name in sounds if is_hidden(name)]
            by_stem = {stem: name for stem, name in sounds if not is_hidden(name)}
            self._sounds[folder] = dict(sorted(by_stem.items()))
        return self._sounds[folder]

    def has(self, path: str) -> bool:
        """Whether exactly this file exists."""
        folder, name = os.path.split(path)
        return name in self._listed(folder)

    def find(self, path: str) -> str | None:
        """The sound file with the stem of `path`, since a copy may be stored as FLAC; None if there is none."""
        folder, name = os.path.split(path)
        found = self.sounds(folder).get(os.path.splitext(name)[0])
        return None if found is None else os.path.join(folder, found)

    def _listed(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder))
            except (FileNotFoundError, NotADirectoryError):
                self._names[folder] = frozenset()
        return self._names[folder]


def draw(text: str) -> float:
    """A pseudo-random number in [0, 1) from a text, the same on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Rows of a published CSV file, one per clip, each with at least the requested columns.

    Raises:
        AaspError: there is no such file, a column is missing, or a line has too few or too many values.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            names = next(reader, [])
            absent = [name for name in columns if name not in names]
            if absent:
                raise AaspError(f"{path}: no column {absent[0]}; it has {', '.join(names) or 'none'}: fetch it again")
            for values in reader:
                if len(values) != len(names):
                    count = f"{len(values)} values in {len(names)} columns"
                    raise AaspError(f"{path}, line {reader.line_num}: {count}; fetch it again")
                yield dict(zip(names, values, strict=True))
    except FileNotFoundError:
        raise AaspError(f"no such file: {path}; `aasp benchmarks NAME` shows where it belongs") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise AaspError(f"{path}: not a CSV file ({error}); fetch it again") from None


def labelled_set(
    name: str,
    root: Path,
    clips: Iterable[Clip],
    classes: Sequence[str],
    *,
    multilabel: bool = False,
    notes: Sequence[str] = (),
    listing: Listing | None = None,
) -> LabelledSet:
    """The set of the clips whose files exist; the others are in its `missing`.

    Args:
        name: of the benchmark.
        root: its folder.
        clips: clips in its lists.
        classes: all of them, in the official order.
        multilabel: whether a clip may have several labels, or none.
        notes: other remarks.
        listing: the folders that have been listed already.

    Raises:
        AaspError: none of the files exists.
    """
    listing = listing or Listing()
    kept: list[Clip] = []
    missing: list[Skipped] = []
    for clip in clips:
        path = listing.find(clip.path)
        if path is None:
            missing.append(Skipped(clip.path, "no such file"))
        else:
            kept.append(clip._replace(path=path))
    if not kept:
        first = f"all {len(missing):,} clips are missing, the first {missing[0].path}" if missing else "no clips"
        raise AaspError(f"{name}: {first}; `aasp benchmarks {name}` shows how {root} should be laid out")
    return LabelledSet(
        name=name,
        source=str(root),
        sounds=[clip.sound for clip in kept],
        labels=[clip.labels for clip in kept],
        parts=[clip.part for clip in kept],
        classes=list(classes),
        groups=None if any(clip.group is None for clip in kept) else [str(clip.group) for clip in kept],
        multilabel=multilabel,
        missing=missing,
        notes=[*notes, *hidden_note(listing.hidden)],
    )
