"""One self-contained HTML page: its style and figures are inside it, it asks nothing of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from typing import Literal


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
    style = files("aasp.report").joinpath("page.css").read_text(encoding="utf-8")
    made = "".join(f"<dt>{escape(term)}</dt><dd>{description}</dd>" for term, description in facts.items())
    told = "\n".join(f'<p class="answer">{escape(answer)}</p>' for answer in answers)
    body = "\n".join(map(_section, sections))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header>
<p class="eyebrow">{escape(eyebrow)}</p>
<h1>{escape(title)}</h1>
<p class="lead">{escape(lead)}</p>
{told}
</header>
{body}
<footer><dl>{made}</dl></footer>
</main>
</body>
</html>
"""


def _section(section: Section) -> str:
    panels = "\n".join(f"<div>{panel}</div>" for panel in section.panels)
    caption = f"<figcaption>{section.caption}</figcaption>" if section.caption else ""
    figure = f'<figure><div class="{section.layout}">{panels}</div>{caption}</figure>' if section.panels else ""
    return f"<section>\n<h2>{escape(section.title)}</h2>\n<p>{section.text}</p>\n{figure}\n</section>"
