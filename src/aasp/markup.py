"""Untrusted names in Markdown: shown literally, whatever they contain."""

from __future__ import annotations

import re

from aasp.errors import one_line


def in_markdown(text: object) -> str:
    r"""A text for a line or a table cell of Markdown: it adds no HTML, link, code or cell.

    Underscores and asterisks stay, since a word in italics does no harm: aasp_tiny, not aasp\_tiny.
    """
    return re.sub(r"([\\`<|\[])", r"\\\1", one_line(str(text)))
