"""Clips that are mixed when read: an index of files with gains and offsets.

Columns: `paths`, several in a row separated by `;`, relative to the index's folder or to one above it; in the same
order `gains_db`, and `offsets_s`, by which a recording is shifted circularly: its end wraps around to its beginning.

The scores of mixtures that share a recording are correlated. Nearly all mixtures of a fold are connected in this way,
so there are no independent clusters for an interval to draw. As an approximation, the cluster of a mixture is the one
of its recordings that most mixtures contain. A note gives the share of pairs with a common recording in one cluster.
"""

from __future__ import annotations

import contextlib
import csv
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pyarrow as pa

from aasp.audio.sounds import Ingredient, Mixture, Sound, files
from aasp.datasets.benchmarks.files import read_rows
from aasp.datasets.benchmarks.index import labelled_rows
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError
from aasp.formats import percent_text

_COLUMNS = ("paths", "gains_db", "offsets_s")
_ESC = re.compile(r"\d-(\d+)-[A-Z]-\d+")  # fold-RECORDING-take-target


def is_recipe(source: str | Path) -> bool:
    """Whether an index is one of mixtures."""
    if Path(source).suffix.lower() != ".csv" or not Path(source).is_file():
        return False
    with open(source, encoding="utf-8-sig", errors="replace", newline="") as file, contextlib.suppress(csv.Error):
        return "paths" in next(csv.reader(file), [])
    return False


def open_mixtures(
    source: str | Path,
    label: str = "labels",
    split: str = "fold",
    group: str | None = None,
    *,
    allow_missing: bool = False,
    missing_list: str | Path | None = None,
) -> LabelledSet:
    """Read an index of mixtures.

    Args:
        source: the CSV file.
        label: column of labels, separated by `;`.
        split: column of train, valid (optional) and test; or of folds.
        group: column of groups; by default, the recording in each mixture that most other mixtures contain.
        allow_missing: put mixtures with missing files in the set's `missing`, instead of raising.
        missing_list: CSV file to write with all such files.

    Raises:
        AaspError: as `open_index`; also for a row whose columns differ in length or are not numbers.
    """
    rows = list(read_rows(Path(source), (*_COLUMNS, label, split)))
    if not rows:
        raise AaspError(f"index without rows: {source}; list one mixture a row")
    names = [_split(row["paths"]) for row in rows]
    above = _folder(Path(source), names)
    sounds = [_mixture(source, line, row, above) for line, row in enumerate(rows, 2)]
    found = labelled_rows(
        pa.Table.from_pylist(rows),
        source,
        sounds,
        label,
        split,
        group,
        multilabel=True,
        allow_missing=allow_missing,
        missing_list=missing_list,
    )
    recordings = [_recordings(sound) for sound in found.sounds]
    notes = list(_torn(recordings, found.parts))
    if group is not None:
        return replace(found, notes=[*found.notes, *notes])
    groups = _clusters(recordings)
    shared, inside = _pairs(recordings, groups)
    if inside < shared:
        share = f"{percent_text(inside / shared, 0)} % of the pairs of mixtures with a recording in common"
        notes.append(f"groups ({len(set(groups))}) hold {share}; intervals may be too narrow")
    return replace(found, groups=groups, notes=[*found.notes, *notes])


def _split(values: str) -> list[str]:
    return [value.strip() for value in values.split(";") if value.strip()]


def _folder(source: Path, names: Sequence[Sequence[str]]) -> Path:
    """The nearest folder, from the index's own upwards, that contains one of the named files."""
    folders = source.absolute().parents
    named = list(dict.fromkeys(name for row in names for name in row))
    found = next((folder for folder in folders if any((folder / name).is_file() for name in named[:100])), None)
    return folders[0] if found is None else found


def _mixture(source: str | Path, line: int, row: dict[str, str], folder: Path) -> Mixture:
    paths, gains, offsets = (_split(row[column]) for column in _COLUMNS)
    if not paths or not len(paths) == len(gains) == len(offsets):
        counts = f"{len(paths)} paths, {len(gains)} gains, {len(offsets)} offsets"
        raise AaspError(f"{source}, line {line}: {counts}; give one of each for every file")
    try:
        levels, delays = [float(gain) for gain in gains], [float(offset) for offset in offsets]
        if not all(map(math.isfinite, [*levels, *delays])):
            raise ValueError
    except ValueError:
        wrong = f"gains {row['gains_db']!r}, offsets {row['offsets_s']!r}"
        raise AaspError(f"{source}, line {line}: {wrong}; give numbers, in dB and in seconds") from None
    each = zip(paths, levels, delays, strict=True)
    return Mixture(tuple(Ingredient(str(folder / path), level, delay) for path, level, delay in each))


def _recordings(sound: Sound) -> tuple[str, ...]:
    """The sources of a mixture: the recordings in ESC's file names, else the files."""
    stems = ((Path(path).stem, path) for path in files(sound))
    return tuple(dict.fromkeys(esc[1] if (esc := _ESC.fullmatch(stem)) else path for stem, path in stems))


def _clusters(recordings: Sequence[tuple[str, ...]]) -> list[str]:
    uses = Counter(one for several in recordings for one in several)
    return [max(several, key=lambda one: (uses[one], one)) for several in recordings]


def _pairs(recordings: Sequence[tuple[str, ...]], groups: Sequence[str]) -> tuple[int, int]:
    """Number of pairs of mixtures with a common recording, and of those in one group."""
    members = defaultdict(list)
    for row, several in enumerate(recordings):
        for one in several:
            members[one].append(row)
    pairs = {pair for rows in members.values() for pair in combinations(rows, 2)}
    return len(pairs), sum(groups[first] == groups[second] for first, second in pairs)


def _torn(recordings: Sequence[tuple[str, ...]], parts: Sequence[str]) -> Iterator[str]:
    parts_of = defaultdict(set)
    for several, part in zip(recordings, parts, strict=True):
        for one in several:
            parts_of[one].add(part)
    torn = sorted(one for one, where in parts_of.items() if len(where) > 1)
    if torn:
        yield f"recordings in mixtures of more than one part or fold: {len(torn)}, the first {torn[0]}"
