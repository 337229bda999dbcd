"""The display of a run, on a terminal and in a file."""

from __future__ import annotations

import io
import itertools
import re

import pytest
from rich.console import Console

from aasp.progress import ProgressBar, time_left
from aasp.training.display import Display

METRICS = {
    "loss": 5.38, "losses/frame": 1.44, "losses/utterance": 1.94, "losses/contrastive": 3.35,
    "clips_per_second": 7.7, "hours_seen": 12.3,
}  # fmt: skip
NUMBERS = "loss 5.3800 (frame 1.4400, utterance 1.9400, contrastive 3.3500) · 7.7 clips/s · 12.30 h seen"


def test_a_plain_line_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(4000, 100, name="toy") as display:
        display.advance(150)
        display.show(200, METRICS)
    assert re.fullmatch(re.escape(f"step 200/4000 · {NUMBERS} · ") + r"\d+ s left\n", capsys.readouterr().out)


def test_a_bar_and_the_same_numbers_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    with Display(4000, 0, name="toy") as display:
        display.advance(150)
        display.show(150, METRICS)
    shown = capsys.readouterr().out
    assert "toy" in shown and "150/4000" in shown and "left" in shown
    assert all(part in shown for part in ("frame 1.4400", "7.7 clips/s", "12.30 h seen")), "nothing is cut off"


def test_other_processes_show_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(4000, 0, name="toy", quiet=True) as display:
        display.advance(1)
        display.show(1, METRICS)
    assert capsys.readouterr().out == ""


def test_the_time_left_is_of_the_mean_speed_so_far() -> None:
    assert time_left(30, 10, 35) == "1 min 15 s left" and time_left(0, 0, 35) == "? left"
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    ticks = itertools.count(0, 60)
    with ProgressBar(console, get_time=lambda: float(next(ticks)), auto_refresh=False) as bar:
        task = bar.add_task("files", total=4)
        for done in range(1, 5):
            bar.update(task, completed=done, refresh=True)
    shown = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", console.file.getvalue())  # type: ignore[attr-defined]
    assert re.search(r"files ━+.*2/4 \d+ min 0 s left", shown) and re.search(r"4/4 in \d+ min 0 s", shown)
