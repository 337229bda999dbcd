"""A results table as Markdown, LaTeX or CSV. Scores are in per cent; other numbers as they are."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from aasp.evaluate.metrics import PLAIN
from aasp.evaluate.published import MARKS
from aasp.markup import in_markdown
from aasp.report.table import Cell, Table
from aasp.report.templates import render

PLUS_MINUS = r" $\pm$ "
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def markdown(table: Table) -> str:
    """A Markdown table with its notes; peers follow below a heading row, with their marks beside each number."""
    raised = lambda notes: "".join(f" {number}".translate(SUPERSCRIPTS) for number in notes)
    peer = lambda value, marks: f"{value} {marks}".strip()
    return render("report/table.md", **_values(table, in_markdown, " ± ", raised, peer))


def latex(table: Table) -> str:
    """A LaTeX table (booktabs) with its notes; peers follow below a rule, with their marks raised."""
    raised = lambda notes: rf"\textsuperscript{{{','.join(map(str, notes))}}}" if notes else ""
    peer = lambda value, marks: rf"{value}\textsuperscript{{{marks}}}".replace("–", "--") if value else ""
    return render("report/table.tex", **_values(table, _escaped, PLUS_MINUS, raised, peer))


def _values(
    table: Table,
    escaped: Callable[[str], str],
    plus_minus: str,
    raised: Callable[[Sequence[int]], str],
    peer: Callable[[str, str], str],
) -> dict[str, Any]:
    """Values for both templates: cells as text, with their notes `raised`; published cells formatted by `peer`."""
    text = lambda cell: _text(cell, plus_minus) + (raised(cell.notes) if cell else "")
    published = lambda one: (peer(*column.published(one)) for column in table.columns)
    used = {mark for one in table.peers for column in table.columns for mark in column.published(one)[1]}
    return {
        "title": escaped(table.title),
        "head": [escaped(column.title) for column in table.columns],
        "rows": [[escaped(row.system), escaped(row.recipe), *map(text, row.cells)] for row in table.rows],
        "peers": [[escaped(one.model), one.year, *published(one)] for one in table.peers],
        "kinds": {"number" if column.metric in PLAIN else "share" for column in table.columns},
        "common": escaped(" ".join(table.common)),
        "notes": [(raised([number]).strip(), escaped(note)) for number, note in enumerate(table.notes, start=1)],
        "marks": {mark: escaped(meaning) for mark, meaning in MARKS.items() if mark in used},
    }


def csv_lines(table: Table) -> str:
    """CSV for programs: value, deviation, number of clips and remarks of each benchmark are separate columns."""
    head = ["rows", "system", "recipe"]
    head += [f"{column.title}{what}" for column in table.columns for what in ("", " ±", " clips", " remarks")]
    rows = [
        ["ours", row.system, row.recipe, *chain(*(_numbers(table, cell) for cell in row.cells))] for row in table.rows
    ]
    for peer in table.peers:
        cells = (column.published(peer) for column in table.columns)
        numbers = ([value, "", "", "; ".join(MARKS[mark] for mark in marks)] for value, marks in cells)
        rows.append(["published", peer.model, peer.year, *chain(*numbers)])
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([head, *rows])
    return file.getvalue()


def _text(cell: Cell | None, plus_minus: str) -> str:
    """A value with its deviation or interval, and its number of clips if the column's results differ in that."""
    if cell is None:
        return ""
    summary = cell.summary
    value = summary.text(summary.mean)
    if summary.deviation is not None:
        value += f"{plus_minus}{summary.text(summary.deviation)}"
    elif summary.interval is not None:
        value += f" [{', '.join(map(summary.text, summary.interval))}]"
    return f"{value} (n = {summary.clips:,})" if cell.show_clips else value


def _numbers(table: Table, cell: Cell | None) -> list[str]:
    """Value, deviation, clips and remarks."""
    if cell is None:
        return [""] * 4
    summary = cell.summary
    deviation = "" if summary.deviation is None else summary.exactly(summary.deviation)
    remarks = " ".join([*table.common, *(table.notes[number - 1] for number in cell.notes)])
    return [summary.exactly(summary.mean), deviation, str(summary.clips), remarks]


def _escaped(text: str) -> str:
    """Text escaped for LaTeX."""
    words = {"\\": "textbackslash", "~": "textasciitilde", "^": "textasciicircum", "±": "textpm"}
    put = lambda found: rf"\{words[found[0]]}{{}}" if found[0] in words else f"\\{found[0]}"
    return re.sub(r"[\\~^±#$%&_{}]", put, text)


LAYOUTS = {"markdown": markdown, "latex": latex, "csv": csv_lines}
"""Layouts by the names of `aasp table --format`."""
