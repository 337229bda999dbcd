"""`aasp benchmarks`: the field's benchmarks, their downloads, and whether a copy matches the published set."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.table import Table

from aasp.cli.arguments import parse
from aasp.cli.facts import facts
from aasp.cli.progress import bar
from aasp.cli.skipped import described, first
from aasp.errors import AaspError
from aasp.files import check_output

if TYPE_CHECKING:
    from aasp.datasets.index import Skipped
    from aasp.datasets.labelled import LabelledSet

_SAMPLE = 100  # files that a check decodes by default
_WORKERS = 4

_OWN = {
    "folder": (
        "a directory for each class, of your own: --benchmark folder --root DIR",
        (
            "dog/*.wav, cat/*.wav …                a fifth of each class is held out for test, a tenth for valid",
            "train/dog/*.wav … test/cat/*.wav      or the parts as they lie there; valid/ is optional",
            "fold1/dog/*.wav … fold5/cat/*.wav     or folds",
        ),
    ),
    "index": (
        "a .csv, .tsv or .parquet of your own: --index FILE --label COLUMN --split COLUMN [--group COLUMN]",
        (
            "path       relative to the index's own folder, or absolute; of another name: --path-column COLUMN",
            "label      several in a row, separated by ;, make it multi-label",
            "split      train, valid (optional) and test; or folds",
            "group      what clips have in common: recording, speaker, instrument",
        ),
    ),
}


@dataclass(frozen=True)
class Benchmarks:
    """List the benchmarks, show what to download for one and how to lay it out, or check a copy of one.

    `aasp benchmarks`, `aasp benchmarks NAME`, `aasp benchmarks check NAME ROOT`. The exit code of a check is 0 if the
    copy is as published, 1 if it differs, 2 if it cannot be read as that benchmark.
    """

    words: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[NAME]")] = ()
    """Name of a benchmark; or `check NAME ROOT`."""
    decode: bool = False
    """With check: decode every file instead of a hundred."""
    missing: Path | None = None
    """With check: CSV file that lists everything missing or unreadable."""
    overwrite: bool = False
    """Replace an existing --missing file."""


def run(argv: list[str]) -> int:
    arguments = parse(Benchmarks, argv, prog="aasp benchmarks")
    words = arguments.words
    checking = words[:1] == ("check",)
    if len(words) != 3 if checking else len(words) > 1:
        raise AaspError(f"not understood: {' '.join(words)}; give nothing, NAME, or check NAME ROOT")
    if not checking and (arguments.decode or arguments.missing):
        raise AaspError("--decode and --missing belong to a check: aasp benchmarks check NAME ROOT")
    if checking:
        if arguments.missing is not None:
            check_output(arguments.missing, overwrite=arguments.overwrite)
        return _check(words[1], Path(words[2]), arguments)
    if words:
        _print_benchmark(words[0])
    else:
        _list()
    return 0


def _list() -> None:
    from aasp.datasets.benchmarks import BENCHMARKS

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("name", "classes", "clips", "metric", "parts"):
        table.add_column(column, justify="right" if column in ("classes", "clips") else "left", no_wrap=True)
    for benchmark in BENCHMARKS.values():
        clips = f"{sum(benchmark.counts.values()):,}"
        table.add_row(
            benchmark.name, f"{benchmark.classes:,}", clips, benchmark.metric, _parts(benchmark.counts, briefly=True)
        )
    for name, (what, _) in _OWN.items():
        table.add_row(name, "", "", "", what)
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 10_000)
    with console.capture() as lines:
        console.print(table)
    print("\n".join(line.rstrip() for line in lines.get().splitlines()))


def _parts(counts: Mapping[str, int], *, briefly: bool = False) -> str:
    """The parts of a set: train 1,000, test 100; or its folds."""
    if set(counts).isdisjoint(("train", "valid", "test")):
        folds = f"{len(counts)} folds"
        return folds if briefly else f"{folds} of {', '.join(f'{count:,}' for count in counts.values())}"
    return ", ".join(f"{part} {count:,}" for part, count in counts.items())


def _print_benchmark(name: str) -> None:
    from aasp.datasets.benchmarks import get

    if name in _OWN:
        what, layout = _OWN[name]
        facts(name, {"what": what, "layout": "\n".join(layout)})
        return
    benchmark = get(name)
    normalisation = benchmark.normalisation
    rows = {
        "task": benchmark.task,
        "metric": benchmark.metric,
        "classes": f"{benchmark.classes:,}",
        "clips": f"{sum(benchmark.counts.values()):,}",
        "parts": _parts(benchmark.counts),
        "clip length": f"{benchmark.clip_seconds:g} s",
        "normalisation": normalisation and "log-mel mean {:g}, deviation {:g}".format(*normalisation),
        "download": "\n".join(f"{one.what}\n  {one.url}\n  {one.licence}" for one in benchmark.downloads),
        "layout": "\n".join(benchmark.layout),
        "reference": benchmark.reference,
    }
    facts(f"{benchmark.name}: {benchmark.title}", rows)


def _check(name: str, root: Path, arguments: Benchmarks) -> int:
    from aasp.datasets.benchmarks import get
    from aasp.datasets.manifest import write_skipped

    benchmark = get(name)
    found = benchmark.open(root)
    decoded, unreadable = _decoded(found, every=arguments.decode)
    wrong = benchmark.differences(found)
    remarks = [note for note in found.notes if note not in wrong]
    lost = [*found.missing, *unreadable]
    if arguments.missing is not None:
        write_skipped(lost, arguments.missing)
    present = Counter(found.parts)
    counts = {part: present[part] for part in dict.fromkeys([*benchmark.counts, *sorted(present)])}
    facts(
        f"{benchmark.title} in {root}",
        {
            "clips": f"{len(found):,}",
            "parts": _parts(counts),
            "classes": f"{len({label for labels in found.labels for label in labels})} of {len(found.classes)} occur",
            "groups": None if found.groups is None else f"{len(set(found.groups)):,}",
            "decoded": f"{decoded:,} of {decoded if arguments.decode else _files(found):,} files",
            "note": "\n".join(remarks) or None,
            "unreadable": first(described(unreadable)),
            "differs": "\n".join(wrong) or None,
            "listed": arguments.missing,
        },
    )
    agrees = not wrong and not unreadable
    print("as published" if agrees else "not as published")
    return 0 if agrees else 1


def _files(found: LabelledSet) -> int:
    from aasp.audio.sounds import files

    return len({path for sound in found.sounds for path in files(sound)})


def _decoded(found: LabelledSet, *, every: bool) -> tuple[int, list[Skipped]]:
    """The number of decoded files, all or a sample spread over the set, and those that could not be decoded."""
    from aasp.audio.io import AudioError, read
    from aasp.audio.sounds import files
    from aasp.datasets.index import Skipped

    paths = list(dict.fromkeys(path for sound in found.sounds for path in files(sound)))
    if not every:
        paths = paths[:: -(-len(paths) // _SAMPLE)]

    def attempt(path: str) -> Skipped | None:
        try:
            read(path)
        except AudioError as error:
            return Skipped(path, error.reason)
        return None

    unreadable = []
    with bar("decoding") as show, ThreadPoolExecutor(_WORKERS) as pool:
        for done, lost in enumerate(pool.map(attempt, paths), 1):
            if lost is not None:
                unreadable.append(lost)
            show(done, len(paths))
    return len(paths), unreadable
