"""Results in the papers' layout: a row for each system, a column for each benchmark, a table for each protocol.

What may not be averaged stays apart: a row is one model under one recipe, a column one benchmark and metric, a table
one protocol. Where several recipes of one name, models of one name or versions of one benchmark come together, the rows
part and say in what they differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from aasp.datasets.benchmarks import BENCHMARKS
from aasp.datasets.parts import PARTS
from aasp.evaluate.records import Record
from aasp.evaluate.summary import Summary, summarise, versions
from aasp.report.published import Peer, peers

TITLES = {
    "linear": "Linear evaluation",
    "knn": "Nearest neighbours",
    "finetune": "Fine-tuning",
    "from scratch": "Training from scratch",
}
"""Titles of the tables, in their order; other protocols follow under their own names."""
OWN = "the benchmark's"
"""What stands for a recipe that is named after its benchmark, so that a system's benchmarks share a row."""


@dataclass(frozen=True)
class Column:
    """A benchmark scored by one metric."""

    benchmark: str
    metric: str

    @property
    def title(self) -> str:
        """As written in papers, with the metric where it isn't accuracy."""
        known = BENCHMARKS.get(self.benchmark)
        name = known.title if known else self.benchmark
        return name if self.metric == "accuracy" else f"{name} ({self.metric})"


@dataclass(frozen=True)
class Cell:
    """A result of ours.

    Attributes:
        summary: its numbers.
        notes: numbers of the table's notes that hold for it.
        show_clips: whether others of the column scored another number of clips.
    """

    summary: Summary
    notes: tuple[int, ...]
    show_clips: bool


@dataclass(frozen=True)
class Row:
    """A system and its recipe, with a cell for each column; None where there is no result."""

    system: str
    recipe: str
    cells: list[Cell | None]


@dataclass(frozen=True)
class Table:
    """All results of one protocol.

    Attributes:
        title: of the protocol.
        columns: benchmarks, the paper's first.
        rows: ours.
        peers: published rows that have a number in one of the columns.
        common: notes on every cell of ours.
        notes: notes on some cells, which name them by number from 1.
    """

    title: str
    columns: list[Column]
    rows: list[Row]
    peers: list[Peer]
    common: list[str]
    notes: list[str]


def tables(records: Sequence[Record], *, published: bool = True) -> list[Table]:
    """A table for each protocol of the records.

    Args:
        records: results, each once.
        published: whether to add the peers' numbers.
    """
    found: dict[str, list[Record]] = {name: [] for name in TITLES}
    for record in records:
        found.setdefault(record.protocol, []).append(record)
    return [_table(protocol, own, published) for protocol, own in found.items() if own]


def _table(protocol: str, records: Sequence[Record], published: bool) -> Table:
    columns = sorted({Column(r.benchmark, r.metric) for r in records}, key=_place)
    named = [
        (system, recipe, {column: summarise(cell) for column, cell in cells.items()})
        for system, recipe, cells in _rows(records)
    ]
    said = [_notes(*result) for *_, cells in named for result in cells.items()]
    common = [note for note in said[0] if all(note in others for others in said)]
    numbered = [note for note in dict.fromkeys(chain.from_iterable(said)) if note not in common]
    clips = {column: {cells[column].clips for *_, cells in named if column in cells} for column in columns}

    def cell(column: Column, summary: Summary | None) -> Cell | None:
        if summary is None:
            return None
        numbers = tuple(numbered.index(note) + 1 for note in _notes(column, summary) if note in numbered)
        return Cell(summary, numbers, len(clips[column]) > 1)

    rows = [Row(system, recipe, [cell(c, cells.get(c)) for c in columns]) for system, recipe, cells in named]
    shown = {column.benchmark for column in columns if column.metric == _metric(column.benchmark)}
    rivals = [peer for peer in peers() if peer.protocol == protocol and shown & set(peer.values)] if published else []
    return Table(TITLES.get(protocol, protocol), columns, rows, rivals, common, numbered)


def published_cell(peer: Peer, column: Column) -> tuple[str, str]:
    """A peer's number and marks for a column; two empty texts where there is none, or of another metric."""
    if column.metric != _metric(column.benchmark):
        return "", ""
    return peer.values.get(column.benchmark, ""), peer.marks.get(column.benchmark, "")


def _metric(benchmark: str) -> str:
    """What the peers report of a benchmark."""
    return BENCHMARKS[benchmark].metric if benchmark in BENCHMARKS else "accuracy"


def _place(column: Column) -> tuple[int, str, str]:
    order = list(BENCHMARKS)
    return order.index(column.benchmark) if column.benchmark in order else len(order), column.benchmark, column.metric


def _rows(records: Iterable[Record]) -> list[tuple[str, str, dict[Column, list[Record]]]]:
    """System, recipe and records by column of each row, in the order in which the records came."""
    models: dict[str, dict[str, None]] = defaultdict(dict)
    groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        models[record.system].setdefault(record.model_hash)
        groups[record.system, record.model_hash, _recipe(record)].append(record)
    rows = []
    for (system, model, recipe), own in groups.items():
        name = system if len(models[system]) == 1 else f"{system} #{model[:7]}"
        for label, some in _settings(recipe, own):
            rows += [(name, label, cells) for cells in _versions(some)]
    return rows


def _recipe(record: Record) -> str:
    return OWN if record.benchmark.startswith(record.recipe) else record.recipe


def _settings(recipe: str, records: list[Record]) -> list[tuple[str, list[Record]]]:
    """Records of one recipe's name, apart by their settings if a column has several."""
    used: dict[Column, set[str]] = defaultdict(set)
    for record in records:
        used[Column(record.benchmark, record.metric)].add(record.recipe_hash)
    if all(len(hashes) == 1 for hashes in used.values()):
        return [(recipe, records)]
    hashes = dict.fromkeys(record.recipe_hash for record in records)
    return [(f"{recipe} #{one[:7]}", [r for r in records if r.recipe_hash == one]) for one in hashes]


def _versions(records: list[Record]) -> list[dict[Column, list[Record]]]:
    """One row's cells; further rows where a column has several versions of the benchmark."""
    cells: dict[Column, list[Record]] = defaultdict(list)
    for record in records:
        cells[Column(record.benchmark, record.metric)].append(record)
    apart = {column: versions(some) for column, some in cells.items()}
    return [
        {column: found[depth] for column, found in apart.items() if depth < len(found)}
        for depth in range(max(map(len, apart.values())))
    ]


def _notes(column: Column, summary: Summary) -> list[str]:
    """What a reader should know of a result beside its number."""
    known = BENCHMARKS.get(column.benchmark)
    folds = 0 if known is None else len(known.counts.keys() - set(PARTS))
    if summary.over == "seeds":
        notes = [f"Mean ± sample standard deviation over {summary.seeds} seeds."]
    elif summary.over == "folds":
        notes = ["Mean ± sample standard deviation over the folds of one seed."]
    else:
        brackets = "; in brackets the 95 % interval over clips or their groups" if summary.interval else ""
        if summary.interval is None and summary.split:
            brackets = "; too few clips or groups for an interval"
        notes = [f"One seed{brackets}."]
    if not summary.split and summary.folds < folds:
        notes.append(f"Unfinished: {summary.folds} of {folds} folds.")
    if summary.split not in ("", "test"):
        notes.append(f"Scored on the {summary.split} part.")
    if summary.missing:
        notes.append(f"{summary.missing:,} clips of the published set missing, which shifts the score.")
    return notes
