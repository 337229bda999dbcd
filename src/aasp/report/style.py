"""The style of the report's figures: one type size, few lines, and colours that follow the light or dark theme.

Figures are drawn in colours that represent roles. In the SVG each becomes a CSS variable, which the page defines once
for light and once for dark. Text stays text, in the page's typeface. Widths are CSS pixels at a phone's width, so that
a figure has its natural size on a phone and two fit side by side on a desktop.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import ParamSpec

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

INK, MUTED, RULE, PAPER = "#0a0a01", "#0a0a02", "#0a0a03", "#0a0a04"
FIRST, SECOND, THIRD = "#0a0a05", "#0a0a06", "#0a0a07"
"""Colours of series: the report's subject, what it is compared with, and a third."""
CATEGORIES = tuple(f"#0b0b{k:02x}" for k in range(1, 10))

VARIABLES = {
    INK: "--ink", MUTED: "--muted", RULE: "--rule", PAPER: "--paper",
    FIRST: "--first", SECOND: "--second", THIRD: "--third",
    **{color: f"--category-{k}" for k, color in enumerate(CATEGORIES, start=1)},
}  # fmt: skip

WIDTH = 328
"""Width of a panel in CSS pixels: the column of a phone that is 360 wide."""
INVERTED, HALO = "inverted", "halo"
"""The `gid` of elements with CSS of their own: an image in black ink, inverted in the dark; text with a halo."""

_RC = dict(mpl.rc_params_from_file(Path(__file__).with_name("figure.mplstyle"), use_default_template=False))

Arguments = ParamSpec("Arguments")


def drawn(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Markup]:
    """Turn a function that draws a `Figure` into one that returns it as SVG markup for a page."""

    @functools.wraps(draw)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Markup:
        # The salt makes the ids in the SVG, and so the file, reproducible.
        with mpl.rc_context(_RC | {"svg.hashsalt": draw.__name__}):
            return Markup(_svg(draw(*args, **kwargs)))

    return wrapped


def panel(height: float, title: str, what: str, *, left: float = 30, right: float = 8) -> tuple[Figure, Axes]:
    """A figure with one axes of width WIDTH, with the label of its vertical axis written horizontally under the title.

    Args:
        height: of the whole panel; all sizes are in CSS pixels.
        title: in bold, aligned with the page's text.
        what: quantity and unit of the vertical axis; empty for none.
        left: space for the vertical axis' numbers.
        right: space beside the axes.
    """
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    top = 34 if what else 22
    figure.subplots_adjust(left / WIDTH, 36 / height, 1 - right / WIDTH, 1 - top / height)
    figure.text(0, 1 - 10 / height, title, weight="bold", size=10.5)
    figure.text(0, 1 - 24 / height, what, color=MUTED)
    return figure, figure.add_subplot()


def legend(axes: Axes) -> None:
    """Name the series at the right, level with the label of the vertical axis."""
    above = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.4, "borderpad": 0}
    axes.legend(ncols=3, handlelength=1.1, handletextpad=0.4, columnspacing=1.0, **above)


def dashed(axes: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    """A dashed reference line."""
    axes.plot(x, y, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))


def log_ticks(axis: Axis, ticks: Sequence[float], label: Callable[[float], str]) -> None:
    """Give an axis a logarithmic scale with only these ticks, named by `label`."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_ticks(ticks, labels=[label(tick) for tick in ticks])
    axis.axes.minorticks_off()


def _svg(figure: Figure) -> str:
    file = StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = file.getvalue()
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    svg = f'<svg viewBox="0 0 {width} {height}" style="max-width: {1.3 * width:.0f}px">' + svg.split("</defs>", 1)[1]
    svg = re.sub(rf'id="({INVERTED}|{HALO})"', r'class="\1"', svg).replace("xlink:href", "href")
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--label)", svg)
    svg = re.sub(r"\s+", " ", svg).replace("base64, ", "base64,")
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return svg
