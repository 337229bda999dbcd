"""`aasp predict`: lines for people and for programs, files and folders, folds together; mistakes in one line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from aasp.evaluate.finetune.predict import class_probabilities
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig, load_classifier
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

CLASSES = ("cat", "dog", "rain", "chainsaw, far", "wind", "bell", "Vögel")
Shown = Callable[..., tuple[str, str]]


def classifier(seed: int, **settings: Any) -> AudioClassifier:
    torch.manual_seed(seed)
    encoder = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=1, heads=2))
    made = AudioClassifier(AudioClassifierConfig(CLASSES, clip_seconds=2.0, encoder=encoder, **settings))
    made.head.weight.data.normal_()
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a classifier, a run of two folds, an encoder, a folder of two sounds and a text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    classifier(0).save("model")
    classifier(1, multilabel=True).save("several")
    for fold in (0, 1):
        classifier(fold).save(f"run/fold-{fold}/model")
    AudioEncoder(classifier(0).config.encoder).save("encoder")
    rng = np.random.default_rng(0)
    Path("sounds/deep").mkdir(parents=True)
    for path, seconds in (("a.wav", 1.3), ("sounds/b.flac", 0.4), ("sounds/deep/c.wav", 2.5)):
        soundfile.write(path, 0.1 * rng.standard_normal(round(16_000 * seconds)), 16_000)
    Path("sounds/notes.txt").write_text("no sound")
    return tmp_path


def expected(model: str, path: str) -> dict[str, float]:
    one = load_classifier(model)
    return dict(zip(one.config.classes, class_probabilities(one, [path])[0].tolist(), strict=True))


def test_a_line_a_file_with_the_likeliest_first(shown: Shown) -> None:
    out, err = shown("model", "a.wav", "sounds/b.flac", "--top", "2")
    assert err == ""
    lines = [line.split("\t") for line in out.splitlines()]
    assert [line[0] for line in lines] == ["a.wav", "sounds/b.flac"]
    for path, *classes in lines:
        ranked = sorted(expected("model", path).items(), key=lambda pair: -pair[1])[:2]
        assert classes == [f"{name} {100 * p:.1f} %" for name, p in ranked]


def test_the_channel_is_that_of_training_by_default(shown: Shown) -> None:
    classifier(0, channels="2").save("second")
    soundfile.write("stereo.wav", 0.1 * np.random.default_rng(1).standard_normal((16_000, 2)), 16_000)
    found = {channels: shown("second", "stereo.wav", "--channels", channels)[0] for channels in ("mean", "first", "2")}
    note = "second: reads channel 2, on which it was trained; choose another with --channels\n"
    assert shown("second", "stereo.wav") == (found["2"], note)
    assert shown("second", "stereo.wav", "--channels", "2")[1] == ""
    assert found["2"] != found["mean"] == shown("model", "stereo.wav")[0]
    assert all(line.startswith("stereo.wav\t") for line in found.values())
    Path("bad.wav").write_bytes(b"no sound")
    assert "bad.wav" in shown("second", "bad.wav", "stereo.wav", code=2)[1], "a file that was named"
    both = shown("second", "stereo.wav", "--channels", "each")[0].splitlines()
    assert [line.split("\t")[0] for line in both] == ["stereo.wav channel 1", "stereo.wav channel 2"]


def test_five_classes_by_default_and_never_more_than_the_model_has(shown: Shown) -> None:
    assert len(shown("model", "a.wav")[0].split("\t")) == 1 + 5
    assert len(shown("model", "a.wav", "--top", "100")[0].split("\t")) == 1 + 7


def test_json_holds_every_class(shown: Shown) -> None:
    out, _ = shown("model", "a.wav", "sounds/b.flac", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["file"] for line in lines] == ["a.wav", "sounds/b.flac"]
    assert [line["seconds"] for line in lines] == [1.3, 0.4]
    for line in lines:
        assert line.keys() == {"file", "seconds", "multilabel", "classes"} and line["multilabel"] is False
        assert line["classes"] == pytest.approx(expected("model", line["file"]), abs=1e-5)
        assert list(line["classes"].values()) == sorted(line["classes"].values(), reverse=True)
        assert sum(line["classes"].values()) == pytest.approx(1, abs=1e-5)
    assert "Vögel" in out, "names as people write them"
    assert len(json.loads(shown("model", "a.wav", "--json", "--top", "3")[0])["classes"]) == 3


def test_frames_have_start_and_end(shown: Shown) -> None:
    out, _ = shown("model", "a.wav", "--json", "--frames")
    frames = json.loads(out)["frames"]
    assert [(one["start"], one["end"]) for one in frames] == [(0.0, 1.0), (0.5, 1.3)]
    assert all(one["classes"].keys() == set(CLASSES) for one in frames)
    assert frames[0]["classes"] != frames[1]["classes"]
    out, _ = shown("model", "a.wav", "--frames", "--window", "0.8", "--top", "1")
    assert [line.split("\t")[0] for line in out.splitlines()] == [
        "a.wav", "a.wav 0.00–0.80 s", "a.wav 0.40–1.20 s", "a.wav 0.80–1.30 s",
    ]  # fmt: skip


def test_several_labels_have_probabilities_of_their_own(shown: Shown) -> None:
    out, err = shown("several", "a.wav")
    assert "each class has its own probability" in err and len(out.splitlines()) == 1
    out, err = shown("several", "a.wav", "--json")
    line = json.loads(out)
    assert err == "" and line["multilabel"] is True
    assert line["classes"] == pytest.approx(expected("several", "a.wav"), abs=1e-5)
    assert sum(line["classes"].values()) != pytest.approx(1, abs=0.01)


def test_folds_are_averaged_and_reported(shown: Shown) -> None:
    out, err = shown("run", "a.wav", "--json")
    assert err == "run: the mean of 2 folds' probabilities: 0, 1\n"
    each = [expected(f"run/fold-{fold}", "a.wav") for fold in (0, 1)]
    mean = {name: (each[0][name] + each[1][name]) / 2 for name in CLASSES}
    assert json.loads(out)["classes"] == pytest.approx(mean, abs=1e-5)


def test_folders_are_searched_and_their_bad_files_named(shown: Shown, folder: Path) -> None:
    Path("sounds/bad.wav").write_bytes(b"no sound")
    Path("sounds/song.mpc").write_bytes(b"x")
    out, err = shown("model", "sounds", "a.wav")
    assert [Path(line.split("\t")[0]).name for line in out.splitlines()] == ["b.flac", "c.wav", "a.wav"]
    assert err.count("\n") == 2 and "bad.wav: not audio" in err and "song.mpc: format not supported" in err


def test_a_named_bad_file_does_not_stop_the_others(shown: Shown) -> None:
    Path("empty.wav").touch()
    out, err = shown("model", "a.wav", "empty.wav", "nowhere.wav", "sounds/b.flac", code=2)
    assert [line.split("\t")[0] for line in out.splitlines()] == ["a.wav", "sounds/b.flac"]
    skipped = [line for line in err.splitlines() if line.startswith("skipped ")]
    assert skipped == ["skipped nowhere.wav: no such file", "skipped empty.wav: empty file"] or len(skipped) == 2
    assert "aasp: error: not usable: 2 of 4 files, the first " in err


def test_a_sound_that_is_named_twice_is_classified_once(shown: Shown) -> None:
    out, err = shown("model", "a.wav", "./a.wav", "sounds", "sounds/b.flac")
    assert [Path(line.split("\t")[0]).name for line in out.splitlines()] == ["a.wav", "b.flac", "c.wav"]
    assert "named more than once, and classified once: 2" in err


def test_a_name_that_is_not_utf8_is_one_line(shown: Shown) -> None:
    Path("a.wav").rename("caf\udce9.wav")
    out, err = shown("model", "caf\udce9.wav", "sounds/b.flac", code=2)
    assert out.count("\n") == 1 and "its name is not valid UTF-8" in err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("encoder", "a.wav"), "encoder: an encoder without classes; make a classifier of it with `aasp finetune`"),
        (("nowhere", "a.wav"), "nowhere: no such directory"),
        (("sounds", "a.wav"), "sounds is not a classifier: `aasp predict runs/clips sounds a.wav`"),
        (("model",), "no files after model: `aasp predict model dog.wav`"),
        (("nowhere",), "nowhere: neither a model nor a file or folder of that name exists; check the path"),
        (("model", "a.wav", "--top", "0"), "--top is 0; give a number of at least 1"),
        (("model", "a.wav", "--window", "0.5"), "--window 0.5 without --frames"),
        (("model", "a.wav", "--frames", "--window", "3"), "--window is 3 s; give 0.025 s to the 2 s"),
        (("model", "a.wav", "--frames", "--window", "0.01"), "--window is 0.01 s; give 0.025 s to the 2 s"),
        (("model", "run"), "two models are named, model and run"),
        (
            ("model", "nowhere.wav"),
            "not usable: 1 of 1 files, the first nowhere.wav: no such file; repair or replace them",
        ),
        (("model", ""), "an empty argument, perhaps from an unset shell variable; give a value"),
    ],
)
def test_mistakes_are_one_line(argv: tuple[str, ...], message: str, shown: Shown) -> None:
    out, err = shown(*argv, code=2)
    assert out == "" and err.count("\n") == 1 and message in err


def test_the_progress_bar_is_not_written_to_a_pipe(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    out, _ = shown("model", "a.wav", "--json")
    assert json.loads(out)["file"] == "a.wav"
    assert "classifying" in screen.getvalue() and "a.wav" not in screen.getvalue()


def test_nothing_usable_in_a_folder(shown: Shown) -> None:
    Path("bad").mkdir()
    Path("bad/x.wav").write_bytes(b"no sound")
    out, err = shown("model", "bad", code=2)
    assert out == "" and "not usable: 1 of 1 files" in err and "x.wav: not audio" in err
