"""The laboratory's page in a real browser: at phone and desktop width, light and dark; the check finds faults."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from markupsafe import Markup

from aasp.aliasing import report
from aasp.report.templates import render
from browser import DESK, PHONE, Scheme, Seen, contrast, look


@pytest.fixture(scope="module")
def kernels_page(aape_model: Path, sounds: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from aasp.aliasing.kernels.departure import Origin
    from aasp.aliasing.kernels.document import measure
    from aasp.encoders import open_adapter

    folder = tmp_path_factory.mktemp("found")
    found = measure(open_adapter(aape_model), sounds, Origin(0))
    found |= {"command": "aasp alias kernels small " + 40 * "a-long-name.wav ", "software": "aasp 1"}
    (folder / "kernels.json").write_text(json.dumps(found))
    (folder / "report.html").write_text(report.build(folder), encoding="utf-8")
    return folder / "report.html"


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "light"), (PHONE, "dark"), (DESK, "light")])
def test_the_page_is_as_it_should_be(kernels_page: Path, width: int, scheme: Scheme, tmp_path: Path) -> None:
    seen = look(kernels_page, tmp_path, width=width, scheme=scheme)
    assert seen.faults == []
    assert seen.found["width"] == width and len(seen.found["drawings"]) == 13
    bright = sum(seen.paper) > sum(seen.ink)
    assert bright == (scheme == "light") and contrast(seen.ink, seen.paper) > 10


def sound() -> str:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(8000, np.float32), 16_000, format="FLAC")
    return f'<audio controls src="data:audio/flac;base64,{base64.b64encode(file.getvalue()).decode()}"></audio>'


def seen_with(panel: str, folder: Path) -> Seen:
    part = Markup('<section><h2>s</h2><p>t</p><figure><div class="panels"><div>{}</div></div></figure></section>')
    values = {"answers": ["a"], "sections": [part.format(Markup(panel))], "facts": {"Seed": "0"}}
    html = render("aliasing/report.html", eyebrow="", title="t", **values)
    # The policy would keep broken scripts from running.
    html = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    (folder / "page.html").write_text(html, encoding="utf-8")
    return look(folder / "page.html", folder)


def test_whole_panels_have_no_fault(tmp_path: Path) -> None:
    picture = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    drawing = '<svg viewBox="0 0 328 100"><text x="0" y="20" style="font: 9px sans-serif">read me</text></svg>'
    seen = seen_with(f'{sound()}<img src="{picture}" alt="">{drawing}', tmp_path)
    assert seen.faults == []
    assert [len(seen.found[kind]) for kind in ("images", "drawings", "sounds")] == [1, 1, 1]


BROKEN = {
    'broken picture: <img src="data': '<img src="data:image/png;base64,AAAA" alt="">',
    'broken picture: <img src="gone': '<img src="gone.png" alt="">',
    "empty drawing: <svg": '<svg viewBox="0 0 10 10" style="width: 0"></svg>',
    'broken sound: <audio controls="" src': '<audio controls src="data:audio/flac;base64,AAAA"></audio>',
    'broken sound: <audio controls=""></audio>': "<audio controls></audio>",
    "scrolls sideways: ": "<table style='width: 500px'><tr><td>wide</td></tr></table>",
    "text of 8.0 px: small": '<p style="font-size: 8px">small</p>',
    "text of 6.0 px: tiny": '<svg viewBox="0 0 656 40" style="width: 328px; font-size: 12px"><text>tiny</text></svg>',
    "console: Uncaught ReferenceError": "<script>nowhere()</script>",
    "console: it broke": '<script>console.error("it broke")</script>',
    "ink on paper has a contrast of 1": "<style>body { color: #999; background: #bbb }</style>",
}


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    # In a list, where nothing keeps the wide table from widening the page as the grid of panels does.
    return seen_with(f"<ul><li>{'<li>'.join(BROKEN.values())}</ul>", tmp_path_factory.mktemp("broken")).faults


@pytest.mark.parametrize("fault", BROKEN)
def test_every_fault_is_found(fault: str, faults: list[str]) -> None:
    assert any(line.startswith(fault) for line in faults), faults
