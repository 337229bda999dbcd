"""Pages and tables from Jinja2 templates: the prose is in the templates, and inserted values are escaped.

The templates of a package are in its `templates` folder: "compare/page.html" is `aasp/compare/templates/page.html`.
"""

from __future__ import annotations

import functools
from base64 import b64encode
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from aasp.evaluate.intervals import span
from aasp.files import atomic_write
from aasp.formats import duration_text, percent_text


def render(name: str, **values: Any) -> str:
    """Fill in a template.

    In HTML every value is escaped, unless it is `markupsafe.Markup`, as our figures are; other files are not escaped.

    Args:
        name: package and file, as in "report/demo.html".
        values: the template's values; a missing value is an error.
    """
    return _environment().get_template(name).render(values)


def write_page(path: Path, name: str, **values: Any) -> None:
    """Fill in a template and write it to a file, completely or not at all.

    Raises:
        OSError: the disk is full, or the location is not writable.
    """
    with atomic_write(path) as beside:
        beside.write_text(render(name, **values), encoding="utf-8")


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=lambda name: name is None or name.endswith((".html", ".css")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {"span": span, "percent": percent_text}
    environment.filters |= {"percent": percent_text, "duration": duration_text, "thousands": "{:,}".format}
    environment.filters["base64"] = lambda file: b64encode(Path(file).read_bytes()).decode("ascii")
    return environment


def _source(name: str) -> tuple[str, str, None]:
    """Text and file of a template; error messages show the file's name."""
    subpackage, _, file = name.partition("/")
    path = files("aasp").joinpath(subpackage, "templates", file)
    return path.read_text(encoding="utf-8"), str(path), None
