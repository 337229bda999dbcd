"""`aasp embed`: the vectors of the model, in the order given, in both formats; nothing written on a bad file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from aasp.audio.io import read
from aasp.cli.main import main
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig, load
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

FILES = {"b.wav": (8_000, 1.3), "a.flac": (16_000, 0.4), "c.ogg": (44_100, 2.2)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=1, heads=2))
    AudioEncoder(config).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    for name, (rate, seconds) in FILES.items():
        soundfile.write(tmp_path / name, 0.1 * rng.standard_normal((round(rate * seconds), 2)), rate)
    return [str(tmp_path / name) for name in FILES]


def contents(path: Path) -> dict[str, list]:
    """What was written, one entry a file, the same for both formats."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pydict()
    with np.load(path, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    if "offsets" in found:
        cuts = found.pop("offsets")
        assert cuts[0] == 0 and cuts[-1] == len(found["seconds"])
        found |= {name: np.split(found[name], cuts[1:-1]) for name in ("frames", "seconds")}
    return {name: list(values) for name, values in found.items()}


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("frames", [False, True])
def test_what_is_written_is_what_the_model_says(
    suffix: str, frames: bool, model: Path, files: list[str], tmp_path: Path
) -> None:
    out = tmp_path / f"x{suffix}"
    assert main(["embed", str(model), *files, "--out", str(out), *(["--frames"] if frames else [])]) == 0
    found, encoder = contents(out), load(model)
    assert found.keys() == {"path", "embedding"} | ({"frames", "seconds"} if frames else set())
    assert found["path"] == files
    for row, path in enumerate(files):
        with torch.no_grad():
            expected = encoder(torch.from_numpy(read(path))[None])
        np.testing.assert_allclose(found["embedding"][row], expected.clip[0], atol=1e-5)
        if frames:
            np.testing.assert_allclose(np.array(found["frames"][row]), expected.timestamps[0], atol=1e-5)
            np.testing.assert_allclose(found["seconds"][row], expected.seconds)


def test_a_finer_hop_has_as_many_vectors_more(
    model: Path, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.npz"
    assert main(["embed", str(model), *files, "--frames", "--hop", "0.04", "--out", str(out)]) == 0
    found, encoder = contents(out), load(model)
    for row, path in enumerate(files):
        with torch.no_grad():
            expected = encoder.over_time(torch.from_numpy(read(path))[None], hop=0.04)
            clip = encoder(torch.from_numpy(read(path))[None]).clip[0]
        np.testing.assert_allclose(found["frames"][row], expected.vectors[0], atol=1e-5)
        np.testing.assert_allclose(found["seconds"][row], expected.seconds)
        np.testing.assert_allclose(found["embedding"][row], clip, atol=1e-5)
    capsys.readouterr()
    for more, told in (([], "--hop 0.04 without --frames"), (["--frames"], "time steps are 0.16, 0.08, 0.04 s")):
        hop = "0.04" if not more else "0.03"
        assert main(["embed", str(model), *files, *more, "--hop", hop, "--out", str(tmp_path / "y.npz")]) == 2
        assert told in capsys.readouterr().err and not (tmp_path / "y.npz").exists()


def test_arrays_have_the_stated_shapes(model: Path, files: list[str], tmp_path: Path) -> None:
    assert main(["embed", str(model), *files, "--out", str(tmp_path / "x.npz")]) == 0
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert arrays["path"].shape == (3,) and arrays["embedding"].shape == (3, 8)
        assert arrays["embedding"].dtype == np.float32


def test_another_pooling(model: Path, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "x.npz")
    assert main(["embed", str(model), *files, "--out", out, "--pooling", "flat+std"]) == 0
    with np.load(out, allow_pickle=False) as arrays:
        assert arrays["embedding"].shape == (3, 2 * 8 * 8)
    assert main(["embed", str(model), *files, "--out", out, "--overwrite", "--pooling", "max"]) == 2
    assert "'max'" in capsys.readouterr().err


def test_no_files(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", str(model), "--out", str(tmp_path / "x.npz")]) == 2
    assert "no files" in capsys.readouterr().err


def test_a_bad_file_ends_it_and_nothing_is_written(
    model: Path, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.wav").touch()
    assert main(["embed", str(model), *files, str(tmp_path / "empty.wav"), "--out", str(tmp_path / "x.npz")]) == 2
    told = capsys.readouterr()
    assert "empty.wav" in told.err and told.err.count("\n") == 1 and told.out == ""
    assert not list(tmp_path.glob("*x*.npz"))
