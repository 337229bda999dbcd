"""What a person sees of a run, on a terminal and in a file."""

from __future__ import annotations

import re

import pytest

from aasp.training.display import Display, duration

METRICS = {
    "loss": 5.38, "losses/frame": 1.44, "losses/utterance": 1.94, "losses/contrastive": 3.35,
    "clips_per_second": 7.7, "hours_seen": 12.3,
}  # fmt: skip
NUMBERS = "loss 5.3800 (frame 1.4400, utterance 1.9400, contrastive 3.3500) · 7.7 clips/s · 12.30 h seen"


def test_a_plain_line_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(4000, 100, name="toy") as display:
        display.advance(150)
        display.show(200, METRICS)
    assert re.fullmatch(re.escape(f"step 200/4000 · {NUMBERS} · ") + r"\d+:\d\d left\n", capsys.readouterr().out)


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


@pytest.mark.parametrize(("seconds", "told"), [(0.2, "0:00"), (61, "1:01"), (3599.6, "1:00:00"), (36_610, "10:10:10")])
def test_duration(seconds: float, told: str) -> None:
    assert duration(seconds) == told
