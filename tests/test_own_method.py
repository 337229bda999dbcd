"""A user-defined method in a file outside the package, by the commands in its first comment."""

from __future__ import annotations

import json
import os
import shutil
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
from aasp.config import with_fields
from aasp.pretrain.initial import read_initial
from aasp.pretrain.objective import build_objective
from aasp.pretrain.recipes import get
from aasp.training.checkpoint import latest, read_tensors
from aasp.training.tracking import read_metrics

FILE = Path(__file__).parents[1] / "examples" / "own_method.py"
STEPS = 60
CLOCK = {"seconds", "clips_per_second", "waiting_share"}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, a clip each in five folds: low noise and high noise."""
    folder, random = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for k in range(20):
        noise = random.standard_normal(16_000)
        noise = noise if k % 2 else np.cumsum(noise)
        where = folder / ("train" if k < 10 else "test") / ("high" if k % 2 else "low")
        where.mkdir(parents=True, exist_ok=True)
        soundfile.write(where / f"{k}.wav", 0.5 * noise / np.abs(noise).max(), 16_000)
    return folder


def words(sounds: Path, run: Path, recipe: str, steps: int = STEPS) -> list[str]:
    sizes = (
        "model.encoder.width=32",
        "model.encoder.depth=1",
        "model.vector=none",
        "model.encoder.heads=2",
        "predictor.width=32",
    )
    more = ("predictor.heads=2", "predictor.depth=1", "data.batch=4", "data.crop_seconds=0.5", "masking.views=2")
    given = ("--steps", str(steps), "--log-every=1", "--checkpoint-every=20", "--threads=1", "--precision=fp32")
    return ["pretrain", recipe, "--data", str(sounds), "--out", str(run), *given, "--set", *sizes, *more]


def numbers(run: Path) -> list[dict[str, float]]:
    return [{name: value for name, value in line.items() if name not in CLOCK} for line in read_metrics(run)]


@pytest.mark.slow
def test_a_user_defined_method_trains_resumes_and_is_used(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert main(words(sounds, whole, f"{FILE}:recipe")) == 0
    losses = [line["loss"] for line in numbers(whole)]
    assert len(losses) == STEPS and sum(losses[-10:]) < 0.9 * sum(losses[:10])
    assert "momentum" not in read_metrics(whole)[0], "it has no teacher"
    recipe = json.loads((whole / "recipe.json").read_text())
    assert recipe["method"]["kind"] == "own_method:AutoencoderConfig" and recipe["method"]["masking"]["views"] == 2

    # Killed, from the folder of the file, and resumed by the same line.
    shutil.copy(FILE, tmp_path / "own_method.py")
    line = words(sounds, run, "own_method.py:recipe")
    source = str(Path(aasp.__file__).parents[1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": source}
    command = [sys.executable, "-m", "aasp", *line]
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL)
    while process.poll() is None and len(read_metrics(run)) < 15:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75 and len(read_metrics(run)) < STEPS
    assert subprocess.run(command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL).returncode == 0
    assert numbers(run) == numbers(whole)
    assert (run / "model/model.safetensors").read_bytes() == (whole / "model/model.safetensors").read_bytes()

    # Its model is like any other: loaded without the method, probed, and trained on.
    other = "import aasp, sys; print(aasp.load(sys.argv[1])(__import__('torch').zeros(1, 16000)).clip.shape)"
    loaded = subprocess.run([sys.executable, "-c", other, str(run)], env=environment, capture_output=True, text=True)
    assert loaded.stdout.strip() == "torch.Size([1, 32])", loaded.stderr
    state, model = read_tensors(latest(run) / "model.safetensors"), aasp.load(run)  # type: ignore[operator]
    assert all(torch.equal(tensor, state[f"encoder.{name}"]) for name, tensor in model.state_dict().items())
    capsys.readouterr()
    probe = ["--benchmark", "folder", "--root", str(sounds), "--protocol", "knn"]
    assert main(["linear", str(run), *probe, "--out", str(tmp_path / "scores.json")]) == 0
    assert main(["info", str(run)]) == 0
    assert "autoencoder" in capsys.readouterr().out


@pytest.mark.slow
def test_a_user_defined_method_and_stem_work_in_every_command(sounds: Path, tmp_path: Path) -> None:
    """Each command in a process of its own, which knows the stem by `--plugin` alone."""
    run, stem, source = tmp_path / "run", FILE.with_name("own_stem.py"), str(Path(aasp.__file__).parents[1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": source}

    def aasp_in(*argv: object, code: int = 0) -> str:
        command = [sys.executable, "-m", "aasp", *map(str, argv)]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code, (argv, done.stderr)
        return done.stdout + done.stderr

    line = [*words(sounds, run, f"{FILE}:recipe", steps=30), f"model.stem={stem}:MomentsConfig"]
    process = subprocess.Popen([sys.executable, "-m", "aasp", *line], env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None and len(read_metrics(run)) < 10:
        time.sleep(0.01)
    process.kill()
    process.wait(60)
    steps = len(read_metrics(run))
    aasp_in(*line)
    assert steps < 30 and [one["step"] for one in read_metrics(run)] == list(range(1, 31))
    config = json.loads((run / "model/config.json").read_text())
    assert config["stem"]["kind"] == "own_stem:MomentsConfig"

    sound, plugin = next(sounds.rglob("*.wav")), ["--plugin", stem]
    assert "--plugin own_stem" in aasp_in("embed", run, sound, "--out", "a.npz", code=2)
    aasp_in("embed", run, sound, "--out", "a.npz", *plugin)
    folder = ["--benchmark", "folder", "--root", sounds]
    assert "accuracy" in aasp_in("linear", run, *folder, "--protocol", "knn", *plugin)
    small = ["--steps", "2", "--threads", "1", "--set", "batch=4", "validations=1", "crop_seconds=0.5"]
    aasp_in("finetune", run, *folder, "--out", "tuned", *plugin, *small)
    assert "low" in aasp_in("predict", "tuned", sound, "--top", "2", *plugin)
    aasp_in("alias", "response", run, "--out", "lab", "--frequencies", "6", *plugin)
    loaded = "import aasp, own_stem, sys, torch; print(aasp.load(sys.argv[1])(torch.zeros(1, 16000)).clip.shape)"
    environment["PYTHONPATH"] += os.pathsep + str(stem.parent)
    found = subprocess.run([sys.executable, "-c", loaded, run], env=environment, capture_output=True, text=True)
    assert found.stdout.strip() == "torch.Size([1, 32])", found.stderr


@pytest.mark.slow
def test_aasp_starts_from_a_user_defined_method(sounds: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(words(sounds, run, f"{FILE}:recipe", steps=2)) == 0
    initial = read_initial(run)
    sizes = {"model.encoder.width": 32, "model.encoder.depth": 1, "model.vector": "none", "model.encoder.heads": 2}
    aasp_tiny = build_objective(with_fields(get("aasp_tiny"), sizes))
    lines = initial.load_into(aasp_tiny)
    for name, tensor in aasp.load(run).state_dict().items():
        for owner in ("student.", "teacher.model."):
            assert torch.equal(aasp_tiny.state_dict()[owner + name], tensor)
    assert "autoencoder at step 2" in lines[0] and "student and teacher: stem, encoder" in lines[1]


def test_a_user_defined_recipe_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", f"{FILE}:recipe"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:])
    assert rows["method.kind"] == "own_method:AutoencoderConfig"
    assert rows["method.masking.keep_ratio"] == "0.25" and rows["steps"] == "18000"


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("own_metod.py:recipe", "no such file: own_metod.py"),
        (f"{FILE}:recip", "did you mean 'recipe'?"),
        ("nowhere.at_all:recipe", "can't import nowhere.at_all"),
        ("own_method:", "own_method"),
    ],
)
def test_a_missing_recipe_is_one_line(
    recipe: str, expected: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pretrain", recipe, "--data", str(sounds), "--out", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and expected in message and not (tmp_path / "run").exists()
