"""Names that would inject code into a page that does not escape them, and checks of a page for them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

NAME = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'&$\\frac{x}$`|[a](javascript:alert(1))\u202e"
_ALLOWED_ADDRESSES = ("#", "data:audio/flac;base64,", "data:image/png;base64,")


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.text = ""
        self.inside: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "img", "iframe", "object", "embed", "form", "base", "link", "foreignobject"):
            self.faults.append(f"<{tag}>")
        self.faults += [f"{tag} {name}" for name, _ in attributes if name.startswith("on")]
        for name, value in attributes:
            if name in ("href", "src", "xlink:href", "action") and not (value or "").startswith(_ALLOWED_ADDRESSES):
                self.faults.append(f"{tag} {name}={value}")

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(html: str) -> str:
    """The text of a page, after checking that every name stayed text.

    Raises:
        AssertionError: a name did not.
    """
    page = _Page()
    page.feed(html)
    page.close()
    assert page.faults == []
    return page.text


def strings(document: Any) -> Iterator[str]:
    """Every text in a JSON document, names of fields too."""
    if isinstance(document, dict):
        yield from document
        document = list(document.values())
    if isinstance(document, list):
        for one in document:
            yield from strings(one)
    elif isinstance(document, str):
        yield document


def renamed(document: Any, was: str, name: str) -> Any:
    """The document with a text replaced wherever it is, so that what refers to it still does."""
    if isinstance(document, dict):
        return {name if key == was else key: renamed(value, was, name) for key, value in document.items()}
    if isinstance(document, list):
        return [renamed(value, was, name) for value in document]
    return name if document == was else copy.copy(document)
