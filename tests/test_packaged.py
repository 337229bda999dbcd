"""The packaged model: present, small, the default, offline, with the same vector everywhere."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import aasp
from aasp.cli.main import main
from aasp.evaluate.whitening import DIRECTIONS
from aasp.integrations import hear
from aasp.model.folder import DEFAULT, PACKAGED, packaged
from aasp.pretrain import recipes

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(40_000).astype(np.float32)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("the network is asked")

    monkeypatch.setattr("socket.socket.connect", refused)


def test_it_is_small_and_what_its_recipe_makes() -> None:
    assert DEFAULT in packaged() and (PACKAGED / DEFAULT / "model.safetensors").stat().st_size < 8e6
    encoder = aasp.load(DEFAULT)
    assert replace(encoder.config, whitened=0) == recipes.get("aasp_tiny").model and not encoder.training
    assert encoder.config.whitened == DIRECTIONS
    assert all(x.dtype == torch.float32 for x in encoder.parameters()), "kept in fp16, read in fp32"


def test_nothing_keeps_it_out_of_a_wheel(tmp_path: Path) -> None:
    """What is built takes all of the package that .gitignore does not name."""
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text(encoding="utf-8"))
    git = lambda *words: subprocess.run(["git", *words], cwd=tmp_path, check=False).returncode
    assert git("init", "-q") == 0
    for file in ("config.json", "model.safetensors", "README.md"):
        assert git("check-ignore", "-q", f"src/aasp/packaged/{DEFAULT}/{file}") == 1
    built = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.hatch")[2].partition("\n[tool.p")[0]
    assert 'packages = ["src/aasp"]' in built and "exclude" not in built and "include" not in built


def test_one_vector_everywhere(wave: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("noise.wav", wave, 16_000, subtype="FLOAT")
    with torch.no_grad():
        own = aasp.load(DEFAULT)(torch.from_numpy(wave)[None]).clip[0].numpy()
    assert own.shape == (1_920,) and np.isfinite(own).all()
    assert main(["embed", "noise.wav", "--out", "x.npz"]) == 0
    with np.load("x.npz") as file:
        np.testing.assert_allclose(file["embedding"][0], own, atol=1e-5)
    np.testing.assert_allclose(aasp.embed("noise.wav"), own, atol=1e-5)
    scene = hear.get_scene_embeddings(torch.from_numpy(wave)[None], hear.load_model(DEFAULT))
    np.testing.assert_allclose(scene[0], own, atol=1e-5)


@pytest.mark.slow
def test_exported_it_gives_the_same(wave: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    soundfile.write("noise.wav", wave, 16_000, subtype="FLOAT")
    assert main(["export", DEFAULT, "--out", "tiny.onnx"]) == 0
    assert main(["embed", "tiny.onnx", "noise.wav", "--engine", "onnx", "--out", "x.npz"]) == 0
    with np.load("x.npz") as file:
        np.testing.assert_allclose(file["embedding"][0], aasp.embed("noise.wav"), rtol=1e-5, atol=4e-4)  # of up to 163
