"""`aasp finetune`: a classifier, its results and its report; the same command resumes it; every mistake is one line."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from aasp.cli.finetune import _untrained
from aasp.cli.main import main
from aasp.config import with_fields
from aasp.datasets.pipeline import CropPipeline
from aasp.evaluate.records import read_records
from aasp.model import folder as model_folder
from aasp.model.architectures import ARCHITECTURES, ast_base
from aasp.model.audio_classifier import load_classifier
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig, load
from aasp.model.encoder import EncoderConfig
from aasp.pretrain import recipes
from aasp.stems.conv import ConvConfig

CLASSES = ("low", "middle", "high")
SMALL = ("--steps", "2", "--workers", "1", "--precision", "fp32")
SMALL += ("--set", "crop_seconds=0.25", "batch=4", "validations=1")
INDEX = ("--index", "index.csv", "--label", "label", "--split", "split", "--out", "run")
Shell = Callable[..., str]


def part(clip: int) -> str:
    return "train" if clip < 9 else "valid" if clip < 12 else "test"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a model, eighteen tones, an index of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    encoder = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=1, heads=2))
    AudioEncoder(encoder).save("model")
    rng = np.random.default_rng(0)
    Path("tones").mkdir()
    for clip in range(18):
        time = np.arange(3200) / 16_000
        tone = 0.3 * np.sin(2 * np.pi * (200, 800, 3200)[clip % 3] * rng.uniform(0.9, 1.1) * time)
        soundfile.write(f"tones/{clip}.wav", tone + 0.01 * rng.standard_normal(3200), 16_000)
    index()
    return tmp_path


def index(**changes: Callable[[int], object]) -> None:
    """Write index.csv again; columns are functions of the clip's number."""
    columns: dict[str, Callable[[int], object]] = {
        "path": lambda clip: f"tones/{clip}.wav",
        "label": lambda clip: CLASSES[clip % 3],
        "split": part,
    }
    columns |= changes
    with open("index.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([value(clip) for value in columns.values()] for clip in range(18))


@pytest.fixture
def done(folder: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Runs `aasp finetune`, expects it to end well, returns its output with one space between words."""

    def run(*argv: str) -> str:
        assert main(["finetune", *argv]) == 0
        return " ".join(capsys.readouterr().out.split())

    return run


@pytest.fixture
def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Runs `aasp finetune`, expects one line of complaint and nothing written."""

    def run(*argv: str) -> str:
        before = {path for path in Path().rglob("*") if path.suffix != ".csv"}
        assert main(["finetune", *argv]) == 2
        message = capsys.readouterr().err
        assert (
            message.startswith("aasp: error: ")
            and message.count("\n") == 1
            and ("; " in message or "not one of" in message)
        )
        assert {path for path in Path().rglob("*") if path.suffix != ".csv"} == before
        return message

    return run


def results(run: str = "run") -> dict[str, Any]:
    return json.loads(Path(run, "results.json").read_text())


def test_a_split(done: Shell) -> None:
    index(take=lambda clip: clip // 2)
    out = done("model", *INDEX, "--group", "take", *SMALL)
    found = results()
    (record,) = read_records(Path("run/results.json"))
    assert (record.protocol, record.recipe, record.metric, record.split) == ("finetune", "tiny", "accuracy", "test")
    assert record.clips == 6 and record.missing == 0 and record.details["trained_on"] == {"train": 9, "valid": 3}
    assert [Path(one["clip"]).stem for one in found["predictions"]] == [str(clip) for clip in range(12, 18)]
    assert [one["truth"] for one in found["predictions"]] == [CLASSES[clip % 3] for clip in range(12, 18)]
    assert [one["group"] for one in found["predictions"]] == [str(clip // 2) for clip in range(12, 18)]
    right = np.mean([[one["truth"]] == one["predicted"] for one in found["predictions"]])
    assert record.value == found["scores"]["accuracy"]["estimate"] == right
    assert found["recipe"]["crop_seconds"] == 0.25 and found["classes"] == sorted(CLASSES)
    assert f"accuracy {100 * right:.1f} [" in out and "groups of clips" in out and "6 scored, 3 classes" in out
    assert load_classifier("run").config.classes == tuple(sorted(CLASSES))
    assert "model fine-tuned on" in Path("run/report.html").read_text()


def test_without_a_model_name_the_packaged_model_is_used(done: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("packaged").mkdir()
    Path("model").rename("packaged/aasp-tiny")
    monkeypatch.setattr(model_folder, "PACKAGED", Path("packaged").absolute())
    done(*INDEX, *SMALL)
    (record, *_) = read_records(Path("run/results.json"))
    assert record.system == "aasp-tiny" and load_classifier("run/model").config.encoder.stem == ConvConfig()


def test_a_recipe_s_architecture_from_scratch_needs_no_model(done: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    index()
    small = lambda: with_fields(
        recipes.get("aasp_tiny"), {"model.encoder.depth": 1, "model.vector": "none", "model.encoder.width": 24}
    )
    monkeypatch.setitem(recipes.RECIPES, "cola_tiny", small)
    out = done("cola_tiny", "--scratch", *INDEX, *SMALL)
    assert read_records(Path("run/results.json"))[0].protocol == "from scratch" and "cola_tiny from scratch on" in out
    assert done("cola_tiny", "--scratch", *INDEX, *SMALL), "the same command resumes it"
    monkeypatch.setitem(ARCHITECTURES, "own", lambda: small().model)
    assert _untrained("own").config == small().model and _untrained("model") is None and _untrained("nobody") is None
    assert ARCHITECTURES["ast_base"] is ast_base


def test_folds_of_a_multi_label_index(done: Shell) -> None:
    index(label=lambda clip: CLASSES[clip % 3] + (";odd" if clip % 2 else ""), split=lambda clip: clip // 9)
    done("model", *INDEX, *SMALL)
    assert [record.split for record in read_records(Path("run/results.json"))] == ["0", "1"]
    assert results()["recipe"]["loss"] == "sigmoid" and results()["scores"].keys() == {"mAP"}
    assert results()["predictions"][1]["truth"] == ["middle", "odd"]
    assert all(load_classifier(f"run/fold-{fold}").config.multilabel for fold in (0, 1))


def test_a_folder_for_each_class(done: Shell) -> None:
    for clip in range(18):
        Path("byclass", CLASSES[clip % 3]).mkdir(parents=True, exist_ok=True)
        Path(f"tones/{clip}.wav").rename(f"byclass/{CLASSES[clip % 3]}/{clip}.wav")
    out = done("model", "--benchmark", "folder", "--root", "byclass", "--out", "run", "--train", "head", *SMALL)
    assert "our own split" in out
    learned = load_classifier("run").encoder.state_dict()
    for name, tensor in load("model").state_dict().items():
        assert torch.equal(tensor, learned[name]), "only the head has learned"


def test_linear_probing_then_fine_tuning(done: Shell) -> None:
    out = done("model", *INDEX, "--recipe", "lp_ft", *SMALL)
    assert "the head starts as a linear probe: embedding 9 training clips" in out and "lp_ft, 2 steps" in out
    assert results()["recipe"]["head"] == "probe" and results()["recipe"]["augment"]["patchout"] == 0.5
    (record,) = read_records(Path("run/results.json"))
    assert (record.protocol, record.recipe) == ("finetune", "lp_ft")


def test_a_user_defined_recipe(done: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    Path("own_recipes.py").write_text(
        "from dataclasses import replace\nfrom aasp.evaluate.finetune.recipes import words\n"
        "def mine():\n    return replace(words(), name='mine', summary='of my own', layer_decay=0.9)\n"
    )
    done("model", *INDEX, "--recipe", "own_recipes.py:mine", *SMALL)
    assert (results()["recipe"]["name"], results()["recipe"]["layer_decay"]) == ("mine", 0.9)
    assert main(["recipes", "--finetune", "own_recipes.py:mine"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("recipe mine: of my own") and "pretrained" in shown
    (record,) = read_records(Path("run/results.json"))
    assert record.recipe == "mine"


def test_an_interrupted_run_resumes_with_the_same_command(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["finetune", "model", *INDEX, *SMALL]
    assert main(["finetune", "model", *INDEX[:-1], "whole", *SMALL]) == 0
    take = CropPipeline.__next__

    def stopped(self: CropPipeline) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return take(self)

    with monkeypatch.context() as here:
        here.setattr(CropPipeline, "__next__", stopped)
        capsys.readouterr()
        assert main(command) == 75
    assert "stopped at step 1 of 2, saved; run the same command again to resume" in capsys.readouterr().out
    assert not Path("run/results.json").exists()
    assert main(command) == 0
    assert results()["predictions"] == results("whole")["predictions"]
    weights = [Path(run, "model/model.safetensors").read_bytes() for run in ("run", "whole")]
    assert weights[0] == weights[1]
    capsys.readouterr()
    assert main([*command, "seed=1"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "run has seed = 0, this one 1" in message


def test_a_classifier_of_other_classes_lends_its_encoder(done: Shell) -> None:
    done("model", *INDEX, *SMALL)
    index(label=lambda clip: "even" if clip % 2 else "odd")
    out = done("run", *INDEX[:-1], "second", *SMALL)
    assert "run: a classifier of 3 classes; its encoder is used with a new head" in out
    assert load_classifier("second").config.classes == ("even", "odd")


def test_files_that_do_not_exist_are_all_listed_and_three_shown(refused: Shell) -> None:
    index(path=lambda clip: f"{'tones' if clip > 5 else 'gone'}/{clip}.wav")
    message = refused("model", *INDEX, *SMALL)
    assert "6 of 18 files do not exist" in message and message.count("gone/") == 3 and "and 3 more" in message
    assert "all listed in run.missing.csv; fix the column path, or continue without them (--allow-missing)" in message
    with open("run.missing.csv", newline="") as file:
        assert [Path(row["path"]).name for row in csv.DictReader(file)] == [f"{clip}.wav" for clip in range(6)]
    assert not Path("run").exists()


def test_files_that_do_not_exist_can_be_allowed_and_are_counted(done: Shell) -> None:
    index(path=lambda clip: f"{'gone' if clip in (0, 4, 12) else 'tones'}/{clip}.wav")
    assert "missing 3 clips" in done("model", *INDEX, *SMALL, "--allow-missing")
    assert {Path(one["path"]).stem for one in results()["missing"]} == {"0", "4", "12"}


def test_broken_files_are_left_out_counted_and_reported(done: Shell) -> None:
    for clip in (0, 9, 12):
        Path(f"tones/{clip}.wav").write_bytes(b"no sound")
    soundfile.write("tones/13.wav", np.full(3200, np.nan, np.float32), 16_000, subtype="FLOAT")
    out = done("model", *INDEX, *SMALL)
    assert "missing 4 clips" in out
    assert {Path(one["path"]).stem for one in results()["missing"]} == {"0", "9", "12", "13"}
    (record,) = read_records(Path("run/results.json"))
    assert record.missing == 4 and record.clips == len(results()["predictions"]) == 4


def test_durations_that_the_index_gets_wrong_do_no_harm(done: Shell) -> None:
    done("model", *INDEX, *SMALL)
    index(seconds=lambda clip: 1000.0 if clip % 2 else 0.001)
    done("model", *INDEX[:-1], "lies", *SMALL)
    assert results("lies")["predictions"] == results()["predictions"]


def test_labels_only_in_test_and_classes_of_one_clip_are_noted(done: Shell) -> None:
    index(label=lambda clip: "rare" if clip == 17 else CLASSES[clip % 3])
    out = done("model", *INDEX, *SMALL)
    assert "1 label(s) only in the test part" in out and "rare" in out
    assert "1 class(es) of one clip" in out
    assert results()["notes"]


def test_a_class_of_one_clip_in_a_folder_cannot_be_split(refused: Shell) -> None:
    for path in ("byclass/low/0.wav", "byclass/low/3.wav", "byclass/high/2.wav"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path("tones", Path(path).name).rename(path)
    message = refused("model", "--benchmark", "folder", "--root", "byclass", "--out", "run", *SMALL)
    assert "class 'high' has one clip" in message


def test_no_label_of_the_test_part_is_trained(refused: Shell) -> None:
    index(label=lambda clip: f"{part(clip)}{clip % 2}")
    assert "none of test part 'test' occurs in its train part" in refused("model", *INDEX, *SMALL)


def test_several_labels_with_a_softmax_recipe(refused: Shell) -> None:
    index(label=lambda clip: CLASSES[clip % 3] + ";" * (clip == 3) + "odd" * (clip == 3))
    message = refused("model", *INDEX, "--recipe", "esc50", *SMALL)
    assert "several labels per clip, and recipe esc50 has loss softmax; add --set loss=sigmoid" in message


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--set", "crop_seconds=0"), "crop_seconds is 0"),
        (("--set", "crop_seconds=0.02"), "crop_seconds is 0.02, shorter than one analysis window of 25 ms"),
        (("--set", "batch=0"), "batch is 0"),
        (("--set", "batch=1", "norm=batch"), "batch is 1, one clip at a time: norm=batch needs several clips"),
        (("--train", "head", "--set", "train=all"), "--train says head"),
        (("--set", "augment.mixup=2"), "mixup is 2"),
        (("--set", "drop_path=1"), "drop_path is 1"),
        (("--set", "ema=0.9"), "unknown field 'ema'"),
        (("--set", "optimizer.lr=0"), "lr is 0"),
        (("--set", "crop_second=1"), "unknown field 'crop_second'; did you mean 'crop_seconds'"),
        (("--set", "loss=hinge"), "'hinge' is not one of softmax, sigmoid"),
        (("--recipe", "ecs50"), "did you mean 'esc50'?"),
        (("--recipe", "mine.py:mine"), "no such file: mine.py"),
        (("--recipe", "json:dumps"), "fine-tuning recipe 'json:dumps' can't be made"),
        (("--steps", "0"), "steps is 0"),
        (("--threads", "0"), "--threads is 0"),
        (("--log-every", "0"), "log_every is 0"),
        (("--label", "genre"), "no column 'genre'"),
        (("--group", "speaker"), "no column 'speaker'"),
        (("--benchmark", "esc50"), "both --benchmark esc50 and --index"),
        (("--out", "tones"), "tones"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_mistakes_are_one_line(argv: tuple[str, ...], message: str, refused: Shell) -> None:
    assert message in refused("model", *INDEX, *SMALL, *argv)


def test_a_folder_without_a_model_is_refused(refused: Shell) -> None:
    assert "nowhere: no such directory" in refused("nowhere", *INDEX, *SMALL)
    assert "tones: holds no config.json" in refused("tones", *INDEX, *SMALL)
