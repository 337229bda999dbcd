"""Several processes at the command line: how they start, stop, end and continue, with whatever launcher."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.training import checkpoint
from aasp.training.tracking import read_metrics

pytestmark = pytest.mark.slow
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ACCELERATE = ["accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--main_process_port=0"]
FIELDS = "encoder.width=24 encoder.depth=2 encoder.heads=2 vector=none stem=conv"
SMALL = [*(f"model.{field}" for field in FIELDS.split()), "data.batch=4", "data.crop_seconds=0.64"]
SMALL += ["predictor.width=16", "predictor.heads=2", "predictor.depth=1"]
CLIPS = 12


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of short noises."""
    folder = tmp_path_factory.mktemp("many") / "sounds"
    for number in range(CLIPS):
        place = folder / "ab"[number % 2] / f"{number}.wav"
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, 0.1 * np.random.default_rng(number).standard_normal(16_000), 16_000)
    return folder


def pretraining(sounds: Path, out: Path, steps: int, *more: str) -> list[str]:
    options = ["--data", str(sounds), "--out", str(out), "--steps", str(steps), "--log-every", "1", *more]
    return ["pretrain", "mae_ast_tiny", *options, "--precision", "fp32", "--threads", "1", "--set", *SMALL]


def started(argv: list[str], launcher: list[str]) -> subprocess.Popen:
    command = [sys.executable, *(["-m", *launcher] if launcher else []), "-m", "aasp", *argv]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen(command, env=environment, start_new_session=True, **pipes)  # type: ignore[call-overload]


def ran(argv: list[str], launcher: list[str]) -> tuple[int, str, str]:
    process = started(argv, launcher)
    out, err = process.communicate(timeout=400)
    return process.returncode, out, err


def workers(launcher: subprocess.Popen) -> list[int]:
    """The processes that a launcher has started, first rank first."""
    folder = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    return sorted(map(int, folder.read_text().split()))


def until_step(run: Path, step: int, process: subprocess.Popen) -> None:
    while process.poll() is None and not any(line["step"] >= step for line in read_metrics(run)):
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()


@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_both_launchers_train_and_refuse_with_one_line(launcher: list[str], sounds: Path, tmp_path: Path) -> None:
    code, out, err = ran(pretraining(sounds, tmp_path / "run", 3), launcher)
    assert code == 0, err
    assert out.count("2 × 1 threads") == 1 and "done: " in out
    assert [line["clips_seen"] for line in read_metrics(tmp_path / "run")] == [4, 8, 12]
    code, out, err = ran(pretraining(tmp_path / "nowhere", tmp_path / "none", 3), launcher)
    assert code != 0 and err.count("aasp: error: ") == 1 and "no such folder or index" in err
    assert "exitcode  : 2" in err and "exitcode  : 1 " not in err
    code, out, err = ran([*pretraining(sounds, tmp_path / "none", 3), "data.batch=5"], launcher)
    assert err.count("aasp: error: data.batch is 5, for 2 processes; give a multiple of 2") == 1
    assert not (tmp_path / "none").exists()


def test_accelerate_that_starts_one_process_of_two_is_refused(sounds: Path, tmp_path: Path) -> None:
    launcher = ["accelerate.commands.launch", "--cpu", "--num_processes=2"]
    _, _, err = ran(pretraining(sounds, tmp_path / "run", 3), launcher)
    assert err.count("aasp: error: ") == 1 and "only one process, as it does on CPUs; add --multi_gpu" in err


def test_fine_tuning_on_two_processes(sounds: Path, tmp_path: Path) -> None:
    options = (
        "--scratch --steps 4 --precision fp32 --threads 1 --log-every 1 --set batch=4 crop_seconds=0.64 validations=1"
    )
    argv = ["finetune", "aasp_tiny", "--benchmark", "folder", "--root", str(sounds), "--out", str(tmp_path / "run")]
    code, out, err = ran([*argv, *options.split()], TORCHRUN)
    assert code == 0, err
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results and out.count("2 × 1 threads") == 1
    assert [line["clips_seen"] for line in read_metrics(tmp_path / "run")] == [4, 8, 12, 16]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=["SIGTERM", "SIGUSR1"])
def test_a_signal_to_one_process_saves_all_and_the_run_resumes_on_another_number(
    number: signal.Signals, sounds: Path, tmp_path: Path
) -> None:
    """Two processes, then one, then two again: each clip is seen once an epoch."""
    run = tmp_path / "run"
    process = started(pretraining(sounds, run, 400), TORCHRUN)
    until_step(run, 3, process)
    signalled = time.monotonic()
    os.kill(workers(process)[1], number)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - signalled < 30 and err.count("exitcode  : 75") == 2, err
    first = checkpoint.read_state(checkpoint.latest(run))
    assert [one["data"]["position"]["next_index"] for one in first[1]["processes"]] == [2 * first[0]] * 2

    process = started(pretraining(sounds, run, 400), [])
    until_step(run, first[0] + 3, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "processes: 1, were 2; each computes 4 clips per step, 2 at a time" in out
    second = checkpoint.read_state(checkpoint.latest(run))
    assert second[1]["micro_batches"] == 2 and second[1]["processes"][0]["clips"] == 4 * second[0]
    assert second[1]["processes"][0]["data"]["order"] == [4 * first[0], []]

    until = second[0] + 2
    process = started(pretraining(sounds, run, 400), TORCHRUN)
    until_step(run, until, process)
    os.kill(workers(process)[0], number)
    out, err = process.communicate(timeout=60)
    assert "processes: 2, were 1; each computes 2 clips per step, 2 at a time" in out, err
    step, state = checkpoint.read_state(checkpoint.latest(run))
    assert state["processes"][1]["data"]["order"] == [4 * second[0], []] and "micro_batches" not in state
    assert sum(one["clips"] for one in state["processes"]) == 4 * step


def test_a_killed_process_is_named_and_the_relaunch_resumes(sounds: Path, tmp_path: Path) -> None:
    """torchrun starts all again, which resume from the last checkpoint without a further option."""
    run = tmp_path / "run"
    argv = pretraining(sounds, run, 60, "--checkpoint-every", "5")
    process = started(argv, [*TORCHRUN, "--max-restarts=1"])
    until_step(run, 12, process)
    victim = workers(process)[1]
    os.kill(victim, signal.SIGKILL)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert err.count(f"pid {victim}) is gone; the same command resumes from the last checkpoint") == 1, err
    assert out.count("resuming from") == 1 and "done: " in out
    assert read_metrics(run)[-1]["step"] == 60 and read_metrics(run)[-1]["clips_seen"] == 240
