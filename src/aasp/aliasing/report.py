"""The laboratory's report: one HTML page of whichever of its measurements lie in a folder.

Each measurement is a JSON file. The part that wrote it offers `section.py` with

    answer(found) -> str                        what came out, a sentence of plain text with its uncertainty
    section(found, folder) -> list[Section]     what shows it

so that the page is drawn from the files alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from aasp.documents import LARGEST_RESULTS, as_written, read_object
from aasp.errors import AaspError
from aasp.report.page import Section, page

PARTS = {part: f"aasp.aliasing.{part}.section" for part in ("stability", "response", "kernels", "ablation")}
"""By name of the file without .json, in the order of the page: the module that tells of it."""

TITLE = "Patches alias modulations: does it matter?"
LEAD = """A spectrogram transformer cuts sound into patches and makes one token of each, so a modulation faster than
half the token rate can pass for a slower one. Does that matter for this encoder, and does its stem cure it?"""
LONGEST_COMMAND = 300
REMEDY = "measure it anew with --overwrite"


def tell(folder: Path) -> str:
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
    sections: list[Section] = []
    facts: dict[str, str] = {}
    for part, file in files.items():
        found = _read(file)
        teller = importlib.import_module(PARTS[part])
        with as_written(file, REMEDY):
            answers.append(teller.answer(found))
            sections += teller.section(found, folder)
            facts |= _facts(part, found)
    return page(eyebrow="aasp alias", title=TITLE, lead=LEAD, answers=answers, sections=sections, facts=_merged(facts))


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_object(file, REMEDY, LARGEST_RESULTS)
    except OSError as error:
        raise AaspError(f"{file}: not readable ({error.strerror}); {REMEDY}") from None


def _facts(part: str, found: Mapping[str, Any]) -> dict[str, str]:
    """The command and the software behind a part, HTML by term."""
    command, software = found["command"], found["software"]
    if isinstance(software, Mapping):
        software = ", ".join(f"{name} {version}" for name, version in software.items())
    told = escape(str(command))
    if len(told) > LONGEST_COMMAND:
        told = f"{escape(str(command)[:LONGEST_COMMAND])}… <details><summary>all of it</summary>{told}</details>"
    return {f"{part.capitalize()}, command": f"<code>{told}</code>", f"{part.capitalize()}, software": escape(software)}


def _merged(facts: Mapping[str, str]) -> dict[str, str]:
    """One line for the software where all parts were made by the same."""
    software = {description for term, description in facts.items() if term.endswith("software")}
    if len(software) > 1:
        return dict(facts)
    commands = {term: description for term, description in facts.items() if not term.endswith("software")}
    return {
        **{term.removesuffix(", command"): description for term, description in commands.items()},
        "Software": software.pop(),
    }
