"""The map in headless Chromium: WebGL and without, keyboard, phone, light and dark, search, sound."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aasp.explore.map import write_map
from aasp.index import Index
from devtools import Tab, tab
from hostile import NAME

HOSTILE = NAME.replace("/", "_") + ".wav"
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("options", "kind"), [((), "WebGL"), (("--disable-gpu", "--disable-3d-apis"), "2-D canvas")])
def test_a_map_is_shown_searched_and_played(options: tuple[str, ...], kind: str, small: Index, tmp_path: Path) -> None:
    page = tmp_path / "map.html"
    write_map(small, page, groups=3, most_bytes=1e6)
    with tab(*options) as one:
        for width, dark in ((390, True), (1200, False)):
            one.open(page.as_uri(), width=width, dark=dark)
            assert one.ask("document.documentElement.dataset.ready") == kind
            assert one.ask("document.documentElement.scrollWidth") <= width
        one.ask("plot.focus()")
        one.press("ArrowRight")
        first = one.ask("chosen")
        one.until("audio.currentTime > 0.2")
        one.press("ArrowRight")
        assert one.ask(f"places[2 * chosen] > places[2 * {first}]")
        x, y = one.ask("onScreen(2)")
        left, top = one.ask("(box => [box.x, box.y])(plot.getBoundingClientRect())")
        one.click(left + x, top + y)
        assert one.ask("[chosen, by('name').textContent]") == [2, "clip 000002.wav"]
        one.press("/", *"onerror", "Enter")
        assert one.ask("by('name').textContent") == HOSTILE.replace("\u202e", one.ask("'\\u202e'"))
        assert one.ask("by('matches').textContent") == "21 of 60 shown", "20 of that label, and the file's name"
        one.press("Escape", "+")
        assert one.ask("[by('matches').textContent, view.zoom]") == ["", 1.4]
        one.ask("(by('colour').value = 1, by('colour').dispatchEvent(new Event('change')))")
        assert one.ask("by('legend').innerText").split() == ["0", "1"]
        moved_about(one)
        assert one.complaints == []


def moved_about(one: Tab) -> None:
    """While the map moves as many points are drawn as frames have time for, and the marks go with them; at rest all."""
    one.until("!moving && !requested")
    one.ask("(drawings = [], real = drawer.draw)")
    one.ask("drawer.draw = (camera, size, last) => { drawings.push(last); real(camera, size, last); }")
    assert one.ask("[50, 30, 10].map((took) => (many = 60, fitting(took)))") == [60, 60, 60], "so few are always drawn"
    one.ask("(many = 20, pan(30, 0))")
    one.until("drawings.length")
    assert one.ask("drawings[0]") == 20
    one.until("!moving && !requested")
    assert one.ask("[drawings.at(-1), marks.canvas.style.transform]") == [60, ""]
    one.ask("(hover(-1), drawings = [], hover(3))")
    one.until("!requested")
    assert one.ask("[drawings.length, by('hover').textContent]") == [0, "clip 000003.wav"], (
        "the points stay as they are"
    )
    moved = one.ask("(view.zoom = 2, pan(30, 6), follow(), marks.canvas.style.transform)")
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", moved)]
    assert numbers == pytest.approx([30, 6, 2 / 1.4], abs=1e-3), moved
