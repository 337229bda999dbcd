"""A table of results as Markdown, LaTeX or CSV. Scores in per cent; of numbers as they are."""

from __future__ import annotations

import csv
import io
import re

from aasp.evaluate.metrics import PLAIN
from aasp.markup import in_markdown
from aasp.report.published import MARKS
from aasp.report.table import Cell, Table, published_cell

SHARES = "In per cent; accuracy unless the column says otherwise."
NUMBERS = "R2 is 1 at best and 0 for the mean of the part; MAE is in the unit of the labels."
FOLDS = "Of folds, a seed's score is the mean."
RULE = "published, not ours"
PLUS_MINUS = r" $\pm$ "
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def markdown(table: Table) -> str:
    """A Markdown table with its notes; peers below a row that says so, their marks beside each number."""

    def text(cell: Cell | None) -> str:
        if cell is None:
            return ""
        numbers = [f" {number}".translate(SUPERSCRIPTS) for number in cell.notes]
        return f"{_value(cell, ' ± ')}{_clips(cell)}{''.join(numbers)}"

    head = ["system", "recipe", *(in_markdown(column.title) for column in table.columns)]
    rows = [[in_markdown(row.system), in_markdown(row.recipe), *map(text, row.cells)] for row in table.rows]
    if table.peers:
        rows.append([f"**{RULE}**", *[""] * (len(head) - 1)])
    for peer in table.peers:
        cells = [" ".join(published_cell(peer, column)).strip() for column in table.columns]
        rows.append([peer.model, peer.year, *cells])
    line = lambda row: f"| {' | '.join(cell for cell in row)} |"
    lines = [line(row) for row in (head, *rows)]
    lines.insert(1, "|---|---|" + "--:|" * len(table.columns))
    notes = [f"{str(number).translate(SUPERSCRIPTS)} {note}" for number, note in enumerate(table.notes, start=1)]
    words = [" ".join([*_units(table), *table.common]), "\n".join(notes), _marks(table)]
    return "\n\n".join([f"### {table.title}", "\n".join(lines), *filter(None, words)]) + "\n"


def latex(table: Table) -> str:
    """A LaTeX table (booktabs) with its notes below; peers below a rule, their marks raised."""

    def text(cell: Cell | None) -> str:
        if cell is None:
            return ""
        raised = f"\\textsuperscript{{{','.join(map(str, cell.notes))}}}" if cell.notes else ""
        return f"{_value(cell, PLUS_MINUS)}{_clips(cell)}{raised}"

    head = ["system", "recipe", *(_escaped(column.title) for column in table.columns)]
    rows = [[_escaped(row.system), _escaped(row.recipe), *map(text, row.cells)] for row in table.rows]
    below = []
    for peer in table.peers:
        cells = [published_cell(peer, column) for column in table.columns]
        marked = [rf"{value}\textsuperscript{{{marks}}}".replace("–", "--") if value else "" for value, marks in cells]
        below.append([_escaped(peer.model), peer.year, *marked])
    line = lambda row: " & ".join(row) + r" \\"
    published = [r"\midrule", rf"\multicolumn{{{len(head)}}}{{l}}{{\emph{{{RULE}}}}} \\", *map(line, below)]
    notes = [rf"\textsuperscript{{{number}}} {_escaped(note)}" for number, note in enumerate(table.notes, start=1)]
    words = [_escaped(" ".join([*_units(table), *table.common])), *notes, _escaped(_marks(table))]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escaped(table.title)}}}",
            rf"\begin{{tabular}}{{ll{'r' * len(table.columns)}}}",
            r"\toprule",
            line(head),
            r"\midrule",
            *map(line, rows),
            *(published if below else []),
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\footnotesize {text}" for text in words if text),
            r"\end{table}",
            "",
        ]
    )


def csv_lines(table: Table) -> str:
    """CSV for programs: each benchmark's value, deviation, number of clips and remarks in columns of their own."""
    head = ["rows", "system", "recipe"]
    for column in table.columns:
        head += [column.title, f"{column.title} ±", f"{column.title} clips", f"{column.title} remarks"]
    rows = []
    for row in table.rows:
        cells: list[str] = []
        for cell in row.cells:
            cells += ["", "", "", ""] if cell is None else _numbers(table, cell)
        rows.append(["ours", row.system, row.recipe, *cells])
    for peer in table.peers:
        cells = []
        for column in table.columns:
            value, marks = published_cell(peer, column)
            cells += [value, "", "", "; ".join(MARKS[mark] for mark in marks)]
        rows.append(["published", peer.model, peer.year, *cells])
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([head, *rows])
    return file.getvalue()


def _units(table: Table) -> list[str]:
    """What the numbers of a table are."""
    kinds = {column.metric in PLAIN for column in table.columns}
    return [*([SHARES] if False in kinds else []), *([NUMBERS] if True in kinds else []), FOLDS]


def _value(cell: Cell, plus_minus: str) -> str:
    summary = cell.summary
    value = summary.tell(summary.mean)
    if summary.deviation is not None:
        return f"{value}{plus_minus}{summary.tell(summary.deviation)}"
    if summary.interval is not None:
        return f"{value} [{', '.join(map(summary.tell, summary.interval))}]"
    return value


def _clips(cell: Cell) -> str:
    return f" (n = {cell.summary.clips:,})" if cell.tell_clips else ""


def _numbers(table: Table, cell: Cell) -> list[str]:
    summary = cell.summary
    deviation = "" if summary.deviation is None else summary.exactly(summary.deviation)
    remarks = " ".join([*table.common, *(table.notes[number - 1] for number in cell.notes)])
    return [summary.exactly(summary.mean), deviation, str(summary.clips), remarks]


def _marks(table: Table) -> str:
    """What the marks of the table's published numbers mean."""
    used = {mark for peer in table.peers for column in table.columns for mark in published_cell(peer, column)[1]}
    told = "; ".join(f"{mark} {meaning}" for mark, meaning in MARKS.items() if mark in used)
    return f"Published numbers, per cent: {told}." if told else ""


def _escaped(text: str) -> str:
    """Text for LaTeX."""
    words = {"\\": "textbackslash", "~": "textasciitilde", "^": "textasciicircum", "±": "textpm"}
    put = lambda found: rf"\{words[found[0]]}{{}}" if found[0] in words else f"\\{found[0]}"
    return re.sub(r"[\\~^±#$%&_{}]", put, text)


LAYOUTS = {"markdown": markdown, "latex": latex, "csv": csv_lines}
"""By the names of `aasp table --format`."""
