"""`aasp convert`: a folder that loads, or one line with what to type."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import ASTConfig, ASTModel

import aasp
from aasp.cli.main import main


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ast")
    ASTModel(
        ASTConfig(hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=48, max_length=106)
    ).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"mean": -6.845978, "std": 5.5654526, "do_normalize": true}')
    return folder


def test_a_checkpoint_becomes_a_model(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "models/ast"
    assert main(["convert", str(checkpoint), "--as", "ast", "--out", str(out)]) == 0
    summary = "width 24, 1 blocks of 3 heads; log-mel of 128 bins, less -6.84598, over 11.1309"
    assert capsys.readouterr().out == f"{out}: {summary}\n"
    assert aasp.load(out)(torch.zeros(1, 16_000)).clip.shape == (1, 24)
    assert main(["convert", str(checkpoint), "--as", "ast", "--out", str(out)]) == 2
    assert "output exists" in capsys.readouterr().err
    assert main(["convert", str(checkpoint), "--as", "ast", "--out", str(out), "--overwrite"]) == 0
    before = (checkpoint / "config.json").read_text()
    capsys.readouterr()
    assert main(["convert", str(checkpoint), "--as", "ast", "--out", str(checkpoint), "--overwrite"]) == 2
    assert "the checkpoint itself is there" in capsys.readouterr().err
    assert (checkpoint / "config.json").read_text() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.pt"], "whose layout? `aasp convert a.pt --as ast`"),
        (["a.pt", "--as", "ast"], "--out is missing: `aasp convert a.pt --as ast --out models/ast`"),
        (["a.pt", "--as", "beets", "--out", "b"], "no such layout: beets; give one of ast, eat, sslam, audio-mae, m2d"),
        (["gone.pt", "--as", "ast", "--out", "b"], "gone.pt: no such file"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["convert", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
