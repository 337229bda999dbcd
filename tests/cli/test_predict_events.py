"""`aasp predict --frames`: events on the terminal, as JSON and in the field's tables; mistakes in one line."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.datasets.events.reading import read_events
from aasp.evaluate.events.detect import Detection, detect, pieces
from aasp.evaluate.finetune.over_time import step_probabilities
from aasp.evaluate.finetune.predict import class_probabilities, load_classifiers, predictions
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig, load_classifier
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

CLASSES = ("dog", "cat, small", "a=b")
Shown = Callable[..., tuple[str, str]]


def classifier(**settings: object) -> AudioClassifier:
    torch.manual_seed(0)
    encoder = AudioEncoderConfig(
        frontend=LogMelConfig(mels=32), stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=1, heads=2),
        window_seconds=0.64,
    )  # fmt: skip
    config = replace(AudioClassifierConfig(CLASSES, True, 2.0, encoder=encoder), **settings)  # type: ignore[arg-type]
    made = AudioClassifier(config)
    made.head.weight.data.normal_(std=0.8)
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a classifier of clips, two folds over time, one of numbers, and two sounds."""
    monkeypatch.chdir(tmp_path)
    classifier().save("clips")
    for fold in (0, 1):
        classifier(over_time=True, norm=("layer", "batch")[fold]).save(f"run/fold-{fold}/model")
    classifier(classes=("bpm",), multilabel=False, numbers=(120.0, 30.0)).save("numbers")
    rng = np.random.default_rng(0)
    for name, seconds in (("a.wav", 2.3), ("b.flac", 1.0)):
        swell = np.repeat(rng.uniform(-9, -1, 8), round(16_000 * seconds / 8))
        soundfile.write(name, np.exp(swell) * rng.standard_normal(len(swell)), 16_000)
    return tmp_path


def event_rows(text: str) -> list[tuple[str, float, float, str, float]]:
    rows = [line.split("\t") for line in text.splitlines()]
    return [(file, float(start), float(end), label, float(score)) for file, start, end, label, score in rows]


def over_time(path: str, how: Detection, hop: float | None = None) -> list[tuple[str, float, float, str, float]]:
    (one,) = step_probabilities(list(load_classifiers("run").values()), [path], hop=hop, skipped=[])
    assert one is not None
    found = detect(path, one.edges, one.probabilities, CLASSES, how)
    return [(e.file, round(e.start, 3), round(e.end, 3), e.label, round(e.score or 0, 3)) for e in found]


def test_events_of_steps_follow_thresholds_smoothing_and_minimum_length(shown: Shown) -> None:
    thresholds = ["--threshold", "0.5", "dog=0.6", "a=b=0.4"]
    options = [*thresholds, "--smooth", "0.4", "--min-length", "0.3", "--hop", "0.08"]
    out, err = shown("run", "a.wav", "b.flac", "--frames", *options)
    assert "the mean of 2 folds' probabilities" in err
    how = Detection(0.5, {"dog": 0.6, "a=b": 0.4}, smooth=0.4, min_length=0.3)
    expected = over_time("a.wav", how, 0.08) + over_time("b.flac", how, 0.08)
    assert len(expected) > 2 and event_rows(out) == expected
    assert all(end - start >= 0.3 - 1e-3 for _, start, end, _, _ in event_rows(out))


def test_events_of_windows_are_those_of_a_classifier_of_clips(shown: Shown) -> None:
    out, _ = shown("clips", "a.wav", "--frames", "--window", "0.5", "--threshold", "0.55")
    (one,) = predictions(list(load_classifiers("clips").values()), ["a.wav"], window=0.5, skipped=[])
    edges, values = pieces(one.windows, one.over_time)
    assert edges[:3].tolist() == [0, 0.25, 0.5] and edges[-1] == pytest.approx(2.3)
    expected = detect("a.wav", edges, values, CLASSES, Detection(0.55))
    rows = [(round(e.start, 3), round(e.end, 3), e.label) for e in expected]
    assert rows and rows == [(start, end, label) for _, start, end, label, _ in event_rows(out)]


def test_folds_of_numbers_are_said_to_be_numbers(shown: Shown) -> None:
    for fold in (0, 1):
        made = classifier(classes=("bpm",), multilabel=False, numbers=(90.0 + 60.0 * fold, 30.0))
        made.save(f"tempo/fold-{fold}/model")
    out, err = shown("tempo", "a.wav", "--json")
    assert err == "tempo: the mean of 2 folds' numbers: 0, 1\n"
    each = [json.loads(shown(f"tempo/fold-{fold}", "a.wav", "--json")[0])["classes"]["bpm"] for fold in (0, 1)]
    assert abs(each[1] - each[0]) > 10 and json.loads(out)["classes"]["bpm"] == pytest.approx(sum(each) / 2, abs=1e-3)


def test_json_has_events_beside_the_clips_classes(shown: Shown) -> None:
    out, _ = shown("run", "a.wav", "b.flac", "--frames", "--threshold", "0.5", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["file"] for line in lines] == ["a.wav", "b.flac"]
    expected = over_time("a.wav", Detection())
    events = [(round(e["start"], 3), round(e["end"], 3), e["label"]) for e in lines[0]["events"]]
    assert events == [(start, end, label) for _, start, end, label, _ in expected]
    assert lines[0].keys() == {"file", "seconds", "multilabel", "classes", "events"}
    assert lines[0]["classes"].keys() == set(CLASSES)


@pytest.mark.parametrize(("name", "kind"), [("e.csv", "csv"), ("e.parquet", "parquet"), ("e.tsv", "dcase"),
                                            ("raven", "raven"), ("labels", "audacity")])  # fmt: skip
def test_every_table_holds_the_printed_events(name: str, kind: str, shown: Shown) -> None:
    printed = event_rows(shown("run", "a.wav", "b.flac", "--frames", "--threshold", "0.5")[0])
    kinds = ["--format", kind] if "." not in name else []
    out, _ = shown("run", "a.wav", "b.flac", "--frames", "--out", name, *kinds)
    assert out == f"{name}: {len(printed)} events in 2 file(s), {kind}\n"
    found = read_events(name)
    rows = sorted((Path(e.file).name, round(e.start, 3), round(e.end, 3), e.label) for e in found.events)
    assert rows == sorted((file, start, end, label) for file, start, end, label, _ in printed)
    if kind in ("csv", "parquet", "raven"):
        assert sorted(round(e.score or 0, 3) for e in found.events) == sorted(row[-1] for row in printed)
    if kind == "raven":
        assert {(e.low_hz, e.high_hz) for e in found.events} == {(20.0, 8_000.0)}, "the band that the model receives"


def test_steps_are_shown_without_events_as_windows_are(shown: Shown) -> None:
    out, _ = shown("run", "b.flac", "--frames", "--json")
    frames = json.loads(out)["frames"]
    assert [(one["start"], one["end"]) for one in frames][:2] == [(0.0, 0.16), (0.16, 0.32)]
    assert frames[-1]["end"] == 1.0
    whole = json.loads(out)["classes"]
    assert whole["dog"] == pytest.approx(max(one["classes"]["dog"] for one in frames))


def test_a_regression_model_prints_its_values(shown: Shown) -> None:
    out, _ = shown("numbers", "a.wav")
    path, printed = out.strip().split("\t")
    expected = class_probabilities(load_classifier("numbers"), ["a.wav"])[0, 0]
    assert path == "a.wav" and float(printed.removeprefix("bpm ")) == pytest.approx(expected, rel=1e-3)


def test_a_bad_file_of_a_folder_is_counted_and_a_named_one_fails_after_the_table(shown: Shown) -> None:
    Path("in").mkdir()
    Path("a.wav").rename("in/a.wav")
    Path("in/bad.wav").write_bytes(b"RIFF")
    out, err = shown("run", "in", "--frames", "--out", "e.csv")
    assert "1 file(s), csv" in out and "skipped" in err and "bad.wav" in err
    _, err = shown("run", "in/a.wav", "in/bad.wav", "--frames", "--out", "f.csv", code=2)
    assert "not usable: 1 of 2 files" in err and Path("f.csv").exists()
    shown("run", "in/bad.wav", "--frames", "--out", "g.csv", code=2)
    assert not Path("g.csv").exists()


def test_a_full_disk_leaves_nothing(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, text: str, **named: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    before = sorted(Path().iterdir())
    for out in (["--out", "e.csv"], ["--out", "labels", "--format", "audacity"]):
        _, err = shown("run", "b.flac", "--frames", *out, code=1)
        assert "disk full" in err and out[1] in err
        assert sorted(Path().iterdir()) == before


WRONG = {
    "--threshold without --frames": ["run", "a.wav", "--threshold", "0.5"],
    "--hop 0.04 without --frames": ["run", "a.wav", "--hop", "0.04"],
    "--threshold high: not a number; write 0.5, or CLASS=0.3": ["run", "a.wav", "--frames", "--threshold", "high"],
    "threshold of dog is given twice": ["run", "a.wav", "--frames", "--threshold", "dog=0.1", "dog=0.2"],
    "threshold of all classes is given twice": ["run", "a.wav", "--frames", "--threshold", "0.1", "0.2"],
    "--overwrite without --out": ["run", "a.wav", "--frames", "--overwrite"],
    "numbers predicts a number, bpm, not classes": ["numbers", "a.wav", "--frames", "--threshold", "0.5"],
    "bpm, not classes, so it has no events": ["numbers", "a.wav", "--frames", "--out", "e.csv"],
    "threshold 1.5: a probability lies between": ["run", "a.wav", "--frames", "--threshold", "1.5"],
    "threshold cow=0.5: no such class; the model has dog": ["run", "a.wav", "--frames", "--threshold", "cow=0.5"],
    "smooth is -1 s": ["run", "a.wav", "--frames", "--smooth", "-1"],
    "hop is 0.05 s; this model's time steps are 0.16, 0.08, 0.04 s": ["run", "a.wav", "--frames", "--hop", "0.05"],
    "--window 1: run was fine-tuned on events": ["run", "a.wav", "--frames", "--window", "1"],
    "--hop 0.04: clips was fine-tuned on clips": ["clips", "a.wav", "--frames", "--hop", "0.04"],
    "--format without --out": ["run", "a.wav", "--frames", "--format", "raven"],
    "--top 2 with --threshold": ["run", "a.wav", "--frames", "--threshold", "0.5", "--top", "2"],
    "no format in the name e.txt": ["run", "a.wav", "--frames", "--out", "e.txt"],
    "output exists: a.csv": ["run", "a.wav", "--frames", "--out", "a.csv"],
    "output is a folder: run.csv": ["run", "a.wav", "--frames", "--out", "run.csv"],
    "output folder is not empty: run": ["run", "a.wav", "--frames", "--out", "run", "--format", "raven"],
    "both --json and --out": ["run", "a.wav", "--frames", "--out", "e.csv", "--json"],
    "event tables have no channel column": ["run", "a.wav", "--frames", "--out", "e.csv", "--channels", "each"],
}


@pytest.mark.parametrize("message", WRONG)
def test_mistakes_are_one_line_and_write_nothing(message: str, shown: Shown) -> None:
    Path("a.csv").write_text("mine")
    Path("run.csv").mkdir()
    before = sorted(Path().rglob("*"))
    out, err = shown(*WRONG[message], code=2)
    assert out == "" and message in err.splitlines()[-1] and "Traceback" not in err
    assert sorted(Path().rglob("*")) == before and Path("a.csv").read_text() == "mine"
