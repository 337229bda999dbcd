"""One HTML page from a template and its styles and scripts; its policy allows nothing else to run."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Any


@cache
def asset(name: str) -> str:
    """A file of the folder `assets`."""
    return files("aasp.explore").joinpath("assets", name).read_text(encoding="utf-8")


def in_script(value: Any) -> str:
    """JSON as data in a page's <script>, safe for any content."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")


def render_page(template: str, styles: tuple[str, ...], scripts: tuple[str, ...], media: str, **parts: str) -> str:
    """A template filled with its styles and scripts, and a policy that allows only these.

    Args:
        template: the name of an HTML asset with $policy, $style, $script and other placeholders.
        styles, scripts: names of assets.
        media: allowed sources of sounds, in Content-Security-Policy syntax.
        parts: texts for the other placeholders; names that end in `_html` are inserted unescaped, all others escaped.
    """
    style = "\n".join(map(asset, styles))
    inside = [asset(name) for name in scripts]
    hashes = " ".join(map(_hash, inside))
    policy = f"default-src 'none'; base-uri 'none'; form-action 'none'; script-src {hashes}; style-src {_hash(style)}; "
    policy += f"img-src data:; media-src {media}"
    return Template(asset(template)).substitute(
        policy=escape(policy),
        style=style,
        script="\n".join(f"<script>{text}</script>" for text in inside),
        **{name: text if name.endswith("_html") else escape(text) for name, text in parts.items()},
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
