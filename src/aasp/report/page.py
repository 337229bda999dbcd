"""One self-contained HTML page: its style and figures are inside it, it asks nothing of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from markupsafe import Markup

from aasp.report.templates import render


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph, and figures with what to see in them.

    Attributes:
        title: plain text.
        text: HTML of one paragraph.
        panels: SVGs or other HTML.
        caption: HTML that tells a newcomer how to read the panels.
        layout: "panels", side by side where there is room, tables across; or "table", one under the other.
    """

    title: str
    text: str
    panels: Sequence[str] = field(default=())
    caption: str = ""
    layout: Literal["panels", "table"] = "panels"


def page(
    *,
    eyebrow: str,
    title: str,
    lead: str,
    answers: Sequence[str],
    sections: Sequence[Section],
    facts: Mapping[str, str],
) -> str:
    """The whole page.

    Args:
        eyebrow: a short line over the title.
        title: of the page.
        lead: the question, plain text.
        answers: what came out, plain text, a paragraph each.
        sections: what shows it.
        facts: how it was made: term and HTML of its description.
    """
    return render(
        "report/sections.html",
        eyebrow=eyebrow,
        title=title,
        lead=lead,
        answers=answers,
        sections=sections,
        facts={term: Markup(description) for term, description in facts.items()},
    )
