"""Results in the layout of papers: a row for each system, a column for each benchmark, a table for each protocol.

Results that may not be averaged are separate: a row is one model under one recipe, a column one benchmark and metric, a
table one protocol. If recipes of one name, models of one name or versions of one benchmark differ, they get separate
rows, which state the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from aasp.datasets.benchmarks import BENCHMARKS
from aasp.datasets.parts import PARTS
from aasp.evaluate.published import Peer, peers
from aasp.evaluate.records import Record
from aasp.evaluate.summary import Summary, summarise, versions

Key = TypeVar("Key", bound=Hashable)

TITLES = {
    "linear": "Linear evaluation",
    "knn": "Nearest neighbours",
    "finetune": "Fine-tuning",
    "from scratch": "Training from scratch",
}
"""Titles of the tables, in order; other protocols follow under their own names."""
OWN = "the benchmark's"
"""Replaces the name of a recipe named after its benchmark, so that a system's benchmarks share a row."""


@dataclass(frozen=True)
class Column:
    """A benchmark scored by one metric."""

    benchmark: str
    metric: str

    @classmethod
    def of(cls, record: Record) -> Column:
        """The column of a record."""
        return cls(record.benchmark, record.metric)

    @property
    def title(self) -> str:
        """The benchmark's name as in papers, with the metric if it isn't accuracy."""
        known = BENCHMARKS.get(self.benchmark)
        name = known.title if known else self.benchmark
        return name if self.metric == "accuracy" else f"{name} ({self.metric})"

    @property
    def place(self) -> tuple[int, str, str]:
        """Sort key: benchmarks in the registry's order, then others by name."""
        order = list(BENCHMARKS)
        known = order.index(self.benchmark) if self.benchmark in order else len(order)
        return known, self.benchmark, self.metric

    def published(self, peer: Peer) -> tuple[str, str]:
        """A peer's number and its marks; two empty strings if there is none, or it has another metric."""
        reported = BENCHMARKS[self.benchmark].metric if self.benchmark in BENCHMARKS else "accuracy"
        if self.metric != reported:
            return "", ""
        return peer.values.get(self.benchmark, ""), peer.marks.get(self.benchmark, "")


@dataclass(frozen=True)
class Cell:
    """A result of ours, the numbers of its notes, and whether other results of its column scored other clips."""

    summary: Summary
    notes: tuple[int, ...]
    show_clips: bool


@dataclass(frozen=True)
class Row:
    """A system and its recipe, with a cell for each column; None if there is no result."""

    system: str
    recipe: str
    cells: list[Cell | None]


@dataclass(frozen=True)
class Table:
    """All results of one protocol.

    Attributes:
        title: the protocol's title.
        columns: benchmarks, the paper's first.
        rows: our results.
        peers: published rows that have a number in one of the columns.
        common: notes that apply to all our cells.
        notes: notes that apply to some cells, which refer to them by number from 1.
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
        records: results, without repeats.
        published: whether to add the peers' numbers.
    """
    found: dict[str, list[Record]] = {name: [] for name in TITLES}
    found |= _by(records, lambda record: record.protocol)
    return [_table(protocol, own, published) for protocol, own in found.items() if own]


def _table(protocol: str, records: Sequence[Record], published: bool) -> Table:
    columns = sorted(set(map(Column.of, records)), key=lambda column: column.place)
    named = _rows(records)
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
    rivals = [peer for peer in peers() if published and peer.protocol == protocol]
    rivals = [peer for peer in rivals if any(column.published(peer)[0] for column in columns)]
    return Table(TITLES.get(protocol, protocol), columns, rows, rivals, common, numbered)


def _rows(records: Sequence[Record]) -> list[tuple[str, str, dict[Column, Summary]]]:
    """System, recipe and results of each row, in the order of the records.

    Rows are split by model, by settings if a column has several for one recipe name, and by the benchmark's version.
    """
    rows = []
    models = {system: {record.model_hash for record in own} for system, own in _by(records, lambda r: r.system).items()}
    for (system, model, recipe), own in _by(records, lambda r: (r.system, r.model_hash, _recipe(r))).items():
        name = system if len(models[system]) == 1 else f"{system} #{model[:7]}"
        alike = all(len({record.recipe_hash for record in cell}) == 1 for cell in _by(own, Column.of).values())
        for settings, some in _by(own, lambda r: "" if alike else r.recipe_hash).items():  # noqa: B023
            label = f"{recipe} #{settings[:7]}" if settings else recipe
            apart = {column: versions(cell) for column, cell in _by(some, Column.of).items()}
            for depth in range(max(map(len, apart.values()))):
                cells = {column: summarise(found[depth]) for column, found in apart.items() if depth < len(found)}
                rows.append((name, label, cells))
    return rows


def _recipe(record: Record) -> str:
    own_data = "/" in record.benchmark  # a user's folder or index, which may be called as a recipe is
    return OWN if record.benchmark.startswith(record.recipe) and not own_data else record.recipe


def _by(records: Sequence[Record], key: Callable[[Record], Key]) -> dict[Key, list[Record]]:
    """Records grouped by a key, in their order."""
    found: dict[Key, list[Record]] = {}
    for record in records:
        found.setdefault(key(record), []).append(record)
    return found


def _notes(column: Column, summary: Summary) -> list[str]:
    """Notes on a result for the reader."""
    known = BENCHMARKS.get(column.benchmark)
    folds = 0 if known is None else len(known.counts.keys() - set(PARTS))
    if summary.over is not None:
        over = f"{summary.seeds} seeds" if summary.over == "seeds" else "the folds of one seed"
        notes = [f"Mean ± sample standard deviation over {over}."]
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
