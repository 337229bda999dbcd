"""The laboratory's report: one HTML page of whichever of its measurements lie in a folder.

Each measurement is a JSON file. The study that wrote it has a module `page` with

    answer(found) -> str                what came out, a sentence of plain text with its uncertainty
    section(found, folder) -> Markup    the HTML that shows it

so that the page is drawn from the files alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError
from markupsafe import Markup

from aasp.documents import LARGEST_RESULTS, as_written, read_object
from aasp.errors import AaspError
from aasp.report.templates import render

PARTS = {part: f"aasp.aliasing.{part}.page" for part in ("stability", "response", "kernels", "ablation")}
"""By name of the file without .json, in the order of the page: the module that draws it."""

TITLE = "Patches alias modulations: does it matter?"
LONGEST_COMMAND = 300
REMEDY = "measure it again with --overwrite"


def build(folder: Path) -> str:
    """The report as one HTML page.

    Args:
        folder: holds one or more of `stability.json`, `response.json`, `kernels.json`, `ablation.json`.

    Raises:
        AaspError: it holds none of them, or one can't be read.
    """
    files = {part: folder / f"{part}.json" for part in PARTS if (folder / f"{part}.json").exists()}
    if not files:
        known = ", ".join(f"{part}.json" for part in PARTS)
        raise AaspError(f"nothing to report: {folder} holds none of {known}; `aasp alias --help` lists what makes them")
    answers: list[str] = []
    sections: list[Markup] = []
    facts: dict[str, Markup] = {}
    for part, file in files.items():
        found = _read(file)
        page = importlib.import_module(PARTS[part])
        with as_written(file, REMEDY):
            try:
                answers.append(page.answer(found))
                sections.append(page.section(found, folder))
            except UndefinedError as error:
                raise LookupError(str(error)) from error
            facts |= _facts(part, found)
    values: dict[str, Any] = {"answers": answers, "sections": sections, "facts": _merged(facts)}
    return render("aliasing/report.html", eyebrow="aasp alias", title=TITLE, **values)


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_object(file, REMEDY, LARGEST_RESULTS)
    except OSError as error:
        raise AaspError(f"{file}: not readable ({error.strerror}); {REMEDY}") from None


def _facts(part: str, found: Mapping[str, Any]) -> dict[str, Markup]:
    """The command and the software behind a part, by term."""
    command, software = str(found["command"]), found["software"]
    if isinstance(software, Mapping):
        software = ", ".join(f"{name} {version}" for name, version in software.items())
    shown = Markup("{}").format(command)
    if len(command) > LONGEST_COMMAND:
        start = command[:LONGEST_COMMAND]
        shown = Markup("{}… <details><summary>all of it</summary>{}</details>").format(start, command)
    name = part.capitalize()
    return {
        f"{name}, command": Markup("<code>{}</code>").format(shown),
        f"{name}, software": Markup("{}").format(software),
    }


def _merged(facts: Mapping[str, Markup]) -> dict[str, Markup]:
    """One line for the software where all parts were made by the same."""
    software = {description for term, description in facts.items() if term.endswith("software")}
    if len(software) > 1:
        return dict(facts)
    commands = {term: description for term, description in facts.items() if not term.endswith("software")}
    return {
        **{term.removesuffix(", command"): description for term, description in commands.items()},
        "Software": software.pop(),
    }
