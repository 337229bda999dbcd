"""Figures become SVG in the page's own colours and typeface, and load nothing."""

from __future__ import annotations

import re

import numpy as np
from matplotlib.figure import Figure

from aasp.report import style


@style.drawn
def example(values: np.ndarray) -> Figure:
    figure, axes = style.panel(160, "A title", "level (dB)")
    axes.plot(values, color=style.FIRST, label="one")
    axes.plot(-values, color=style.CATEGORIES[8], label="another")
    axes.text(1, 0, "named", gid=style.HALO)
    axes.imshow(np.zeros((2, 2, 4)), interpolation="none").set_gid(style.INVERTED)
    axes.set_xlabel("time (s)")
    style.legend(axes)
    return figure


def test_colours_are_the_page_s_own():
    svg = example(np.arange(3.0))
    for variable in ("--first", "--category-9", "--muted", "--ink", "--rule"):
        assert f"var({variable})" in svg
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) == set()


def test_text_stays_text_in_the_page_s_typeface():
    svg = example(np.arange(3.0))
    assert re.findall(r"<text[^>]*>([^<]+)</text>", svg)[-5:] == ["named", "one", "another", "A title", "level (dB)"]
    assert "DejaVu" not in svg and "font-family: var(--label)" in svg


def test_halos_and_images_have_their_classes():
    svg = example(np.arange(3.0))
    assert re.search(r'<g class="halo"> *<text', svg)
    assert re.search(r'<image [^>]*class="inverted"', svg)


def test_it_is_inside_the_page_only():
    svg = example(np.arange(3.0))
    assert "http" not in svg and "xlink" not in svg and "<?xml" not in svg
    assert re.findall(r'href="([^"]{6})', svg) and all(
        reference.startswith(("#", "data:")) for reference in re.findall(r'href="([^"]*)"', svg)
    )
    assert re.match(r'<svg viewBox="0 0 328 160"', svg)


def test_the_same_figure_is_the_same_text():
    assert example(np.arange(3.0)) == example(np.arange(3.0)) != example(np.arange(4.0))
