"""`aasp pretrain --from`, `--extend`, `--data-changed`: training continues, and its origin is recorded."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open

import aasp
from aasp.cli.main import main
from aasp.config import with_fields
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain import recipes
from aasp.pretrain.initial import read_initial
from aasp.pretrain.objective import build_objective
from aasp.pretrain.recipe import Recipe
from aasp.training import checkpoint
from aasp.training.checkpoint import latest
from aasp.training.schedules import warmup_cosine
from aasp.training.tracking import read_metrics
from aasp.weights import model_hash

SIZES = {
    "model.encoder.width": "16", "model.encoder.depth": "1",
    "model.vector": "none", "model.encoder.heads": "2", "predictor.width": "16",
    "predictor.depth": "1", "predictor.heads": "2", "losses.projector": "16,8", "data.batch": "4",
    "data.crop_seconds": "0.5", "masking.views": "2", "model.stem.encoder_width": "8", "model.stem.states": "4",
    "codebook": "none", "optimizer.matrices": "adamw", "optimizer.lr": "0.001", "optimizer.warmup": "0.1",
}  # fmt: skip
CONV = {name: value for name, value in SIZES.items() if not name.startswith("model.stem.")} | {"model.stem": "conv"}
CLOCK = {"seconds", "clips_per_second", "waiting_share"}


def sized(settings: dict[str, str]) -> list[str]:
    return ["--set", *(f"{name}={value}" for name, value in settings.items())]


def words(data: Path, out: Path, *more: str, settings: dict[str, str]) -> list[str]:
    fixed = ("--threads=1", "--precision=fp32", "--log-every=1", "--checkpoint-every=1", *sized(settings))
    return ["pretrain", "aasp_tiny", "--data", str(data), "--out", str(out), *fixed, *more]


def pretrain(data: Path, out: Path, *more: str, settings: dict[str, str] = SIZES) -> int:
    return main(words(data, out, *more, settings=settings))


def refused(capsys: pytest.CaptureFixture[str], *arguments: object, **settings: dict[str, str]) -> str:
    """The one line of error of a command that must write nothing."""
    out = Path(str(arguments[1]))
    before = sorted(out.rglob("*")) if out.exists() else None
    capsys.readouterr()
    assert pretrain(*arguments, **settings) == 2  # type: ignore[arg-type]
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert (sorted(out.rglob("*")) if out.exists() else None) == before
    return captured.err


def recipe(**changes: str) -> Recipe:
    return with_fields(recipes.get("aasp_tiny"), changes.pop("settings", SIZES) | changes)  # type: ignore[arg-type]


def noise(folder: Path, names: str, seed: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        draw = np.random.default_rng(seed + i)
        soundfile.write(folder / f"{name}.wav", 0.1 * draw.standard_normal(12_000), 16_000)
    return folder


def numbers(run: Path) -> list[dict[str, float]]:
    return [{name: value for name, value in line.items() if name not in CLOCK} for line in read_metrics(run)]


def outcome(run: Path) -> tuple:
    """All numbers of a run, except measured times."""
    last = checkpoint.load(latest(run))
    tensors = {
        f"{kind}/{name}": tensor.numpy().tobytes()
        for kind in checkpoint.TENSORS
        for name, tensor in getattr(last, kind).items()
    }
    return last.step, {k: v for k, v in last.state.items() if k != "elapsed"}, numbers(run), tensors


def lost(run: Path, step: int) -> None:
    """A run killed before it saved `step`: its log is ahead of its last checkpoint."""
    shutil.rmtree(run / f"checkpoints/step-{step:08d}")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return noise(tmp_path / "data", "abcdef")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sounds, a finished run on them with AaPE, and one with a convolution."""
    folder = tmp_path_factory.mktemp("made")
    noise(folder / "data", "abcdef")
    assert pretrain(folder / "data", folder / "run", "--steps=2") == 0
    assert pretrain(folder / "data", folder / "conv", "--steps=2", settings=CONV) == 0
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(made / "run", tmp_path / "run"))


# Nothing left to do


def test_a_finished_run_has_nothing_left_to_do(data: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = outcome(run)
    assert pretrain(data, run, "--steps=2") == 0
    output = capsys.readouterr().out
    assert f"nothing left to do: {run} has done all of its 2 steps; --extend STEPS gives it more" in output
    assert pretrain(data, run, "--steps=2", "--resume", str(run)) == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert outcome(run) == before


@pytest.mark.parametrize("what", ["run", "run/checkpoints/step-00000002"])
def test_resuming_a_finished_run_elsewhere_is_refused(
    what: str, data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, data, tmp_path / "new", "--steps=2", "--resume", str(tmp_path / what))
    assert "nothing left to do" in message and "--extend STEPS" in message and f"--from {tmp_path / what}" in message


def test_paths_that_cannot_be_resumed(
    data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "bare", ignore=shutil.ignore_patterns("checkpoints"))
    for what, expected in {
        "nowhere": "no such checkpoint",
        "data": "no such checkpoint",
        "run/model": f"a model, not a run; start from it with --from {tmp_path}/run/model",
        "bare": f"no checkpoint in {tmp_path}/bare; --resume needs a run that saved one",
    }.items():
        message = refused(capsys, data, tmp_path / "new", "--steps=2", "--resume", str(tmp_path / what))
        assert expected in message and str(tmp_path / what) in message
    other = ("--resume", str(run), "--set", "optimizer.lr=0.5")
    message = refused(capsys, data, tmp_path / "new", "--steps=2", *other)
    assert "has optimizer.lr = 0.001, this one 0.5" in message and f"--from {run}" in message


# Other data


def test_changed_data_is_an_option_and_is_recorded(data: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise(data, "g", seed=9)
    message = refused(capsys, data, run, "--steps=2")
    assert "data of another run" in message and "files was 6 and is 7" in message and "--data-changed" in message
    message = refused(capsys, data, run, "--extend=3")
    assert "--data-changed" in message
    assert pretrain(data, run, "--extend=3", "--data-changed") == 0
    assert "data changed at step 2: files was 6 and is 7" in capsys.readouterr().out
    history = checkpoint.read_state(latest(run))[1]["history"]
    (change,) = history["data_changed"]
    assert change["step"] == 2 and change["was"]["files"] == 6 and change["is"]["files"] == 7
    assert change["was"]["audio_seconds"] == 4.5 and change["is"]["audio_seconds"] == 5.25
    last = json.loads((run / "environment.json").read_text())[-1]
    assert last["step"] == 2 and last["files"] == 7 and last["data_changed"] == [change]
    assert main(["info", str(run)]) == 0
    assert "at step 2: files 6 to 7" in capsys.readouterr().out


def test_a_run_on_changed_data_resumes_exactly(data: Path, run: Path, tmp_path: Path) -> None:
    noise(data, "g", seed=9)
    assert pretrain(data, run, "--extend=4", "--data-changed") == 0
    whole = outcome(run)
    lost(run, 6)
    assert pretrain(data, run, "--steps=2") == 0, "the data is what it was at the last checkpoint"
    assert outcome(run) == whole


@pytest.mark.parametrize("change", ["swapped", "renamed", "shorter", "fewer"])
def test_data_is_other_data_by_names_count_or_length(
    change: str, data: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if change == "swapped":
        (data / "a.wav").unlink()
        noise(data, "h", seed=9)
    elif change == "renamed":
        (data / "a.wav").rename(data / "z.wav")
    elif change == "shorter":
        soundfile.write(data / "a.wav", np.zeros(11_000), 16_000)
    else:
        (data / "a.wav").unlink()
    assert "--data-changed" in refused(capsys, data, run, "--steps=2")


def test_a_moved_set_is_the_same_data(run: Path, data: Path, tmp_path: Path) -> None:
    data.rename(tmp_path / "moved")
    assert pretrain(tmp_path / "moved", run, "--steps=2") == 0


def test_a_checkpoint_without_file_names_resumes(run: Path, data: Path, made: Path) -> None:
    """Runs from before files were identified by name: only that is missing in their checkpoints."""
    for state in run.glob("checkpoints/*/state.json"):
        saved = json.loads(state.read_text())
        assert set(saved) == {"format", "step", "fingerprint", "elapsed", "processes"}
        assert saved["processes"][0]["data"]["made_with"].pop("listing")
        state.write_text(json.dumps(saved))
    lost(run, 2)
    assert pretrain(data, run, "--steps=2") == 0
    assert outcome(run) == outcome(made / "run")


# More steps


def test_an_extension_resumes_exactly(data: Path, run: Path, tmp_path: Path) -> None:
    assert pretrain(data, run, "--extend=5") == 0
    whole = outcome(run)
    assert whole[0] == 7 and [line["step"] for line in whole[2]] == [*range(1, 8)]
    for again in (["--extend=5"], ["--steps=2"], ["--steps=2", "--extend=5"]):
        lost(run, 7)
        assert pretrain(data, run, *again) == 0
        assert outcome(run) == whole, again


@pytest.mark.slow
def test_an_extension_resumes_exactly_after_kill_9(data: Path, run: Path, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(run, tmp_path / "whole"))
    assert pretrain(data, whole, "--extend=30") == 0
    command = [sys.executable, "-m", "aasp", *words(data, run, "--extend=30", settings=SIZES)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    while process.poll() is None and not any(line["step"] >= 8 for line in read_metrics(run)):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "the run was over before it could be killed"
    assert pretrain(data, run, "--extend=30") == 0
    assert outcome(run) == outcome(whole)


@pytest.mark.slow
def test_an_extension_has_the_rates_of_a_run_that_long(data: Path, run: Path) -> None:
    assert pretrain(data, run, "--extend=20") == 0
    assert pretrain(data, run, "--extend=3") == 0
    rate = [line["learning_rate"] for line in numbers(run)]
    momentum = [line["momentum"] for line in numbers(run)]
    assert len(rate) == 25
    assert rate[:2] == pytest.approx([1e-3, 0.5e-3]), "its own, over two steps"
    assert rate[2:22] == pytest.approx(warmup_cosine(1e-3, 22, warmup=2)[2:].tolist())
    assert rate[22:] == pytest.approx(warmup_cosine(1e-3, 25, warmup=2)[22:].tolist())
    assert set(momentum[2:]) == {0.999}, "the teacher's ramp is over"
    steps = checkpoint.read_state(latest(run))[1]["history"]["extended"]
    assert steps == [{"step": 2, "steps": 20}, {"step": 22, "steps": 3}]


def test_an_extension_begins_from_the_finished_run(data: Path, run: Path, made: Path) -> None:
    """Nothing is reset: the first of its losses is that of the step after the last."""
    assert pretrain(data, run, "--extend=1") == 0
    assert numbers(run)[:2] == numbers(made / "run")
    assert numbers(run)[2]["clips_seen"] == 12
    optimizer = checkpoint.load(latest(run)).optimizer
    assert {int(tensor) for name, tensor in optimizer.items() if name.endswith("/step")} == {3}


def test_a_run_can_be_extended_in_a_new_folder(data: Path, run: Path, made: Path, tmp_path: Path) -> None:
    assert pretrain(data, tmp_path / "new", "--extend=2", "--resume", str(made / "run")) == 0
    assert pretrain(data, run, "--extend=2") == 0
    assert outcome(tmp_path / "new")[3] == outcome(run)[3]
    assert latest(made / "run").name == "step-00000002"


def test_runs_that_cannot_be_extended(
    data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--extend is 0" in refused(capsys, data, run, "--extend=0")
    assert "holds no run" in refused(capsys, data, tmp_path / "new", "--extend=2")
    message = refused(capsys, data, run, "--steps=5")
    assert "has steps = 2, this one 5" in message and "--extend 3" in message
    assert "has steps = 2, this one 5" in refused(capsys, data, run, "--steps=5", "--extend=3")
    lost(run, 2)
    assert "is at step 1 of 2" in refused(capsys, data, run, "--extend=2")


def test_info_knows_all_steps(data: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain(data, run, "--extend=2") == 0
    capsys.readouterr()
    assert main(["info", str(run)]) == 0
    output = capsys.readouterr().out
    assert "4 of 4" in output and "by 2 steps at 2" in output


# Another model's weights


def test_a_run_gives_all_that_it_trains(made: Path) -> None:
    initial, objective = read_initial(made / "run"), build_objective(recipe())
    _, parts, *more = initial.load_into(objective)
    assert more == [] and "student and teacher: stem, encoder; predictor; projector" in parts
    state = checkpoint.load(latest(made / "run")).model
    assert all(torch.equal(tensor, state[name]) for name, tensor in objective.state_dict().items())
    different = [n for n in state if n.startswith("student.") and not torch.equal(
        state[n], state[n.replace("student.", "teacher.model.")])]  # fmt: skip
    assert different, "student and teacher are two"


@pytest.mark.parametrize("what", ["run/model", "classifier"])
def test_a_model_gives_student_and_teacher_its_weights(what: str, made: Path) -> None:
    encoder = aasp.load(made / "run")
    if what == "classifier" and not (made / what).exists():
        classifier = AudioClassifier(AudioClassifierConfig(("a", "b"), encoder=encoder.config))
        classifier.encoder.load_state_dict(encoder.state_dict())
        classifier.save(made / what)
    objective = build_objective(recipe())
    lines = read_initial(made / what).load_into(objective)
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(objective.student.state_dict()[name], tensor)
        assert torch.equal(objective.teacher.model.state_dict()[name], tensor)
    assert f"fingerprint {model_hash(encoder)[:16]}" in lines[0]
    assert "new: predictor; projector" in lines[2]


def test_a_whitening_is_not_taken_and_the_remedy_is_printed(made: Path, tmp_path: Path) -> None:
    encoder = aasp.load(made / "run")
    even = AudioEncoder(replace(encoder.config, whitened=4))
    even.load_state_dict(encoder.state_dict(), strict=False)
    even.save(tmp_path / "even")
    objective = build_objective(recipe())
    lines = read_initial(tmp_path / "even").load_into(objective)
    assert "  not used: student and teacher: whitening" in lines
    assert (
        lines[-1] == "  its vector is whitened, this run's is not; after the run, `aasp whiten` learns a new whitening"
    )
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(objective.student.state_dict()[name], tensor)


@pytest.mark.parametrize("what", ["conv", "conv/model"])
def test_a_convolution_grows_into_aape_unchanged(what: str, made: Path) -> None:
    conv, objective = aasp.load(made / "conv"), build_objective(recipe())
    before = objective.teacher.model.stem.lambda_encoder.head.weight.clone()
    lines = read_initial(made / what).load_into(objective)
    assert "stem.project" in lines[1] and "stem.fuse" in "".join(lines[2:])
    assert lines[-1].endswith("the model differs: stem.kind is aape, there conv")
    assert torch.equal(objective.teacher.model.stem.lambda_encoder.head.weight, before)
    wave = 0.1 * torch.randn(2, 24_000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs, ours = conv(wave), objective.teacher.model.eval()(wave)
    torch.testing.assert_close(ours.clip, theirs.clip, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.timestamps, theirs.timestamps, rtol=1e-5, atol=1e-5)
    assert theirs.clip.std() > 0.1


def test_tensors_that_fit_are_taken_and_the_rest_are_listed(made: Path) -> None:
    wider = {"predictor.width": "32", "model.encoder.depth": "2", "model.vector": "none", "model.frontend.mean": "-5"}
    objective = build_objective(recipe(**wider))
    start = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    _, taken, new, unfit, differs = read_initial(made / "run").load_into(objective)
    parts = "stem, encoder.class_token, encoder.blocks.0, encoder.norm; projector"
    assert taken.startswith(f"  taken: student and teacher: {parts} (")
    assert "new: student and teacher: encoder.blocks.1" in new
    example = "predictor.mask_token is (16,) there and (32,) here"
    assert unfit == f"  did not fit: predictor (21 tensors, as {example})", "a bias goes with its weight"
    assert "frontend.mean is -5.0, there -4.268; encoder.depth is 2, there 1" in differs
    for name, tensor in objective.state_dict().items():
        if "blocks.1" in name or name.startswith(("predictor.blocks.0", "predictor.head")):
            assert torch.equal(tensor, start[name]), name


def test_nothing_that_fits_is_refused(
    made: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wider = CONV | {"model.encoder.width": "32"}
    message = refused(capsys, data, tmp_path / "new", "--steps=2", "--from", str(made / "conv"), settings=wider)
    assert "nothing of it fits this recipe" in message and "(16, 256) there and (32, 256) here" in message
    for what in ("nowhere", "data"):
        message = refused(capsys, data, tmp_path / "new", "--steps=2", "--from", str(made / what))
        assert str(made / what) in message


def test_training_on_new_data_is_recorded_and_resumes_exactly(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new, other = tmp_path / "new", noise(tmp_path / "other", "xyz", seed=20)
    argv = (other, new, "--steps=4", "--from", str(made / "conv"), "--set", "optimizer.lr=1e-4")
    assert pretrain(*argv) == 0  # type: ignore[arg-type]
    output = capsys.readouterr().out
    assert f"started from {made / 'conv'}: aasp_tiny at step 2, fingerprint" in output
    source = json.loads((new / "recipe.json").read_text())["started_from"]
    teacher = aasp.load(made / "conv")
    assert source == {"model": str(made / "conv"), "recipe": "aasp_tiny", "step": 2,
                      "model_hash": model_hash(teacher), "weights": "a run's"}  # fmt: skip
    assert json.loads((new / "environment.json").read_text())[0]["started_from"] == source
    with safe_open(new / "model/model.safetensors", framework="pt") as weights:
        assert json.loads(weights.metadata()["started_from"]) == source
    for path in (new, new / "model"):
        assert main(["info", str(path)]) == 0
        output = capsys.readouterr().out
        assert f"{made / 'conv'}, aasp_tiny at step 2, fingerprint {source['model_hash'][:16]}" in output
    whole = outcome(new)
    for again in (argv, argv[:3] + argv[5:]):
        lost(new, 4)
        assert pretrain(*again) == 0  # type: ignore[arg-type]
        assert outcome(new) == whole
    output = refused(capsys, other, new, "--steps=4", "--from", str(made / "run"), "--set", "optimizer.lr=1e-4")
    assert f"the run to resume started from {made / 'conv'}" in output
    output = refused(capsys, other, made / "run", "--steps=2", "--from", str(made / "conv"))
    assert "started from random weights" in output


def test_a_run_without_checkpoints_restarts_only_from_the_same_weights(
    made: Path, data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    assert pretrain(data, new, "--steps=2", "--from", str(run)) == 0
    whole = outcome(new)
    shutil.rmtree(new / "checkpoints")
    assert pretrain(data, new, "--steps=2", "--from", str(run)) == 0
    assert outcome(new) == whole
    shutil.rmtree(new / "checkpoints")
    assert pretrain(data, run, "--extend=1") == 0
    assert "started_from.model_hash" in refused(capsys, data, new, "--steps=2", "--from", str(run))
    assert "started_from" in refused(capsys, data, new, "--steps=2")
