"""The demo's page shows the numbers, sounds and names that it is given."""

from __future__ import annotations

import csv
import re
from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.evaluate.demo import FewLabels, FirstLook, TaskScores
from aasp.evaluate.intervals import Interval
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain import recipes
from aasp.report.demo_report import SHOWN, STEADY, TREMOLO, _clear, write_demo_report
from browser import look

NAMES = ["trained on", "aasp-tiny", "log-mel <x>"]


def interval(estimate: float, half: float = 0.05) -> Interval:
    return Interval(estimate, estimate - half, estimate + half, 0.95, 18, 432)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("demo"), np.random.default_rng(0)
    soundfile.write(folder / "a.flac", 0.1 * rng.standard_normal(16_000), 16_000)
    note = {"path": "a.flac", "split": "test", "pitch": "60", "family": "wood <wind>"}
    signals = [{"path": "a.flac", "split": "test", "kind": kind, "rate": rate} for kind, rate, _ in SHOWN]
    for name, rows in (("notes", [note | {"instrument": one} for one in (TREMOLO, STEADY)]), ("signals", signals)):
        with open(folder / f"{name}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    sound = note | {"path": str(folder / "a.flac"), "instrument": "a & b"}
    accuracy = {k: {name: interval(score) for name in NAMES[1:]} for k, score in ((1, 0.3), (5, 0.52), (20, 0.7))}
    few = [FewLabels("Modulation rate", (400, "signals", 192), 0.125, accuracy)]
    scores = {name: interval(0.721 - 0.1 * k) for k, name in enumerate(NAMES)}
    leads = {"aasp-tiny": interval(0.02), "log-mel <x>": interval(0.169)}
    task = TaskScores("Pitch", "48 keys & more", 0.03, scores, leads)
    path = folder / "report.html"
    trained, untrained = (AudioEncoder(AudioEncoderConfig(encoder=EncoderConfig(48, 1, 3))).eval() for _ in range(2))
    write_demo_report(
        path,
        folder,
        trained,
        untrained,
        recipes.get("aasp_tiny"),
        look=FirstLook([sound] * 30, few, [sound], [[sound] * 4], {"aasp-tiny": rng.normal(size=(30, 2))}),
        tasks=[task],
        metrics=[{"step": s, "losses/frame": 1 / s} for s in (10, 20)],
        facts={"Command": "aasp demo <b>"},
        eyebrow="aasp demo · x & y",
    )
    return path


def test_scores_leads_and_sounds(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", html) == [
        "A few labels",
        "The most similar notes",
        "A map of notes",
        "Further training",
        "What the student is shown",
        "Linear probes",
        "Which modulations each patch looks at",
        "The kernels",
    ]
    named = "from 20 labelled signals a class: aasp-tiny is right for 70 % of the signals, log-mel &lt;x&gt; 70 %."
    assert named in html
    assert "30 notes, at most 8 of an instrument," in html
    assert "1 labelled signal a class" in html and "20 labelled signals a class" in html
    assert html.count("<b>52.0</b> <span>47.0–57.0</span>") == 2 and "--at: 52.1; --chance: 3.0" in html
    assert "Trained on against aasp-tiny +2.0 points (−3.0 to +7.0), no clear difference;" in html
    assert "against log-mel &lt;x&gt; <b>+16.9 points (+11.9 to +21.9)</b>." in html
    assert (
        "Trained on against aasp-tiny: no clear difference at pitch. Against log-mel &lt;x&gt;: better at pitch."
        in html
    )
    sound = b64encode((page.parent / "a.flac").read_bytes()).decode()
    assert html.count(f"data:audio/flac;base64,{sound}") == 5 and html.count("a &amp; b, key 60") == 5
    assert "each with another 21 % of its patches" in html and "within 3.1 to 50 Hz" in html
    assert html.count("<svg") == 1 + 4 + (4 + 4) + 4 + 1
    assert not re.search(r"<x>|<wind>|demo <b>|x & y", html)


def test_tasks_are_sorted_by_their_differences() -> None:
    def task(name: str, **lead: Interval) -> TaskScores:
        return TaskScores(name, "", 0.1, {"ours": interval(0.5)}, lead)

    up, down, unclear = interval(0.1), interval(-0.1), interval(0.01)
    tasks = [task("Pitch", a=up, b=unclear), task("Rate", a=up, b=down), task("Family", a=unclear, b=up)]
    assert _clear(tasks, "a") == {"better at": ["pitch", "rate"], "no clear difference at": ["family"]}
    assert _clear(tasks, "b") == {"better at": ["family"], "worse at": ["rate"], "no clear difference at": ["pitch"]}


@pytest.mark.slow
def test_it_can_be_read_on_a_phone(page: Path, tmp_path: Path) -> None:
    assert look(page, tmp_path).faults == []
