"""A run that was interrupted, even by kill -9, ends like one that was not, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from toy_training import toy_run

from aasp.training import checkpoint
from aasp.training.randomness import random_state, restore_random_state
from aasp.training.tracking import read_metrics

CLOCK = {"seconds", "clips_per_second", "waiting_share"}


def outcome(run: Path) -> tuple:
    """All numbers of a run, except measured times."""
    last = checkpoint.load(checkpoint.latest(run))
    tensors = {
        f"{kind}/{name}": tensor.numpy().tobytes()
        for kind in checkpoint.TENSORS
        for name, tensor in getattr(last, kind).items()
    }
    lines = [{name: value for name, value in line.items() if name not in CLOCK} for line in read_metrics(run)]
    return last.step, {name: value for name, value in last.state.items() if name != "elapsed"}, lines, tensors


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("whole")
    assert toy_run(run).exit_code == 0
    return outcome(run)


def test_the_uninterrupted_run_logs_and_saves_as_expected(whole: tuple) -> None:
    step, _, lines, tensors = whole
    assert step == 20
    assert [line["step"] for line in lines] == [3, 6, 9, 12, 15, 18, 20]
    assert len({line["loss"] for line in lines}) == len(lines)
    assert lines[-1]["clips_seen"] == 80 and lines[-1]["hours_seen"] == pytest.approx(80 / 3600)
    assert {"loss", "losses/square", "gradient_norm", "diagnostics/token", "diagnostics/token_gradient"} <= lines[
        0
    ].keys()
    assert "optimizer/student.0.weight/exp_avg_sq" in tensors and "model/teacher.weight" in tensors


@pytest.mark.parametrize("step", [1, 3, 4, 10, 19, 20])
def test_sigterm_saves_and_the_run_resumes_exactly(tmp_path: Path, whole: tuple, step: int) -> None:
    stopped = toy_run(tmp_path, signals={step - 1: signal.SIGTERM})
    assert stopped == type(stopped)(step, 75)
    assert checkpoint.latest(tmp_path).name == f"step-{step:08d}"
    assert toy_run(tmp_path).exit_code == 0
    assert outcome(tmp_path) == whole


def test_sigusr1_is_a_schedulers_warning_too(tmp_path: Path, whole: tuple) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    stopped = toy_run(tmp_path, signals={6: signal.SIGUSR1})
    assert stopped == type(stopped)(7, 75) and signal.getsignal(signal.SIGUSR1) is before
    assert toy_run(tmp_path).exit_code == 0
    assert outcome(tmp_path) == whole


def test_a_run_in_micro_batches_resumes_exactly(tmp_path: Path, whole: tuple) -> None:
    toy_run(tmp_path / "whole", accumulate=2)
    toy_run(tmp_path / "stopped", accumulate=2, signals={6: signal.SIGTERM})
    toy_run(tmp_path / "stopped", accumulate=2)
    found = outcome(tmp_path / "stopped")
    assert found == outcome(tmp_path / "whole") and found[1]["micro_batches"] == 2
    assert [line["clips_seen"] for line in found[2]] == [line["clips_seen"] for line in whole[2]]
    assert found[3] != whole[3], "each micro-batch draws its own noise"


def test_ctrl_c_saves_and_a_second_one_is_not_held_back(tmp_path: Path, whole: tuple) -> None:
    before = signal.getsignal(signal.SIGINT)
    assert toy_run(tmp_path, signals={6: signal.SIGINT}).exit_code == 130
    assert checkpoint.latest(tmp_path).name == "step-00000007"
    assert signal.getsignal(signal.SIGINT) is before
    assert toy_run(tmp_path).exit_code == 0
    assert outcome(tmp_path) == whole


def test_a_resumed_run_reports_its_checkpoint_again(tmp_path: Path) -> None:
    """It may have been killed between saving it and what was to follow."""
    reported: list[int] = []
    toy_run(tmp_path, signals={4: signal.SIGTERM}, reported=reported)
    toy_run(tmp_path, signals={6: signal.SIGTERM}, reported=reported)
    assert reported == [4, 5, 5, 7]


def test_a_run_resumes_many_times(tmp_path: Path, whole: tuple) -> None:
    for step in range(20):
        toy_run(tmp_path, signals={step: signal.SIGTERM})
    assert outcome(tmp_path) == whole


def test_a_torn_metrics_line_and_a_half_written_checkpoint_are_ignored(tmp_path: Path, whole: tuple) -> None:
    toy_run(tmp_path, signals={9: signal.SIGTERM})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 12, "loss": 0.1}\n{"step": 15, "lo')
    half = tmp_path / "checkpoints/.unfinished-step-00000012"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    toy_run(tmp_path)
    assert outcome(tmp_path) == whole
    assert not half.exists()


@pytest.mark.parametrize("moment", [0.05, *(pytest.param(m, marks=pytest.mark.slow) for m in (0.15, 0.25))])
def test_a_run_resumes_exactly_after_kill_9(tmp_path: Path, whole: tuple, moment: float) -> None:
    command = [sys.executable, str(Path(__file__).parent / "toy_training.py"), str(tmp_path), "20", "0.03"]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while checkpoint.latest(tmp_path) is None and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(moment)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "the run was over before it could be killed"
    assert toy_run(tmp_path).exit_code == 0
    assert outcome(tmp_path) == whole


@pytest.mark.slow
def test_a_process_exits_with_75_on_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).parent / "toy_training.py"), str(tmp_path), "1000", "0.03"]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    while not read_metrics(tmp_path) and process.poll() is None:
        time.sleep(0.01)
    process.terminate()
    assert process.wait() == 75
    step = checkpoint.load(checkpoint.latest(tmp_path)).step
    assert 0 < step < 1000


def test_a_finished_run_does_nothing_more(tmp_path: Path, whole: tuple) -> None:
    toy_run(tmp_path)
    (tmp_path / "exported").unlink()
    assert toy_run(tmp_path).step == 20
    assert outcome(tmp_path) == whole
    assert (tmp_path / "exported").exists(), "a crash between checkpoint and export is made good"


def test_an_accelerators_generator_is_restored_too(monkeypatch: pytest.MonkeyPatch) -> None:
    device, state = torch.device("mps"), [torch.tensor([1], dtype=torch.uint8)]
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda device: state[-1])
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda new, device: state.append(new))
    kept = random_state(device)
    state.append(torch.tensor([2], dtype=torch.uint8))
    restore_random_state(kept, device)
    assert state[-1].tolist() == [1] and "cpu" not in random_state(torch.device("cpu"))
    restore_random_state({name: one for name, one in kept.items() if name != "mps"}, device)  # an older checkpoint's
    assert len(state) == 3
