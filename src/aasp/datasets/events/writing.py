"""Writers of event tables: CSV and Parquet, Raven selection tables, Audacity labels, DCASE's TSV.

CSV, Parquet and DCASE files have the events of all sounds; Raven and Audacity need one file per sound, in a folder:
`dog.wav` has `dog.wav.selections.txt`, or `dog.wav.labels.txt`.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.parquet

from aasp.datasets.events import Event
from aasp.errors import AaspError
from aasp.files import atomic_write, check_output, hidden, system_error

Format = Literal["csv", "parquet", "raven", "audacity", "dcase"]
FORMATS: tuple[str, ...] = get_args(Format)
ENDINGS = {"raven": ".selections.txt", "audacity": ".labels.txt"}
"""Suffix of a file after the sound's name, in formats with one file per sound."""

_SUFFIXES: dict[str, Format] = {".csv": "csv", ".parquet": "parquet", ".tsv": "dcase"}
_TIDY = ("file", "start", "end", "label", "score")
_DCASE = ("filename", "onset", "offset", "event_label")
_RAVEN = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)", "Begin Path",
    "Annotation", "Score",
)  # fmt: skip


def format_of(out: Path, requested: str | None) -> Format:
    """The format of an output: as requested, or from its name.

    Raises:
        AaspError: there is no such format, or the name has no format, or another one.
    """
    named = _SUFFIXES.get(out.suffix.lower())
    if requested is None:
        if named is None:
            note = "end it in .csv, .parquet or .tsv (DCASE), or add --format raven or audacity"
            raise AaspError(f"no format in the name {out}; {note}")
        return named
    if requested not in FORMATS:
        raise AaspError(f"no such format: {requested}; choose from {', '.join(FORMATS)}")
    if named is not None and named != requested:
        raise AaspError(f"--format {requested} for {out}, whose name says {named}; change one of them")
    return requested  # type: ignore[return-value]


def check_events_output(out: Path, kind: Format, *, overwrite: bool = False) -> None:
    """Check that events can be written, before the work starts.

    Raises:
        AaspError: the file exists and may not be replaced, the folder of a format with one file per sound is not empty,
            or nothing can be written there.
    """
    if kind not in ENDINGS:
        check_output(out, overwrite=overwrite)
        return
    if out.is_dir():
        if any(out.iterdir()):
            note = f"{kind} writes a file for each sound, in a new or empty folder"
            raise AaspError(f"output folder is not empty: {out}; {note}: choose another name")
        return
    if out.exists():
        raise AaspError(f"output is a file: {out}; {kind} writes a file for each sound: give a folder")
    check_output(out)


def write_events(
    out: Path, kind: Format, events: Mapping[str, Sequence[Event]], band: tuple[float, float] = (0.0, 0.0)
) -> None:
    """Write events atomically.

    Args:
        out: a file; for Raven and Audacity a folder, new or empty.
        kind: the format.
        events: events of each sound by its path, including sounds without any.
        band: lowest and highest frequency, in Hz, for events without a band: Raven draws a box for each event.

    Raises:
        OSError: the disk is full, or nothing can be written there; nothing is left behind.
    """
    if kind in ENDINGS:
        _write_folder(out, kind, events, band)
        return
    every = [event for ones in events.values() for event in ones]
    with atomic_write(out) as beside:
        if kind == "parquet":
            pa.parquet.write_table(_table(every), beside)
        else:
            beside.write_text(_WRITERS[kind](every, list(events)), encoding="utf-8")


def _write_folder(out: Path, kind: Format, events: Mapping[str, Sequence[Event]], band: tuple[float, float]) -> None:
    beside = hidden(out, "tmp")
    try:
        beside.mkdir(parents=True)
        for path, name in _names(events).items():
            file = beside / (name + ENDINGS[kind])
            file.parent.mkdir(parents=True, exist_ok=True)
            text = _raven(events[path], band) if kind == "raven" else _audacity(events[path])
            file.write_text(text, encoding="utf-8")
        if out.is_dir():  # known to be empty
            out.rmdir()
        os.replace(beside, out)
    except OSError as error:
        raise system_error(error, out, Path(error.filename or beside)) or error from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _names(paths: Mapping[str, Sequence[Event]]) -> dict[str, str]:
    """File name for each sound: its own name, or, if names repeat, its path below the common folder."""
    names = {path: Path(path).name for path in paths}
    if len(set(names.values())) == len(names):
        return names
    whole = {path: os.path.abspath(path) for path in paths}
    shared = os.path.commonpath([os.path.dirname(path) for path in whole.values()])
    return {path: os.path.relpath(one, shared) for path, one in whole.items()}


def _table(events: Sequence[Event]) -> pa.Table:
    kinds = dict(zip(_TIDY, (pa.string(), pa.float64(), pa.float64(), pa.string(), pa.float64()), strict=True))
    columns = {name: pa.array([getattr(one, name) for one in events], kind) for name, kind in kinds.items()}
    return pa.table(columns)


def _lines(names: Sequence[str], rows: Sequence[Sequence[object]], delimiter: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerows([names, *rows])
    return text.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")


def _csv(events: Sequence[Event], files: Sequence[str]) -> str:
    rows = [(one.file, _number(one.start), _number(one.end), one.label, _number(one.score)) for one in events]
    return _lines(_TIDY, rows, ",")


def _dcase(events: Sequence[Event], files: Sequence[str]) -> str:
    """DCASE's format, in which a sound without events has a row with only its name."""
    rows = [(one.file, _number(one.start), _number(one.end), one.label) for one in events]
    present = {one.file for one in events}
    return _lines(_DCASE, [*rows, *((file, "", "", "") for file in files if file not in present)], "\t")


def _raven(events: Sequence[Event], band: tuple[float, float]) -> str:
    rows = []
    for number, one in enumerate(events, start=1):
        low = band[0] if one.low_hz is None else one.low_hz
        high = band[1] if one.high_hz is None else one.high_hz
        place = [_number(value) for value in (one.start, one.end, low, high)]
        rows.append([number, "Spectrogram 1", 1, *place, os.path.abspath(one.file), one.label, _number(one.score)])
    return _lines(_RAVEN, rows, "\t")


def _audacity(events: Sequence[Event]) -> str:
    """Start and end in seconds, and label; the format has no header and no score."""
    return "".join(f"{one.start:.6f}\t{one.end:.6f}\t{' '.join(one.label.split())}\n" for one in events)


_WRITERS: dict[str, Callable[[Sequence[Event], Sequence[str]], str]] = {"csv": _csv, "dcase": _dcase}
