"""One way in to labelled data, for every command: a benchmark, a folder of classes, or an index."""

from __future__ import annotations

from pathlib import Path

from aasp.datasets.benchmarks import get
from aasp.datasets.benchmarks.folder import open_folder
from aasp.datasets.benchmarks.index import open_index
from aasp.datasets.benchmarks.mixtures import is_recipe, open_mixtures
from aasp.datasets.labelled import LabelledSet
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
) -> LabelledSet:
    """Open what a command was pointed at: `benchmark` with `root`, or `index` with `label` and `split`.

    Args:
        benchmark: a name that `aasp benchmarks` lists, or `folder`.
        root: the folder of its copy.
        index: .csv or .parquet with a column `path`; or .csv with `paths`, to be mixed.
        label: its column of labels; `;` separates several.
        split: its column of train, valid (optional) and test; or of folds.
        group: its column of what clips have in common.
        allow_missing: take an index some of whose files are not there. A benchmark's are always told by its `missing`.
        missing_list: where all missing files of an index are listed.

    Raises:
        AaspError: neither or both were named, what belongs to one is lacking, or the data are not as they should be.
    """
    if benchmark is not None and index is not None:
        raise AaspError(f"both --benchmark {benchmark} and --index {index}; name one of them")
    if benchmark is not None:
        given = {"--label": label, "--split": split, "--group": group}
        extra = next((name for name, value in given.items() if value is not None), None)
        if extra:
            raise AaspError(f"{extra} with --benchmark {benchmark}: a benchmark knows its own; leave it out")
        return _open_benchmark(benchmark, root)
    if index is None:
        raise AaspError("no data: name --benchmark NAME --root DIR, or --index FILE --label COLUMN --split COLUMN")
    if root is not None:
        raise AaspError(f"--root {root} with --index {index}: its paths are relative to its own folder; leave it out")
    for name, value in (("--label", label), ("--split", split)):
        if value is None:
            raise AaspError(f"--index {index} without {name}; name the column")
    assert label is not None and split is not None
    opened = open_mixtures if is_recipe(index) else open_index
    return opened(index, label, split, group, allow_missing=allow_missing, missing_list=missing_list)


def _open_benchmark(name: str, root: str | Path | None) -> LabelledSet:
    benchmark = None if name == "folder" else get(name)
    if root is None:
        raise AaspError(f"--benchmark {name} without --root; name the folder of its copy")
    return open_folder(root) if benchmark is None else benchmark.open(root)
