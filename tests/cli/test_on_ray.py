"""`--engine ray` on a cluster of this machine's own gives what one process gives; without Ray it is one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from aasp.cli.main import main
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig


@pytest.fixture
def model(tmp_path: Path) -> Path:
    AudioEncoder(AudioEncoderConfig(encoder=EncoderConfig(width=24, depth=2, heads=2))).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def own() -> Iterator[None]:
    """Ends the cluster that a command began."""
    ray = pytest.importorskip("ray")
    yield
    ray.shutdown()


def test_without_ray_it_is_one_line(
    model: Path, hums: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["embed", str(model), str(hums), "--out", str(tmp_path / "a.parquet"), "--engine", "ray"]) == 2
    message = "aasp: error: --engine ray: Ray is not installed; pip install 'aasp-audio[ray]'\n"
    assert capsys.readouterr().err == message
    assert {path.name for path in tmp_path.iterdir()} == {"model"}


@pytest.mark.slow
def test_embed_and_compare(
    own: None,
    model: Path,
    hums: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(hums)
    for name, more in (("one", []), ("ray", ["--engine", "ray"])):
        words = ["embed", str(model), ".", "--out", str(tmp_path / f"{name}.parquet"), "--threads", "1", *more]
        assert main(words) == 0
    one, several = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("one", "ray"))
    assert several.equals(one) and one.num_rows == 24

    monkeypatch.chdir(tmp_path)
    small = [f"model.encoder.{one}" for one in ("width=16", "depth=1", "heads=2")]
    small += ["predictor.width=16", "predictor.depth=1", "predictor.heads=2", "data.batch=4"]
    words = ["compare", "m2d_tiny", "--data", str(hums), "--benchmarks", f"{hums / 'index.csv'}:label:split:speaker"]
    words += ["--threads", "1", "--precision", "fp32", "--seeds", "1", "--steps", "4", "--set", *small]
    tables = []
    for name, more in (("one", []), ("ray", ["--engine", "ray"])):
        capsys.readouterr()
        assert main([*words, "--out", name, *more]) == 0
        tables.append([line for line in capsys.readouterr().out.splitlines() if line.startswith("|")])
    assert tables[0] == tables[1] != []
