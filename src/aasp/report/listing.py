"""Tables of the page: words to the left, numbers to the right."""

from __future__ import annotations

from collections.abc import Sequence

FOLD = 30
"""Rows of a table that stand open; the others wait behind a line to click on."""


def listing(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1, across: bool = False
) -> str:
    """An HTML table, folded where it is long.

    Args:
        caption: for readers of screens.
        head: HTML of the columns' names.
        rows: HTML of the cells.
        left: so many first columns hold words, the others numbers.
        across: set it over the whole width of the page, not beside another panel.
    """
    if not rows:
        return "<p>None.</p>"
    kind = lambda column: "" if column < left else ' class="figure"'
    top = "".join(f'<th scope="col"{kind(column)}>{title}</th>' for column, title in enumerate(head))
    body = [f"<tr>{''.join(f'<td{kind(k)}>{cell}</td>' for k, cell in enumerate(row))}</tr>" for row in rows]
    classes = "list across" if across else "list"
    made = lambda some: (
        f'<table class="{classes}"><caption>{caption}</caption><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(some)}</tbody></table>"
    )
    if len(body) <= FOLD:
        return made(body)
    return f"{made(body[:FOLD])}<details><summary>{len(body) - FOLD:,} more</summary>{made(body[FOLD:])}</details>"
