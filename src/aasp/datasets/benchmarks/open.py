"""Open labelled data for any command: a benchmark, a folder of classes, or an index."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from aasp.audio.channels import Channels
from aasp.datasets.benchmarks import get
from aasp.datasets.benchmarks.folder import open_folder
from aasp.datasets.benchmarks.index import open_index
from aasp.datasets.benchmarks.mixtures import is_recipe, open_mixtures
from aasp.datasets.events.strong import open_strong
from aasp.datasets.labelled import LabelledSet
from aasp.datasets.manifest import write_skipped
from aasp.errors import AaspError


def open_labelled(
    benchmark: str | None = None,
    root: str | Path | None = None,
    index: str | Path | None = None,
    label: str | None = None,
    split: str | None = None,
    group: str | None = None,
    *,
    allow_missing: bool = False,
    missing_list: str | Path | None = None,
    path_column: str | None = None,
    channels: Channels | str = "mean",
    events: str | Path | None = None,
    numbers: bool = False,
) -> LabelledSet:
    """Open the data named in a command: `benchmark` with `root`, or `index` with `label` and `split`.

    Args:
        benchmark: a name listed by `aasp benchmarks`, or `folder`.
        root: the folder of its copy.
        index: .csv, .tsv or .parquet with a column `path`; or .csv with `paths`, to be mixed.
        label: its column of labels; `;` separates several.
        split: its column of train, valid (optional) and test; or of folds.
        group: its column of groups.
        allow_missing: accept an index with missing files. Those of a benchmark are always in its `missing`.
        missing_list: CSV file to write with all missing files of an index, or all files left out of a folder of
            classes.
        path_column: the index's column of paths, if not `path`.
        channels: which channels of multi-channel files are read (`aasp.audio.channels`), unless the index's own column
            `channel` has a choice.
        events: table of events in the sounds of `root`, or of `index` with `split`.
        numbers: labels are numbers, for regression instead of classification.

    Raises:
        AaspError: neither or both were given, an argument that one needs is missing, or the data are invalid.
    """
    if numbers:
        if events is not None:
            raise AaspError(f"--task regression with --events {events}, whose labels are classes; leave one out")
        options = dict(allow_missing=allow_missing, missing_list=missing_list, path_column=path_column)
        found = open_labelled(benchmark, root, index, label, split, group, **options)  # type: ignore[arg-type]
        return replace(found.as_numbers(), classes=(label or found.name,)).choosing(channels)
    if events is not None:
        if benchmark is not None:
            raise AaspError(f"--events {events} with --benchmark {benchmark}: it has its own labels; leave one out")
        if (root is None) == (index is None):
            text = "name one of --root DIR and --index FILE --split COLUMN, where the sounds are"
            raise AaspError(f"--events {events}: {text}")
        if root is not None:
            given = {"--split": split, "--group": group, "--path-column": path_column}
            extra = next((name for name, value in given.items() if value is not None), None)
            if extra:
                raise AaspError(f"{extra} with --root {root}: it is a column of an index; leave it out")
        options = dict(allow_missing=allow_missing, missing_list=missing_list, path_column=path_column)
        return open_strong(events, root, index, label, split, group, **options).choosing(channels)  # type: ignore[arg-type]
    if benchmark is not None and index is not None:
        raise AaspError(f"both --benchmark {benchmark} and --index {index}; name one of them")
    if benchmark is not None:
        given = {"--label": label, "--split": split, "--group": group, "--path-column": path_column}
        extra = next((name for name, value in given.items() if value is not None), None)
        if extra:
            raise AaspError(f"{extra} with --benchmark {benchmark}: a benchmark defines its own; leave it out")
        return _open_benchmark(benchmark, root, missing_list).choosing(channels)
    if index is None:
        raise AaspError("no data: name --benchmark NAME --root DIR, or --index FILE --label COLUMN --split COLUMN")
    if root is not None:
        raise AaspError(f"--root {root} with --index {index}: its paths are relative to its own folder; leave it out")
    for name, value in (("--label", label), ("--split", split)):
        if value is None:
            raise AaspError(f"--index {index} without {name}; name the column")
    assert label is not None and split is not None
    if path_column is None and is_recipe(index):
        found = open_mixtures(index, label, split, group, allow_missing=allow_missing, missing_list=missing_list)
        return found.choosing(channels)
    found = open_index(
        index,
        label,
        split,
        group,
        allow_missing=allow_missing,
        missing_list=missing_list,
        path_column=path_column,
    )
    return found.choosing(channels)


def _open_benchmark(name: str, root: str | Path | None, missing_list: str | Path | None) -> LabelledSet:
    benchmark = None if name == "folder" else get(name)
    if root is None:
        raise AaspError(f"--benchmark {name} without --root; name the folder of its copy")
    if benchmark is not None:
        return benchmark.open(root)
    found = open_folder(root)
    if not found.missing:
        return found
    if missing_list is not None:
        write_skipped(found.missing, missing_list)
    where = f"listed in {missing_list}" if missing_list is not None else f"the first {found.missing[0].path}"
    return replace(found, notes=[*found.notes, f"files left out: {len(found.missing):,}, {where}"])
