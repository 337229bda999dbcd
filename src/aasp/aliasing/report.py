"""The laboratory's report: one HTML page with those of its measurements that are in a folder.

Each measurement is a JSON file. Its study has a module `page` with

        answer(found) -> str                the result, a sentence of plain text with its uncertainty
        section(found, folder) -> Markup    the HTML that shows it

so that the page is drawn from the files alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError
from markupsafe import Markup, escape

from aasp.documents import MAX_RESULTS_BYTES, as_written, read_object
from aasp.errors import AaspError
from aasp.report.templates import render

PARTS = {part: f"aasp.aliasing.{part}.page" for part in ("stability", "response", "kernels", "ablation")}
"""The module that draws each file, by its name without .json, in the order of the page."""

TITLE = "Patches alias modulations: does it matter?"
MAX_COMMAND = 300
REMEDY = "measure it again with --overwrite"


def build(folder: Path) -> str:
    """The report as one HTML page.

    Args:
        folder: contains one or more of `stability.json`, `response.json`, `kernels.json`, `ablation.json`.

    Raises:
        AaspError: it contains none of them, or one can't be read.
    """
    files = {part: folder / f"{part}.json" for part in PARTS if (folder / f"{part}.json").exists()}
    if not files:
        known = ", ".join(f"{part}.json" for part in PARTS)
        raise AaspError(f"nothing to report: {folder} holds none of {known}; `aasp alias --help` lists what makes them")
    answers, sections, made = [], [], {}
    for part, file in files.items():
        try:
            found = read_object(file, REMEDY, MAX_RESULTS_BYTES)
        except OSError as error:
            raise AaspError(f"{file}: not readable ({error.strerror}); {REMEDY}") from None
        page = importlib.import_module(PARTS[part])
        with as_written(file, REMEDY):
            try:
                answers.append(page.answer(found))
                sections.append(page.section(found, folder))
            except UndefinedError as error:
                raise LookupError(str(error)) from error
            made[part.capitalize()] = str(found["command"]), _versions(found["software"])
    values = {"answers": answers, "sections": sections, "facts": _facts(made)}
    return render("aliasing/report.html", eyebrow="aasp alias", title=TITLE, **values)


def _versions(software: Any) -> str:
    return ", ".join(f"{name} {of}" for name, of in software.items()) if isinstance(software, dict) else str(software)


def _facts(made: Mapping[str, tuple[str, str]]) -> dict[str, Markup]:
    """By term: the command of each part, and the software, in one line if it is the same for all parts."""
    one = len({software for _, software in made.values()}) == 1
    facts = {}
    for part, (command, software) in made.items():
        shown = escape(command)
        if len(command) > MAX_COMMAND:
            whole = Markup("{}… <details><summary>all of it</summary>{}</details>")
            shown = whole.format(command[:MAX_COMMAND], command)
        facts[part if one else f"{part}, command"] = Markup("<code>{}</code>").format(shown)
        facts["Software" if one else f"{part}, software"] = escape(software)
    if one:
        facts["Software"] = facts.pop("Software")  # last
    return facts
