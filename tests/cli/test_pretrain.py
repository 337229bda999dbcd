"""`aasp pretrain` on generated sounds: a run from end to end, stopped and resumed, bit for bit."""

from __future__ import annotations

import json
import os
import pickletools
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import aasp
from aasp.cli.main import main
from aasp.training.checkpoint import latest
from aasp.training.tracking import read_metrics

TINY = [
    *(
        "--set",
        "model.encoder.width=16",
        "model.encoder.depth=1",
        "model.vector=none",
        "model.encoder.heads=2",
        "predictor.width=16",
    ),
    *("predictor.depth=1", "predictor.heads=2", "losses.projector=16,8", "data.batch=4", "data.crop_seconds=0.5"),
    *("masking.views=2", "teacher.layers=1", "--log-every=1", "--checkpoint-every=16", "--threads=1"),
]
STEPS = 40
CLOCK = {"seconds", "clips_per_second", "waiting_share"}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise of several colours, lengths and rates; the shortest is shorter than a crop."""
    folder = tmp_path_factory.mktemp("sounds")
    random = np.random.default_rng(0)
    for i, (seconds, rate) in enumerate([(0.3, 16_000), (1.0, 16_000), (1.0, 44_100), (2.0, 8_000), (0.7, 16_000)]):
        noise = (
            np.cumsum(random.standard_normal(round(seconds * rate)))
            if i % 2
            else random.standard_normal(round(seconds * rate))
        )
        soundfile.write(folder / f"{i}.wav", 0.5 * noise / np.abs(noise).max(), rate)
    return folder


def words(sounds: Path, run: Path, *more: str, steps: int = STEPS) -> list[str]:
    return ["pretrain", "aasp_tiny", "--data", str(sounds), "--out", str(run), "--steps", str(steps), *TINY, *more]


def start(arguments: list[str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "aasp", *arguments]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)


def wait_for(process: subprocess.Popen, run: Path, step: int) -> None:
    """Until the run has logged `step`."""
    while process.poll() is None and not any(line["step"] >= step for line in read_metrics(run)):
        time.sleep(0.01)


def numbers(run: Path) -> list[dict[str, float]]:
    """The log of a run, without measured times."""
    return [{name: value for name, value in line.items() if name not in CLOCK} for line in read_metrics(run)]


@pytest.fixture(scope="module")
def whole(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert main(words(sounds, run)) == 0
    return run


def test_a_run_holds_its_files(whole: Path) -> None:
    assert {path.name for path in whole.iterdir() if not path.name.startswith(".")} == {
        *("recipe.json", "environment.json", "metrics.jsonl", "tensorboard", "checkpoints", "model")
    }
    assert [line["step"] for line in numbers(whole)] == list(range(1, STEPS + 1))
    assert {"losses/frame", "losses/utterance", "losses/contrastive", "gradient_norm"} <= numbers(whole)[0].keys()
    assert {"diagnostics/target_variance", "diagnostics/embedding_rank"} <= numbers(whole)[0].keys()
    recipe = json.loads((whole / "recipe.json").read_text())
    assert (recipe["name"], recipe["steps"], recipe["data"]["batch"]) == ("aasp_tiny", STEPS, 4)
    (first,) = json.loads((whole / "environment.json").read_text())
    assert first["threads"] == 1 and first["torch"] == torch.__version__ and first["files"] == 5


def test_no_file_of_a_run_is_a_pickle(whole: Path) -> None:
    for path in whole.rglob("*"):
        if path.is_file():
            known = path.suffix in {".json", ".jsonl", ".safetensors"} or path.name == ".lock"
            assert known or path.parent.name == "tensorboard", path
            with pytest.raises(ValueError):
                list(pickletools.genops(path.read_bytes()))


def test_the_model_of_a_run_is_its_teacher(whole: Path) -> None:
    from safetensors.torch import load_file

    encoder = aasp.load(whole)
    state = load_file(latest(whole) / "model.safetensors")
    assert all(torch.equal(tensor, state[f"teacher.model.{name}"]) for name, tensor in encoder.state_dict().items())
    with torch.no_grad():
        assert torch.isfinite(encoder(torch.randn(2, 16_000)).clip).all()


def test_a_finished_run_is_left_as_it_is(whole: Path, sounds: Path) -> None:
    before = numbers(whole)
    assert main(words(sounds, whole)) == 0
    assert numbers(whole) == before


@pytest.mark.slow
def test_sigterm_exits_with_75_and_the_run_resumes_exactly(whole: Path, sounds: Path, tmp_path: Path) -> None:
    process = start(words(sounds, tmp_path))
    wait_for(process, tmp_path, 3)
    process.terminate()
    assert process.wait() == 75
    assert 3 <= int(latest(tmp_path).name.removeprefix("step-")) < STEPS, "the run was over before it could be stopped"
    assert main(words(sounds, tmp_path)) == 0
    assert numbers(tmp_path) == numbers(whole)
    assert len(json.loads((tmp_path / "environment.json").read_text())) == 2


@pytest.mark.slow
def test_the_run_resumes_exactly_after_kill_9(whole: Path, sounds: Path, tmp_path: Path) -> None:
    process = start(words(sounds, tmp_path))
    wait_for(process, tmp_path, 18)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "the run was over before it could be killed"
    assert latest(tmp_path) is not None and read_metrics(tmp_path)[-1]["step"] < STEPS
    assert main(words(sounds, tmp_path)) == 0
    assert numbers(tmp_path) == numbers(whole)


def test_resuming_with_other_data_is_refused(sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(words(sounds, run, steps=1)) == 0
    (tmp_path / "fewer").mkdir()
    (tmp_path / "fewer/1.wav").write_bytes((sounds / "1.wav").read_bytes())
    assert main(words(tmp_path / "fewer", run, steps=1)) == 2
    assert "data of another run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "masking.views"], "--set masking.views: no value; write it as masking.views=VALUE"),
        (["--threads", "0"], "--threads is 0"),
        (["--log-every", "0"], "log_every is 0"),
        (["--steps", "0"], "steps is 0"),
        (["--precision", "fp64"], "fp64"),
        (["--resume", "nowhere"], "no such checkpoint: nowhere"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(
    more: list[str], message: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(sounds, tmp_path / "run", *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_seed_and_fields_reach_the_recipe(sounds: Path, tmp_path: Path) -> None:
    arguments = words(sounds, tmp_path, "--seed", "3", "--set", "optimizer.lr=0.25", steps=1)
    assert main(arguments) == 0
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    assert (recipe["seed"], recipe["optimizer"]["lr"], recipe["method"]["predictor"]["width"]) == (3, 0.25, 16)
