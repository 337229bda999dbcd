"""Full runs at the command line: a table of events, a model over time, its tables; and regression."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.cli.main import main
from aasp.datasets.events.reading import read_events
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: an encoder, twelve sounds in parts, Audacity labels of ten, and a number of each."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    size, front = EncoderConfig(width=8, depth=1, heads=2), LogMelConfig(mels=32)
    AudioEncoder(AudioEncoderConfig(frontend=front, stem=ConvConfig(), encoder=size, window_seconds=0.64)).save("enc")
    rng, rows = np.random.default_rng(0), ["path,pitch,part"]
    Path("labels").mkdir()
    for n in range(12):
        part, hertz = ("train", "train", "test")[n % 3], 300 * 2 ** rng.uniform(0, 3)
        wave = 0.003 * rng.standard_normal(16_000)
        wave[4_000:10_000] += 0.2 * np.sin(2 * np.pi * hertz * np.arange(6_000) / 16_000)
        Path("audio", part).mkdir(parents=True, exist_ok=True)
        soundfile.write(f"audio/{part}/{n}.wav", wave, 16_000)
        name = "high" if hertz > 850 else "low"
        if n < 10:
            Path(f"labels/{n}.txt").write_text(f"0.25\t0.625\t{name}\n")
        rows.append(f"audio/{part}/{n}.wav,{np.log2(hertz):.3f},{part}")
    Path("index.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


SHORT = ["--steps", "4", "--workers", "1", "--precision", "fp32"]
SHORT += ["--set", "crop_seconds=0.8", "batch=4", "validations=1"]


@pytest.mark.slow
def test_from_a_folder_of_labels_to_a_table_of_events(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", "enc", "--events", "labels", "--root", "audio", "--out", "run", *SHORT]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "segment_F1" in output and "event_F1" in output and "without an event: 2 of 12 sounds" in output
    document = json.loads(Path("run/results.json").read_text())
    assert {record["metric"] for record in document["records"]} == {"mAP", "segment_F1", "event_F1"}
    assert Path("run/report.html").exists()
    assert main(["finetune", "enc", "--events", "labels", "--root", "audio", "--out", "run", *SHORT]) == 0
    index = ["--index", "index.csv", "--split", "part"]
    assert main(["finetune", "enc", "--events", "labels", *index, "--out", "indexed", *SHORT]) == 0
    assert {record["benchmark"] for record in json.loads(Path("indexed/results.json").read_text())["records"]} == {
        f"{folder.name}/index.csv"
    }
    tables = ["--frames", "--hop", "0.04", "--threshold", "0.1", "--out", "heard.tsv"]
    assert main(["predict", "run", "audio/test", *tables]) == 0
    found = read_events("heard.tsv")
    assert len(found.files) == 4 and {event.label for event in found.events} <= {"high", "low"}
    assert all(0 <= event.start < event.end <= 1.0 for event in found.events)
    assert main(["table", "run"]) == 0
    assert "segment_F1" in capsys.readouterr().out


@pytest.mark.slow
def test_a_regression_is_trained_and_predicted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = ["--index", "index.csv", "--label", "pitch", "--split", "part", "--task", "regression"]
    assert main(["finetune", "enc", *task, "--out", "run", *SHORT]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "numbers: pitch" in output and "R2" in output and "MAE" in output and "with numbers, pitch" in output
    assert main(["predict", "run", "audio/test/2.wav", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)["classes"]["pitch"]
    assert 5 < value < 15
    assert main(["info", "run/model"]) == 0


def test_events_that_do_not_fit_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for given, message in (
        (["--events", "labels"], "name one of --root DIR and --index FILE"),
        (["--events", "nowhere.csv", "--root", "audio"], "no such table of events: nowhere.csv"),
        (["--events", "labels", "--root", "audio/train"], "is none of the 8 sounds of"),
        (["--events", "labels", "--root", "audio", "--task", "regression"], "whose labels are classes"),
        (["--events", "labels", "--root", "audio", "--recipe", "tiny"], "has loss softmax; add --set loss=sigmoid"),
    ):
        assert main(["finetune", "enc", *given, "--out", "run"]) == 2
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1 and not Path("run").exists()
