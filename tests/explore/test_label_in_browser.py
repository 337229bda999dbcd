"""The labelling's page in headless Chromium: keys, a class made in the page, phone, light and dark, hostile names."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from aasp.explore.labelling import Labelling
from aasp.explore.server import LabelServer
from aasp.index import Index
from devtools import tab
from hostile import NAME

pytestmark = pytest.mark.slow


def test_sounds_are_labelled_by_keys(small: Index, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    name = NAME[:70]  # as long as a class may be
    with LabelServer(Labelling(small, file, [], ["low", name])) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        with tab() as one:
            for width, dark in ((1200, False), (390, True)):
                one.open(server.address, width=width, dark=dark)
                assert one.ask("document.documentElement.scrollWidth") <= width
                one.until("audio.currentTime > 0.1")
            for number, key in enumerate("1212121", start=1):
                one.press(key)
                one.until(f"state.labelled === {number} && !busy")
            assert [label.name for label in server.labelling.labels] == ["low", name] * 3 + ["low"]
            one.press("Backspace")
            one.until("state.labelled === 6 && !busy")
            row = one.ask("state.current.row")
            one.press("0")
            one.until(f"state.current.row !== {row} && !busy")
            one.ask("by('new').focus()")
            one.press(*"new1", "Enter")
            one.until("state.classes.length === 3 && !busy")
            one.press("3")
            one.until("state.labelled === 7 && !busy")
            assert server.labelling.labels[-1].name == "new1"
            assert one.ask("[...document.querySelectorAll('#classes .text')].map(one => one.textContent)")[1] == name
            assert one.ask("by('why').textContent.startsWith('uncertain, between')")
            assert one.complaints == []
        server.shutdown()
    assert file.read_text(encoding="utf-8").count("\n") == 8
