"""The sections of a page's HTML, as tests look at them."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A section: its heading, paragraph, panels and caption, as HTML with single spaces."""

    title: str
    text: str
    panels: list[str]
    caption: str


def parts(html: str) -> list[Part]:
    """Every section of a page."""
    html = " ".join(html.split())
    first = lambda pattern, text: next(iter(re.findall(pattern, text)), "").strip()
    return [
        Part(
            first(r"<h2>(.*?)</h2>", text),
            first(r"</h2> ?<p>(.*?)</p>", text),
            [panel.strip() for panel in re.findall(r"<div>(.*?)</div>", text)],
            first(r"<figcaption>(.*?)</figcaption>", text),
        )
        for text in re.findall(r"<section>(.*?)</section>", html)
    ]
