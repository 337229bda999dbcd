"""Labels of an index as a CSV manifest that `aasp linear` and `aasp finetune` read, and `aasp label` continues."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aasp.audio.remote import is_url
from aasp.errors import AaspError
from aasp.files import atomic_write
from aasp.index import Index

FIELDS = ("path", "start", "end", "label", "split")
PREDICTED = ("path", "start", "end", "label", "probability", "given")


class Label(NamedTuple):
    """A row's class, and whether the row is held out for testing the classifier."""

    row: int
    name: str
    held_out: bool


def read_labels(index: Index, file: Path) -> list[Label]:
    """The labels in a file, oldest first; none if the file does not exist.

    Raises:
        AaspError: it is not a file of labels, or has rows that are not in the index or are repeated.
    """
    if not file.exists():
        return []
    try:
        with file.open(newline="", encoding="utf-8") as opened:
            reader = csv.DictReader(opened, strict=True)
            fields, lines = list(reader.fieldnames or ()), list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise AaspError(f"{file}: not a CSV file ({error}); choose another --labels") from None
    expected = _fields(index, FIELDS)
    if fields != list(expected):
        found = f"columns {','.join(fields)[:200]}" if fields else "an empty file"
        raise AaspError(f"{file}: {found}, not {','.join(expected)}; choose another --labels")
    rows = {key: row for row, key in enumerate(_keys(index, file.absolute().parent))}
    paths = {key[0] for key in rows}
    labels: list[Label] = []
    seen: set[int] = set()
    for number, line in enumerate(lines, start=2):
        row = rows.get(tuple(_as_written(name, line[name]) for name in expected if name not in ("label", "split")))
        text = f"{file}, line {number}: {line['path']}"
        if row is None and line["path"] in paths:
            part = ", ".join(f"{name} {line[name]}" for name in expected[1:] if name not in ("label", "split"))
            raise AaspError(f"{text} is in {index.folder}, but without a row of {part}; correct or remove the line")
        if row is None:
            raise AaspError(f"{text} is not in {index.folder}; add it by `aasp index`, or remove the line")
        if row in seen:
            raise AaspError(f"{text} is there twice; remove one line")
        if line["split"] not in ("train", "test") or not line["label"]:
            raise AaspError(f"{text} has label {line['label']!r} and split {line['split']!r}; split is train or test")
        seen.add(row)
        labels.append(Label(row, line["label"], line["split"] == "test"))
    return labels


def write_labels(index: Index, labels: Sequence[Label], file: Path) -> None:
    """Write all labels; if the disk is full, the old file stays unchanged.

    `split` is test for held-out rows, so that `aasp linear --index FILE --label label --split split` trains on the
    others and tests on these.
    """
    keys = _keys(index, file.absolute().parent, [label.row for label in labels])
    with _csv(file) as writer:
        writer.writerow(_fields(index, FIELDS))
        for key, label in zip(keys, labels, strict=True):
            writer.writerow([*key, label.name, "test" if label.held_out else "train"])


def write_predictions(
    index: Index, labels: Sequence[Label], names: np.ndarray, probabilities: np.ndarray, file: Path
) -> None:
    """Write each row's likeliest class and its probability, and its label, if it has one."""
    given = {label.row: label.name for label in labels}
    with _csv(file) as writer:
        writer.writerow(_fields(index, PREDICTED))
        for row, key in enumerate(_keys(index, file.absolute().parent)):
            writer.writerow([*key, names[row], f"{probabilities[row]:.4f}", given.get(row, "")])


@contextmanager
def _csv(file: Path) -> Iterator[Any]:
    """A writer of a CSV file that is complete or absent."""
    with atomic_write(file) as beside, beside.open("w", newline="", encoding="utf-8") as opened:
        yield csv.writer(opened, lineterminator="\n")


def _fields(index: Index, fields: tuple[str, ...]) -> tuple[str, ...]:
    """The columns, with the channel if the index has one per row."""
    return (*fields[:3], "channel", *fields[3:]) if "channel" in index.rows.column_names else fields


def _as_written(name: str, value: str | None) -> str:
    """A value as `_keys` writes it: a spreadsheet saves 0.000 as 0."""
    if name not in ("start", "end"):
        return value or ""
    try:
        return f"{float(value or ''):.3f}"
    except ValueError:
        return value or ""


def _keys(index: Index, folder: Path, rows: Sequence[int] | None = None) -> Iterator[tuple[str, ...]]:
    """The columns that identify a row in the file: path, start, end and channel; paths relative below a folder."""
    channels = index.rows["channel"].to_pylist() if "channel" in index.rows.column_names else None
    for row in range(len(index)) if rows is None else rows:
        path, start, seconds = index.sound(row)
        if not is_url(path):
            path = os.path.abspath(path)
            path = os.path.relpath(path, folder) if path.startswith(os.path.join(folder, "")) else path
        key = (path, f"{start:.3f}", f"{start + seconds:.3f}")
        yield key if channels is None else (*key, str(channels[row]))
