"""Readers of event tables: CSV and Parquet, Raven selection tables, Audacity labels, DCASE's TSV.

The format is recognised by the columns. Raven and Audacity write one file per sound: a folder of them is read as one
table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from aasp.datasets.events import Event, EventTable
from aasp.datasets.tables import read_csv, read_parquet
from aasp.errors import AaspError

# Names of columns in our format, DCASE's, Raven's and BirdNET's; in lower case.
_FILE = ("file", "filename", "path", "filepath", "file_name", "begin path", "begin file")
_START = ("start", "onset", "event_onset", "start_time", "start (s)", "begin time (s)")
_END = ("end", "offset", "event_offset", "end_time", "end (s)", "end time (s)")
_LABEL = (
    "label", "event_label", "annotation", "class", "species", "common name", "species code", "type", "sound type",
)  # fmt: skip
_SCORE = ("score", "confidence", "probability")
_LOW, _HIGH = ("low freq (hz)", "low_hz"), ("high freq (hz)", "high_hz")
_OFFSET = ("file offset (s)", "begin file offset (s)")

_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
_OF_SOUND = re.compile(r"(?i)(\.table\.\d+)?(\.selections|\.birdnet\.\S+|\.birdnet|\.labels?)?(\.txt|\.tsv|\.csv)$")


def read_events(path: str | Path, label: str | None = None) -> EventTable:
    """Read a table of events, or a folder of tables.

    Args:
        path: .csv, .tsv, .txt or .parquet; or a folder of them, as for Raven and Audacity, searched recursively.
        label: column of labels, if its name is not one of the known ones.

    Raises:
        AaspError: there is no table, a column is missing, a value is not a time, or an event has no length.
    """
    source = Path(path)
    if not source.is_dir():
        return _read(source, label)
    files = sorted(file for file in source.rglob("*") if file.suffix.lower() in _SUFFIXES and file.name[0] != ".")
    if not files:
        raise AaspError(f"no tables of events in folder: {source}; looked for {', '.join(_SUFFIXES)}")
    found = [_read(file, label) for file in files]
    events = [event for one in found for event in one.events]
    return EventTable(str(source), events, list(dict.fromkeys(name for one in found for name in one.files)))


def _read(source: Path, label: str | None) -> EventTable:
    if source.suffix.lower() not in _SUFFIXES:
        what = "not a table of events" if source.exists() else "no such table of events"
        raise AaspError(f"{what}: {source}; name a {', '.join(_SUFFIXES)} file, or a folder of them")
    try:
        if source.suffix.lower() == ".parquet":
            return _table(source, read_parquet(str(source), "table of events"), label)
        text = source.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise AaspError(f"no such table of events: {source}; check the path") from None
    except UnicodeDecodeError:
        raise AaspError(f"{source}: not a readable table of events: it is not UTF-8; save it as UTF-8") from None
    except pa.ArrowInvalid as error:
        raise AaspError(f"{source}: not a readable table of events ({' '.join(str(error).split())[:80]})") from None
    rows = [line.split("\t") for line in text.splitlines() if line.strip()]
    if not rows:  # an Audacity file of a sound without labels
        return EventTable(str(source), [], [_sound(source)])
    if _looks_like_number(rows[0][0]) or rows[0][0].strip() == "\\":
        return _audacity(source, rows)
    if len(rows[0]) == 4 and _looks_like_number(rows[0][1]) and _looks_like_number(rows[0][2]):
        names = ["filename", "onset", "offset", "event_label"]
        return _table(source, _columns(source, names, rows), label)
    key = next((name for name in re.split(r"[\t,;|]", text.splitlines()[0]) if name.strip().lower() in _START), "start")
    try:
        return _table(source, read_csv(str(source), key.strip()), label)
    except pa.ArrowInvalid as error:
        raise AaspError(f"{source}: not a readable table of events; {' '.join(str(error).split())}") from None


def _columns(source: Path, names: Sequence[str], rows: Sequence[Sequence[str]]) -> pa.Table:
    """The older DCASE format, which has no header."""
    wrong = next((number for number, row in enumerate(rows, start=1) if len(row) != len(names)), None)
    if wrong is not None:
        raise AaspError(f"{source}: line {wrong} has {len(rows[wrong - 1])} values, the first {len(names)}; fix it")
    return pa.table({name: pa.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)})


@dataclass(frozen=True)
class _Row:
    """The position of an event for messages, and its values as text."""

    where: str
    start: str
    end: str
    label: str


def _audacity(source: Path, rows: Sequence[Sequence[str]]) -> EventTable:
    """Audacity labels: start, end, label; a line that begins with a backslash is the band of the label above it."""
    events: list[Event] = []
    for number, row in enumerate(rows, start=1):
        where = f"{source}: line {number}"
        if row[0].strip() == "\\":
            if len(row) != 3 or not (events and _is_number(row[1]) and _is_number(row[2])):
                raise AaspError(f"{where}: {row} is not a frequency band of a label; export the labels again")
            events[-1] = _banded(events[-1], float(row[1]), float(row[2]), where)
            continue
        if len(row) < 3:
            raise AaspError(f"{where} has {len(row)} values; a label is its start, end and name, separated by tabs")
        events.append(_event(_sound(source), _Row(where, row[0], row[1], row[2])))
    return EventTable(str(source), events, [_sound(source)])


def _table(source: Path, table: pa.Table, label: str | None) -> EventTable:
    """The events of a table with a header."""
    table = table.rename_columns([name.strip() for name in table.column_names])
    known = {name.lower(): name for name in reversed(table.column_names)}
    find = lambda names: next((known[name] for name in names if name in known), None)
    start, end, file = find(_START), find(_END), find(_FILE)
    labels = known.get(label.lower()) if label is not None else find(_LABEL)
    held = ", ".join(table.column_names) or "none"
    for what, column in (("start", start), ("end", end), (label or "label", labels)):
        if column is None:
            remedy = "; give it with --label COLUMN" if what == "label" else ""
            raise AaspError(f"{source}: no column for the events' {what}; it has {held}{remedy}")
    values = lambda name: None if name is None else [_text(value) for value in table[name].to_pylist()]
    starts, ends, named, files = values(start), values(end), values(labels), values(file)
    assert starts is not None and ends is not None and named is not None
    extra = [values(find(names)) for names in (_SCORE, _LOW, _HIGH, _OFFSET)]
    twice = _twice(table, known, list(map(str, zip(files or [""] * len(starts), starts, ends, strict=True))))
    events, order = [], []
    for row in range(table.num_rows):
        where = f"{source}: row {row + 1}"
        name = _sound(source) if files is None else files[row]
        if not name:
            raise AaspError(f"{where} names no sound; fill the column {file}")
        order.append(name)
        if not starts[row] and not ends[row] and not named[row]:
            continue  # DCASE's row for a sound without events
        if row in twice:
            continue
        one = _event(name, _Row(where, starts[row], ends[row], named[row]))
        score, low, high, offset = (None if v is None or not v[row] else _number(v[row], where) for v in extra)
        if offset is not None:  # Raven's times run on over several sounds: another column has the time in the sound
            one = replace(one, start=offset, end=offset + one.end - one.start)
        events.append(_banded(replace(one, score=score), low, high, where))
    return EventTable(str(source), events, list(dict.fromkeys(order)))


def _twice(table: pa.Table, known: dict[str, str], places: Sequence[str]) -> set[int]:
    """Duplicate rows of a selection: Raven writes one for each of its views.

    A spectrogram view is kept rather than a waveform view, which has no band; of several, the first is kept.

    Args:
        table, known: as in `_table`.
        places: sound, start and end of each row, because selections of several joined tables can have the same numbers.
    """
    if not {"view", "selection"} <= known.keys():
        return set()
    waveform = [_text(value).lower().startswith("waveform") for value in table[known["view"]].to_pylist()]
    selections = list(zip(places, table[known["selection"]].to_pylist(), strict=True))
    kept: dict[tuple[str, object], int] = {}
    for row in sorted(range(len(waveform)), key=waveform.__getitem__):
        kept.setdefault(selections[row], row)
    return set(range(len(waveform))) - set(kept.values())


def _event(file: str, row: _Row) -> Event:
    start, end, label = _seconds(row.start, row.where), _seconds(row.end, row.where), row.label.strip()
    if not label:
        raise AaspError(f"{row.where}: an event at {start:g} s has no label; fill it, or take it out")
    if start < 0 or end <= start:
        raise AaspError(f"{row.where}: {label!r} is at {start:g} to {end:g} s; an event ends after its start")
    return Event(file, start, end, label)


def _banded(event: Event, low: float | None, high: float | None, where: str) -> Event:
    """An event with its band; a negative limit is none, as Audacity writes if none was drawn."""
    low, high = (None if value is None or value < 0 else value for value in (low, high))
    if low is not None and high is not None and low > high:
        raise AaspError(
            f"{where}: {event.label!r} is at {low:g} to {high:g} Hz; a band's upper end is above its lower end"
        )
    return replace(event, low_hz=low, high_hz=high)


def _seconds(text: str, where: str) -> float:
    if not text:
        raise AaspError(f"{where}: an event without a start or an end; fill it, in seconds")
    return _number(text, where, "seconds")


def _number(text: str, where: str, what: str = "one") -> float:
    if not _is_number(text):
        raise AaspError(f"{where}: {text!r} is not a number; give {what}, with a decimal point")
    return float(text)


def _looks_like_number(text: str) -> bool:
    """Whether a text is a number, also with a decimal comma, which is then reported."""
    return _is_number(text.replace(",", "."))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _text(value: object) -> str:
    """A cell as text; a missing value, which pandas writes as NaN, is empty."""
    return "" if value is None or value != value else str(value).strip()


def _sound(source: Path) -> str:
    """The sound of a table without a column of sounds, from the table's file name."""
    return str(source.with_name(_OF_SOUND.sub("", source.name)))
