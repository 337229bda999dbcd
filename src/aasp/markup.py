"""Names that strangers gave, in Markdown: read as they are written, whatever is in them."""

from __future__ import annotations

import re

from aasp.errors import one_line


def in_markdown(text: object) -> str:
    r"""A text in a line or a table's cell of Markdown: no HTML, no link, no code, no further cell.

    Underscores and stars stay, since a word in italics does no harm: aasp_tiny, not aasp\_tiny.
    """
    return re.sub(r"([\\`<|\[])", r"\\\1", one_line(str(text)))
