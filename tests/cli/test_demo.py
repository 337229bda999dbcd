"""`aasp demo`: user mistakes in one line; the display of stages; a full run at a miniature size."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aasp.cli import main as cli
from aasp.cli import stages as stages_module
from aasp.cli.demo import Demo
from aasp.cli.stages import Stages
from browser import look


def complaint(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert cli.main(["demo", *argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def test_zero_steps_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "--steps is 0" in complaint(capsys, "--steps", "0", "--out", str(tmp_path / "demo"))
    assert not (tmp_path / "demo").exists()


def test_a_folder_that_is_not_a_demo_is_left_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    assert "neither empty nor a demo" in complaint(capsys, "--out", str(tmp_path))
    assert "output is a file" in complaint(capsys, "--out", str(tmp_path / "thesis.tex"))
    assert "thesis.tex" in complaint(capsys, "--out", str(tmp_path / "thesis.tex" / "demo"))
    assert (tmp_path / "thesis.tex").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_unknown_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--stpes" in complaint(capsys, "--stpes", "3")


def test_help_lists_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--help"]) == 0
    output = capsys.readouterr().out
    assert "--out" in output and "--steps" in output and str(Demo().steps) in output


def test_stages_print_lines_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(stages_module.time, "monotonic", lambda: float(next(clock)))
    stages = Stages(2)
    stages.announce("first")
    with stages.stage("second") as bar:
        show = bar("files")
        for done in range(1, 5):
            show(done, 4)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["1/2 first", "2/2 second"]
    assert lines[2:] == ["    files: 2 of 4, 20 s left", "    files: 4 of 4, in 40 s"]


@pytest.mark.slow
def test_a_full_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sounds, a first look, three steps, probes, report; then again, where all but the report is already done."""
    pytest.importorskip("midirenderer")
    from aasp.cli.demo import demonstrate
    from aasp.config import with_fields
    from aasp.datasets.demo import Size
    from aasp.model.audio_encoder import AudioEncoder
    from aasp.model.encoder import EncoderConfig
    from aasp.pretrain import recipes

    changes = {"steps": 3, "predictor.depth": 1, "predictor.width": 48, "data.batch": 8, "codebook.count": 16}
    vector = {"model.encoder": EncoderConfig(48, 3, 3), "model.vector": ("0:flat+std", "2:mean+std")}
    small = with_fields(recipes.get("aasp_tiny"), {**changes, **vector})
    AudioEncoder(small.model).save(tmp_path / "model")
    out = tmp_path / "demo"
    again = lambda: demonstrate(out, small, str(tmp_path / "model"), Size(notes=3, voices=(2, 1, 1)))
    assert again() == 0
    output = capsys.readouterr().out
    for label in ("modulation rate", "instrument family"):
        for count in (1, 5, 20):
            assert re.search(rf"{label}, labels per class {count}: aasp-tiny \d+ %, log-mel statistics \d+ %", output)
    assert re.search(r"most like trumpet, key \d+: \w.*, key \d+, ", output)
    assert re.search(r"further trained +\d+\.\d \[.*\] +\d+\.\d \[.*\] +\d+\.\d \[", output)
    assert re.search(r"Modulation rate, further trained against aasp-tiny: [+−]\d", output)

    report = (out / "report.html").read_text()
    assert report.count("<svg") >= 20 and "aasp demo · aasp-tiny · 3 steps" in report
    assert report.count("<audio") == 20 and report.count(">aasp-tiny</th>") >= 3 + 3
    assert not re.search(r"<(script|link|img|iframe)|@import|https?:|url\((?!#)", report)
    ids = re.findall(r'<(?:path|clipPath|linearGradient) id="([^"]*)"', report)
    for reference in re.findall(r'(?:href="#|url\(#)([^")]*)', report):
        assert reference in ids

    kept = {path: path.stat().st_mtime_ns for part in ("sounds", "kept") for path in (out / part).rglob("*")}
    (out / "report.html").unlink()
    assert again() == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert (out / "report.html").read_text() == report
    assert "embedding clips" not in capsys.readouterr().out
    assert look(out / "report.html", tmp_path).faults == []
