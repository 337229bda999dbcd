"""Each layout, read back, holds the table's numbers, with peers apart from ours."""

from __future__ import annotations

import csv
import re
from dataclasses import replace

import pytest

from aasp.evaluate.records import Record
from aasp.report.layouts import csv_lines, latex, markdown
from aasp.report.table import Table, tables

RULE = "published, not ours"
ONE = Record("my_tiny & 5 %|", "m", "a1", "evar", "e1", "esc50", "linear", "1", 0, "accuracy", 0.8, 400, 0, "0.1.0")


@pytest.fixture
def table() -> Table:
    esc50 = [replace(ONE, split=str(k), value=value) for k, value in ((1, 0.71234), (2, 0.9))]
    gap = [replace(one, system="b #1", model_hash="b", clips=1399, missing=2) for one in esc50]
    mine = replace(ONE, benchmark="a_b", metric="mAP", split="test", low=0.7, high=0.85)
    (found,) = tables([*esc50, *gap, mine])
    return found


def test_markdown(table: Table) -> None:
    text = markdown(table)
    assert text.startswith("### Linear evaluation\n\n| ") and text.endswith("\n")
    head, rule, *rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines() if line[:1] == "|"
    ]
    assert head == ["system", "recipe", "ESC-50", "a_b (mAP)"] and rule == ["---", "---", "--:", "--:"]
    assert {len(row) for row in rows} == {4}
    assert rows[0] == [r"my_tiny & 5 %\|", "evar", "80.6 ± 13.3 (n = 800) ¹ ²", "80.0 [70.0, 85.0] ³"]
    assert rows[1] == ["b #1", "evar", "80.6 ± 13.3 (n = 2,798) ¹ ² ⁴", ""]
    assert rows[2] == [f"**{RULE}**", "", "", ""]
    assert ["M2D", "2022", "91.3 r", ""] in rows[3:] and ["MATPAC", "2025", "93.5 w", ""] in rows[3:]
    assert "\n¹ Mean ± sample standard deviation over the folds of one seed.\n" in text
    assert "\n² Unfinished: 2 of 5 folds.\n³ One seed; in brackets" in text
    assert text.endswith("r read in a public repository; w row of a leaderboard.\n")


def test_latex(table: Table) -> None:
    text = latex(table)
    begun = re.findall(r"\\begin\{(\w+)\}", text)
    assert begun == ["table", "tabular"] and re.findall(r"\\end\{(\w+)\}", text) == begun[::-1]
    bare = re.sub(r"\\[\\{}&%#_$]", "", text.replace(r"\\", ""))
    depth = [bare[:k].count("{") - bare[:k].count("}") for k in range(len(bare) + 1)]
    assert min(depth) == 0 and depth[-1] == 0 and bare.count("$") % 2 == 0
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    assert [line for line in body.splitlines() if line.endswith("rule")] == [r"\toprule", r"\midrule", r"\midrule"]
    rows = [re.split(r"(?<!\\)&", line.removesuffix(r" \\")) for line in body.splitlines() if line.endswith(r"\\")]
    assert [len(row) for row in rows if r"\multicolumn{4}" not in row[0]] == [4] * (len(rows) - 1)
    assert [cell.strip() for cell in rows[0]] == ["system", "recipe", "ESC-50", r"a\_b (mAP)"]
    assert [cell.strip() for cell in rows[1][:3]] == [
        r"my\_tiny \& 5 \%|", "evar", r"80.6 $\pm$ 13.3 (n = 800)\textsuperscript{1,2}"
    ]  # fmt: skip
    assert any(row[0].strip() == "M2D" and row[2].strip() == r"91.3\textsuperscript{r}" for row in rows)
    outside = re.sub(r"\\.|\$[^$]*\$", "", "".join(cell for row in rows[1:] for cell in row))
    assert not set(outside) & set("&%#_~^±"), "nothing that LaTeX would take for its own"
    assert text.isascii()


def test_csv(table: Table) -> None:
    rows = list(csv.DictReader(csv_lines(table).splitlines()))
    first, second, *others = rows
    assert (first["rows"], first["system"], first["recipe"]) == ("ours", ONE.system, "evar")
    assert (first["ESC-50"], first["ESC-50 ±"]) == ("80.6170", "13.2696")
    assert (first["ESC-50 clips"], first["a_b (mAP)"], first["a_b (mAP) ±"]) == ("800", "80.0000", "")
    assert second["ESC-50 remarks"].endswith("2 clips of the published set missing, which shifts the score.")
    assert second["a_b (mAP)"] == ""
    assert {row["rows"] for row in others} == {"published"}
    matpac = next(row for row in others if row["system"] == "MATPAC")
    assert (matpac["ESC-50"], matpac["ESC-50 ±"], matpac["ESC-50 remarks"]) == ("93.5", "", "row of a leaderboard")


def test_without_peers_there_is_no_rule() -> None:
    (table,) = tables([ONE], published=False)
    assert RULE not in markdown(table) and "Published" not in markdown(table)
    assert latex(table).count(r"\midrule") == 1 and "Published" not in latex(table)
    assert csv_lines(table).count("\n") == 2


def test_latex_special_characters_are_escaped() -> None:
    (table,) = tables([replace(ONE, system=r"a\b~c^d#e$f{g}")], published=False)
    assert r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d\#e\$f\{g\}" in latex(table)


def test_regression_metrics_are_not_percentages() -> None:
    """R2 is no share, and MAE has the unit of the labels; both beside shares."""
    r2 = replace(ONE, system="m", benchmark="tempi.csv", split="test", recipe="ridge", metric="R2", value=0.91234)
    errors = [replace(r2, metric="MAE", seed=seed, value=value) for seed, value in ((0, 1234.5), (1, 1236.5))]
    (both,) = tables([replace(r2, low=0.85, high=0.95), *errors], published=False)
    text = markdown(both)
    assert "| m | ridge | 1,236 ± 1.41 ² | 0.912 [0.85, 0.95] ¹ |" in text and "tempi.csv (MAE)" in text
    assert "per cent" not in text and "MAE is in the unit of the labels" in text
    assert r"1,236 $\pm$ 1.41" in latex(both)
    (row,) = list(csv.reader(csv_lines(both).splitlines()))[1:]
    assert (row[3], row[4], row[7]) == ("1235.5", "1.41421", "0.91234")
    (mixed,) = tables([r2, replace(ONE, system="m", recipe="ridge", split="test")], published=False)
    assert "| m | ridge | 80.0 | 0.912 |" in markdown(mixed) and "In per cent; accuracy unless" in markdown(mixed)
