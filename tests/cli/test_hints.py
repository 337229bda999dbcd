"""What people type first: nothing, words in another order, a folder for a file; the line that would have worked."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.cli import main as cli
from aasp.cli.arguments import parse
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

ErrorOf = Callable[..., str]


@pytest.fixture
def error_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> ErrorOf:
    """Runs `aasp` beside a model, a sound, a folder of classes and a table; returns its one line of error."""
    config = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=1, heads=2))
    AudioEncoder(config).save(tmp_path / "runs/tiny/model")
    (tmp_path / "clips/dogs").mkdir(parents=True)
    for name in ("dog.wav", "clips/dogs/a.wav"):
        soundfile.write(tmp_path / name, np.zeros(16_000), 16_000)
    (tmp_path / "list.csv").write_text("path,label,split\ndog.wav,dog,train\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(typed: str) -> str:
        assert cli.main(shlex.split(typed)) == 2
        error = capsys.readouterr().err
        assert error.startswith("aasp: error: ") and error.count("\n") == 1
        return error.removeprefix("aasp: error: ").strip()

    return run


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("", "aasp embed runs/tiny dog.wav recordings --out embeddings.npz"),
        ("dog.wav", "aasp embed dog.wav --out embeddings.parquet"),
        ("clips", "aasp embed clips --out embeddings.parquet"),
        ("clips --out x.npz", "aasp embed clips --out x.npz"),
        ("list.csv", "aasp embed list.csv --out embeddings.parquet"),
        ("runs/tiny", "aasp info runs/tiny"),
        ("runs/tiny embed dog.wav", "aasp embed runs/tiny dog.wav"),
        ("dog.wav embed --out x.npz", "aasp embed dog.wav --out x.npz"),
        ("runs/tiny linear --benchmark folder --root clips", "aasp linear runs/tiny --benchmark folder --root clips"),
        ("alias runs/tiny stability --data clips --out lab", "aasp alias stability runs/tiny --data clips --out lab"),
        ("embed", "aasp embed dog.wav --out embeddings.npz"),
        ("embed dog.wav runs/tiny --out x.npz", "aasp embed runs/tiny dog.wav --out x.npz"),
        ("embed --out x.npz dog.wav runs/tiny", "aasp embed runs/tiny --out x.npz dog.wav"),
        ("embed clips runs/tiny --out x.npz", "aasp embed runs/tiny clips --out x.npz"),
        ("embed runs/tiny dog.wav", "aasp embed runs/tiny dog.wav --out embeddings.npz"),
        ("embed runs/tiny dog.wav --out clips", "aasp embed runs/tiny dog.wav --out clips/embeddings.npz"),
        ("embed runs/tiny", "aasp embed runs/tiny --out embeddings.npz"),
        ("embed runs/tiny --out x.npz", "aasp embed runs/tiny dog.wav --out x.npz"),
        ("predict", "aasp predict runs/clips new.wav"),
        ("predict dog.wav", "aasp predict runs/clips dog.wav"),
        ("predict dog.wav runs/tiny", "aasp predict runs/tiny dog.wav"),
        ("predict runs/tiny", "aasp predict runs/tiny dog.wav"),
        ("linear clips", "aasp linear runs/tiny --benchmark folder --root clips"),
        ("linear clips runs/tiny", "aasp linear runs/tiny --benchmark folder --root clips"),
        ("linear runs/tiny list.csv", "aasp linear runs/tiny --index list.csv --label label --split split"),
        ("finetune clips --out runs/mine", "aasp finetune runs/tiny --out runs/mine --benchmark folder --root clips"),
        ("pretrain clips --out runs/x", "aasp pretrain aasp_tiny --data clips --out runs/x"),
        ("pretrain list.csv --data clips --out runs/x", "aasp pretrain aasp_tiny --data list.csv --out runs/x"),
        ("pretrain aasp_tiny --out runs/x", "aasp pretrain aasp_tiny --out runs/x --data recordings"),
        ("pretrain aasp_tiny --data clips", "aasp pretrain aasp_tiny --data recordings --out runs/tiny"),
        ("alias kernels dog.wav runs/tiny --out lab", "aasp alias kernels runs/tiny dog.wav --out lab"),
        ("alias kernels runs/tiny clips --out lab", "aasp alias kernels runs/tiny clips/dogs/a.wav --out lab"),
        ("alias stability clips runs/tiny --data clips --out lab", "aasp alias stability runs/tiny clips --data clips"),
        ("info clips", "aasp scan clips"),
        ("scan", "aasp scan recordings --out recordings.parquet"),
        ("stats", "aasp stats recordings"),
        ("plan aasp_tiny", "aasp plan aasp_base --gpus 8 --utilisation 0.4"),
    ],
)
def test_the_line_that_would_have_worked(typed: str, line: str, error_of: ErrorOf) -> None:
    assert f"`{line}" in error_of(typed)


def test_a_missing_path_gives_no_hint(error_of: ErrorOf) -> None:
    assert error_of("nowhere") == "no such command: nowhere; `aasp --help` lists the commands"


@pytest.mark.parametrize("name", cli.EXAMPLES)
def test_examples_can_be_typed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Parsed(Exception):
        pass

    def parse_only(*given: object, **options: object) -> None:
        parse(*given, **options)  # type: ignore[arg-type]
        raise Parsed

    argv, words = shlex.split(cli.EXAMPLES[name]), name.split() if name != "alias" else ["alias", "report"]
    assert argv[: 1 + len(words)] == ["aasp", *words]
    module = importlib.import_module(f"aasp.cli.{'_'.join(words)}")
    monkeypatch.setattr(module, "parse", parse_only)
    with pytest.raises(Parsed):
        module.run(argv[1 + len(words) :])
