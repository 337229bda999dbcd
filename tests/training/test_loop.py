"""What stops a run, the errors of a refused start, and that several processes train as one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch.distributed.utils import _to_kwargs
from toy_training import ToyObjective, toy_run

from aasp.errors import AaspError
from aasp.training import checkpoint
from aasp.training.engine import accelerator
from aasp.training.loop import TrainingStopped
from aasp.training.run import open_run
from aasp.training.skipping import Skipping
from aasp.training.tracking import read_metrics


@pytest.mark.parametrize("first", [1, 3, 7, 10])
def test_three_bad_steps_in_a_row_stop_the_run_and_the_last_good_checkpoint_is_kept(tmp_path: Path, first: int) -> None:
    with pytest.raises(TrainingStopped) as caught:
        toy_run(tmp_path, poison=range(first, 99), checkpoint_every=2, keep=1)
    good = (first - 1) // 2 * 2
    kept = f"the last good checkpoint is {tmp_path}/checkpoints/step-{good:08d}" if good else "no checkpoint was saved"
    message = f"toy stopped at step {first + 2}: loss is not finite, 3 steps in a row; try --precision fp32 or a lower"
    assert message in str(caught.value) and kept in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.run == tmp_path
    left = [path.name for path in (tmp_path / "checkpoints").glob("*")]
    assert left == ([f"step-{good:08d}"] if good else [])
    assert read_metrics(tmp_path)[-1]["skipped_steps"] == 3


def test_a_bad_step_is_skipped_and_counted(tmp_path: Path) -> None:
    assert toy_run(tmp_path, 20, poison=(5, 10, 11, 20), checkpoint_every=1, keep=99).exit_code == 0
    at = lambda step: checkpoint.load(tmp_path / f"checkpoints/step-{step:08d}")
    moved = {"steps", "teacher.weight", "teacher.bias"}  # a count of all steps; an average that continues
    for before, after, equal in ((4, 5, True), (9, 10, True), (9, 11, True), (19, 20, True), (5, 6, False)):
        one, two = at(before), at(after)
        assert one.optimizer.keys() == two.optimizer.keys()
        same = [torch.equal(one.model[name], two.model[name]) for name in one.model.keys() - moved - {"unused"}]
        same += [torch.equal(tensor, two.optimizer[name]) for name, tensor in one.optimizer.items()]
        assert all(same) if equal else not any(same)
    lines = {line["step"]: line for line in read_metrics(tmp_path)}
    assert [lines[step]["skipped_steps"] for step in (3, 6, 9, 12, 20)] == [0, 1, 1, 3, 4]
    assert all(line["loss"] is not None for line in lines.values()), "means are of the steps that were not skipped"


def test_bad_steps_are_counted_across_a_pause(tmp_path: Path) -> None:
    assert toy_run(tmp_path, poison=range(9, 99), signals={9: signal.SIGTERM}).step == 10
    with pytest.raises(TrainingStopped, match=r"stopped at step 11.*the last good checkpoint is .*step-00000008"):
        toy_run(tmp_path, poison=range(9, 99))


def test_an_infinite_loss_with_a_finite_gradient_is_bad_too() -> None:
    machine = accelerator()
    skipping = Skipping(torch.nn.Linear(1, 1), machine, {})
    skipping.begin()
    finite, infinite = torch.tensor(1.0), torch.tensor(float("inf"))
    assert [bool(skipping.judge(*pair)) for pair in ((finite, finite), (infinite, finite), (finite, infinite))] == [
        *(False, True, True)
    ]
    assert skipping.state() == {"skipped": 2, "in_a_row": 2}
    assert bool(skipping.judge(infinite, finite)) and skipping.broken(False)
    assert bool(skipping.judge(finite, finite)), "after the third nothing changes until someone looks"


def test_the_objectives_own_check_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped, match="toy stopped at step 9: the toy is wrong; the last good checkpoint is"):
        toy_run(tmp_path, fails_at=9)
    assert checkpoint.latest(tmp_path).name == "step-00000008"
    assert toy_run(tmp_path).exit_code == 0


def test_a_checkpoint_of_a_failing_model_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped, match="step 8"):
        toy_run(tmp_path, fails_at=8)
    assert checkpoint.latest(tmp_path).name == "step-00000004"


def test_diagnostics_are_computed_only_where_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diagnosing, forward = [], ToyObjective.forward

    def watched(self: ToyObjective, batch: dict[str, torch.Tensor], diagnose: bool) -> dict:
        diagnosing.append(diagnose)
        return forward(self, batch, diagnose)

    monkeypatch.setattr(ToyObjective, "forward", watched)
    toy_run(tmp_path, 13)  # logs every third step, saves every fourth
    assert [step for step, diagnosed in enumerate(diagnosing, 1) if diagnosed] == [3, 4, 6, 8, 9, 12, 13]


def test_ddp_and_fsdp_leave_a_batchs_lengths_on_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On GPUs both move a call's tensors with this function; here to the meta device."""
    seen: list[str] = []

    def moving(module: ToyObjective, arguments: tuple) -> tuple:
        (moved,), _ = _to_kwargs(arguments, {}, torch.device("meta"), False)
        seen.append(moved[0]["length"].device.type)
        return moved

    def prepare(self: Accelerator, objective: ToyObjective, optimizer: torch.optim.Optimizer) -> tuple:
        objective.register_forward_pre_hook(moving)
        return objective, optimizer

    monkeypatch.setattr(Accelerator, "prepare", prepare)
    assert toy_run(tmp_path, 3).step == 3 and seen == ["cpu"] * 3


def test_another_recipe_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    toy_run(tmp_path, 4)
    before = sorted(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    with pytest.raises(AaspError, match=re.escape(f"{tmp_path} has steps = 4, this one 8; choose another --out")):
        toy_run(tmp_path, 8)
    with pytest.raises(AaspError, match=re.escape("has rate.peak = None, this one 0.5")):
        toy_run(tmp_path, 4, recipe={"rate": {"peak": 0.5}})
    with pytest.raises(AaspError, match="resume it with --resume auto"):
        toy_run(tmp_path, 4, resume="never")
    assert before == sorted(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    for resume in ("auto", "never"):
        with pytest.raises(AaspError, match="neither empty nor a run"):
            toy_run(tmp_path, resume=resume)
    with pytest.raises(AaspError, match="output is a file"):
        toy_run(tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_run_killed_before_its_first_checkpoint_starts_again(tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped):
        toy_run(tmp_path, 4, poison=range(1, 4))
    assert toy_run(tmp_path, 4).exit_code == 0
    assert [line["step"] for line in read_metrics(tmp_path)] == [3, 4]


def test_a_named_checkpoint_starts_another_run(tmp_path: Path) -> None:
    toy_run(tmp_path / "one", keep=9)
    toy_run(tmp_path / "two", resume=tmp_path / "one/checkpoints/step-00000008")
    same = [load_file(checkpoint.latest(tmp_path / run) / "model.safetensors") for run in ("one", "two")]
    assert all(torch.equal(same[0][name], same[1][name]) for name in same[0])
    with pytest.raises(AaspError, match="would lose"):
        toy_run(tmp_path / "one", resume=tmp_path / "one/checkpoints/step-00000008")
    with pytest.raises(AaspError, match="checkpoint of another run"):
        toy_run(tmp_path / "three", recipe={"other": 1}, resume=tmp_path / "one")
    with pytest.raises(AaspError, match="no such checkpoint"):
        toy_run(tmp_path / "four", resume=tmp_path / "nowhere")


def test_a_run_in_use_is_refused(tmp_path: Path) -> None:
    machine = accelerator()
    held = open_run(tmp_path, {}, machine)
    with held, pytest.raises(AaspError, match="run in use"), open_run(tmp_path, {}, machine):
        pass
    with open_run(tmp_path, {}, machine):
        pass


@pytest.mark.parametrize("setting", ["log_every", "checkpoint_every", "keep"])
def test_a_setting_out_of_range_is_refused(tmp_path: Path, setting: str) -> None:
    with pytest.raises(AaspError, match=f"{setting} is 0"):
        toy_run(tmp_path, **{setting: 0})


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AaspError, match="no such precision: fp64; choose from auto, bf16, fp16, fp32"):
        toy_run(tmp_path, precision="fp64")


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["replicated", "sharded"])
def test_two_processes_train_as_one(tmp_path: Path, layout: str) -> None:
    script = Path(__file__).parent / "toy_distributed.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    # The second call resumes from where the first was stopped.
    for name in ("two", "two", "whole") if layout == "replicated" else ("two", "two"):
        arguments = [*command, str(script), str(tmp_path / name), layout]
        subprocess.run(arguments, env=environment, check=True, timeout=200)
    if layout == "replicated":
        stopped, whole = (checkpoint.load(tmp_path / run / "checkpoints/step-00000020") for run in ("two", "whole"))
        for kind in checkpoint.TENSORS:
            bits = [{name: t.numpy().tobytes() for name, t in getattr(run, kind).items()} for run in (stopped, whole)]
            assert bits[0] == bits[1], f"{kind}: the same number of processes continues bit for bit"
    toy_run(tmp_path / "one", size=4, noisy=False, precision="fp32")
    one, two = (checkpoint.load(tmp_path / run / "checkpoints/step-00000020") for run in ("one", "two"))
    for kind in ("model", "optimizer"):
        for name, tensor in getattr(one, kind).items():
            if not name.startswith(("unused", "centre")):  # the centre is of a process's own clips
                torch.testing.assert_close(tensor, getattr(two, kind)[name], rtol=1e-3, atol=1e-6, msg=name)
    lines = [read_metrics(tmp_path / run)[-1] for run in ("one", "two")]
    assert lines[0]["clips_seen"] == lines[1]["clips_seen"] == 80
    for name in ("loss", "gradient_norm", "diagnostics/token", "diagnostics/token_gradient"):
        assert lines[0][name] == pytest.approx(lines[1][name], rel=1e-3)
