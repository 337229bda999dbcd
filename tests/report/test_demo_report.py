"""The demo's page shows the numbers, sounds and names that it is given."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.evaluate.intervals import Interval
from aasp.report.demo_report import DemoReportData, Example, render_demo_report
from aasp.report.findings import Estimates
from aasp.report.first_look import FirstLook
from aasp.report.scores import TaskScores
from aasp.report.spectrogram import Spectrogram
from browser import look

NAMES = ["trained on", "aasp-tiny", "log-mel <x>"]


def interval(estimate: float, half: float = 0.05) -> Interval:
    return Interval(estimate, estimate - half, estimate + half, 0.95, 18, 432)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("demo"), np.random.default_rng(0)
    soundfile.write(folder / "a.flac", 0.1 * rng.standard_normal(1600), 16_000)
    sound = ("a & b, key 60", folder / "a.flac")
    few = {name: {1: interval(0.3), 5: interval(0.52), 20: interval(0.7)} for name in NAMES[1:]}
    scores = {name: interval(0.721 - 0.1 * k) for k, name in enumerate(NAMES)}
    leads = {"aasp-tiny": interval(0.02), "log-mel <x>": interval(0.169)}
    task = TaskScores("Pitch", "48 keys & more", 0.03, scores, leads)
    clip = Spectrogram(rng.random((48, 32)), np.geomspace(60, 7800, 32), 100.0, (16, 16))
    estimates = Estimates(
        rng.uniform(0.03, 0.9, (4, 3, 2, 4)),
        rng.uniform(3.2, 49, (4, 3, 2, 4)),
        rng.uniform(3.2, 49, (4, 3, 2)),
        rng.uniform(0.3, 1, (4, 3, 2)),
    )
    data = DemoReportData(
        patch_ms=160.0,
        bands=2,
        band=(3.125, 50.0),
        look=FirstLook(few, 0.2, [sound], [[sound] * 4]),
        tasks=[task],
        metrics=[{"step": s, "losses/frame": 1 / s} for s in (10, 20)],
        clip=clip,
        visible=np.array([[0, 3], [1, 5]]),
        examples=[Example("Clicks, 25 Hz", clip, rng.uniform(3.2, 49, (3, 2)), rng.random((3, 2)))],
        now=estimates,
        start=estimates,
        true_hz=np.array([3.0, 3.0, 25.0, 25.0]),
        kernels=(rng.normal(size=(4, 16)), rng.normal(size=(4, 16)), np.geomspace(3.2, 45, 4)),
        frame_rate=100.0,
        maps={"aasp-tiny": rng.normal(size=(30, 2))},
        families=np.array(["brass", "reed", "wood <wind>"] * 10),
        facts={"Command": "aasp demo <b>"},
    )
    path = folder / "report.html"
    path.write_text(render_demo_report(data, eyebrow="aasp demo · x & y"), encoding="utf-8")
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
    assert "1 labelled note a family" in html and "20 labelled notes a family" in html
    assert html.count("<b>52.0</b> <span>47.0–57.0</span>") == 2 and "--at: 52.1; --chance: 3.0" in html
    assert "Trained on against aasp-tiny +2.0 points (−3.0 to +7.0), no clear difference;" in html
    assert "against log-mel &lt;x&gt; <b>+16.9 points (+11.9 to +21.9)</b>." in html
    assert (
        "Trained on against aasp-tiny: no clear difference at pitch. Against log-mel &lt;x&gt;: better at pitch."
        in html
    )
    sound = b64encode((page.parent / "a.flac").read_bytes()).decode()
    assert html.count(f"data:audio/flac;base64,{sound}") == 5 and html.count("a &amp; b, key 60") == 5
    assert "each with another 33 % of its patches" in html and "within 3.1 to 50 Hz" in html
    assert html.count("<svg") == 1 + 3 + (1 + 4) + 4 + 1
    assert not re.search(r"<x>|<wind>|demo <b>|x & y", html)


@pytest.mark.slow
def test_it_can_be_read_on_a_phone(page: Path, tmp_path: Path) -> None:
    assert look(page, tmp_path).faults == []
