"""Templates: what is put in is escaped, what is missing is an error, and numbers have one form."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from jinja2 import TemplateSyntaxError, UndefinedError
from markupsafe import Markup

from aasp.evaluate.intervals import Interval
from aasp.report.templates import _environment, render, write_page

HOSTILE = '<img src=x onerror="alert(1)">{{ 7 * 7 }}&'

VALUES = {
    "eyebrow": "",
    "title": "",
    "why": "",
    "lines": 1,
    "curves": [],
    "head": ["step"],
    "rows": [["1"]],
    "facts": {},
}


def filled(text: str, **values: object) -> str:
    macros = '{% from "report/macros.html" import listing, panels, score_row %}'
    return _environment().from_string(macros + text).render(values)


def test_every_template_can_be_read() -> None:
    folders = [folder / "templates" for folder in files("aasp").iterdir() if (folder / "templates").is_dir()]
    names = [f"{Path(str(folder)).parent.name}/{file.name}" for folder in folders for file in folder.iterdir()]
    assert "report/page.html" in names
    for name in names:
        try:
            _environment().get_template(name)
        except TemplateSyntaxError as error:
            pytest.fail(f"{name}: {error}")


def test_values_are_escaped_and_never_read_as_templates() -> None:
    page = render("report/stopped.html", **VALUES | {"title": HOSTILE, "why": HOSTILE, "facts": {HOSTILE: HOSTILE}})
    assert "<img" not in page and page.count("&lt;img src=x onerror=&#34;alert(1)&#34;&gt;{{ 7 * 7 }}&amp;") == 5
    assert "<td>&lt;b&gt;</td>" in filled("{{ listing('', ['a'], [[cell]]) }}", cell="<b>")
    assert "<td><b>1</b></td>" in filled("{{ listing('', ['a'], [[cell]]) }}", cell=Markup("<b>1</b>"))


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'title' is undefined"):
        render("report/stopped.html", **{name: value for name, value in VALUES.items() if name != "title"})


def test_a_page_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError):
        write_page(tmp_path / "page.html", "report/stopped.html")
    assert list(tmp_path.iterdir()) == []


def test_a_long_table_is_folded_after_thirty_rows() -> None:
    table = "{{ listing('C', ['name', 'n'], rows) }}"
    short = filled(table, rows=[["a", k] for k in range(30)])
    assert "<details>" not in short and short.count('<td class="figure">') == 30
    long = filled(table, rows=[["a", k] for k in range(1035)])
    assert "<summary>1,005 more</summary>" in long and long.count("<tr><td>") == 1035 and long.count("<thead>") == 2
    assert filled(table, rows=[]).strip() == "<p>None.</p>"


def test_a_score_is_written_and_drawn() -> None:
    row = "{{ score_row('log-mel <x>', score, 'first', 0.03) }}"
    whole = filled(row, score=Interval(0.721, 0.671, 0.766, 0.95, 18, 432))
    assert "log-mel &lt;x&gt;" in whole and "<b>72.1</b> <span>67.1–76.6</span>" in whole
    assert "--low: 67.1; --high: 76.6; --at: 72.1; --chance: 3.0" in whole
    few = filled(row, score=Interval(0.05, None, None, 0.95, 3, 30, method="none"))
    assert "<span>too few to tell</span>" in few and "--low: 5.0; --high: 5.0; --at: 5.0" in few and "None" not in few


def test_forms_of_numbers() -> None:
    forms = "{{ share | percent }} {{ share | percent(0, '+') }} {{ none | percent }}"
    assert filled(forms + " {{ 75 | duration }} {{ 1234 | thousands }}", share=0.1234) == "12.3 +12 – 1 min 15 s 1,234"
