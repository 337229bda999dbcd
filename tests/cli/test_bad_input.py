"""User mistakes at the real command line: one line that names the cause and the remedy, nothing lost.

A file named on the command line ends the command with 2; a bad file in a folder or manifest is skipped, counted and
listed, and 2 follows only if none is left.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.cli.main import main

RATE = 16_000
RNG = np.random.default_rng(0)


def wav(path: Path, seconds: float = 1.0, **options: str) -> Path:
    soundfile.write(path, 0.1 * RNG.standard_normal(round(seconds * RATE)).astype(np.float32), RATE, **options)
    return path


def empty(folder: Path) -> Path:
    (folder / "empty.wav").touch()
    return folder / "empty.wav"


def truncated(folder: Path) -> Path:
    path = wav(folder / "truncated.wav")
    os.truncate(path, path.stat().st_size // 2)
    return path


def truncated_flac(folder: Path) -> Path:
    path = wav(folder / "truncated.flac")
    os.truncate(path, path.stat().st_size // 2)
    return path


def without_samples(folder: Path) -> Path:
    return wav(folder / "without_samples.wav", seconds=0)


def not_a_number(folder: Path) -> Path:
    path = folder / "not_a_number.wav"
    soundfile.write(path, np.full(RATE, np.nan, np.float32), RATE, subtype="FLOAT")
    return path


def ten_milliseconds(folder: Path) -> Path:
    return wav(folder / "ten_milliseconds.wav", seconds=0.01)


def zero_hertz(folder: Path) -> Path:
    path = wav(folder / "zero_hertz.wav")
    content = bytearray(path.read_bytes())
    content[24:28] = bytes(4)
    path.write_bytes(content)
    return path


def mislabelled(folder: Path) -> Path:
    return shutil.move(wav(folder / "right.wav"), folder / "mislabelled.flac")


def text(folder: Path) -> Path:
    (folder / "text.mp3").write_text("Sehr geehrte Damen und Herren,\n" * 100)
    return folder / "text.mp3"


BAD = [
    empty, truncated, truncated_flac, without_samples, not_a_number, ten_milliseconds, zero_hertz, mislabelled, text,
]  # fmt: skip
SEEN_IN_THE_HEADER = [make for make in BAD if make not in (not_a_number, ten_milliseconds)]
TINY = [
    *(
        "--set",
        "model.stem=conv",
        "model.encoder.width=16",
        "model.encoder.depth=1",
        "model.vector=none",
        "model.encoder.heads=2",
    ),
    *("predictor.width=16", "predictor.depth=1", "predictor.heads=2", "losses.projector=16,8"),
    *("data.batch=2", "data.crop_seconds=0.5", "masking.views=2"),
]


class Shell:
    """Runs `aasp` where nothing but one line may be printed."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *argv: object, code: int) -> str:
        """Run, expect the exit code, return stderr: one line if the command failed."""
        self._capfd.readouterr()
        got = main([str(word) for word in argv])
        message = self._capfd.readouterr().err
        assert got == code, message
        if code:
            assert message.startswith("aasp: error: ") and message.count("\n") == 1 and message.endswith("\n"), message
            assert "Traceback" not in message and ("; " in message or "not one of" in message), (
                "what is wrong; what to do"
            )
        return message


@pytest.fixture
def aasp(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    monkeypatch.delenv("AASP_DEBUG", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    return Shell(capfd)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
    from aasp.model.encoder import EncoderConfig
    from aasp.stems.conv import ConvConfig

    config = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=1, heads=2))
    AudioEncoder(config).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A folder with two good files."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for name in ("a.wav", "b.wav"):
        wav(folder / name)
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def reasons(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file)}


# Named files.


@pytest.mark.parametrize("make", BAD)
def test_embed_names_the_bad_file_and_writes_nothing(make: Callable[[Path], Path], aasp: Shell, model: Path) -> None:
    good, bad = wav(Path("good.wav")), make(Path())
    message = aasp("embed", model, good, bad, "--out", "x.npz", code=2)
    assert bad.name in message
    assert not Path("x.npz").exists()


@pytest.mark.parametrize("make", SEEN_IN_THE_HEADER)
def test_info_names_the_bad_file(make: Callable[[Path], Path], aasp: Shell) -> None:
    bad = make(Path())
    assert bad.name in aasp("info", bad, code=2)


@pytest.mark.parametrize(
    "argv",
    [
        ("embed", "MODEL", "nothing.wav", "--out", "x.npz"),
        ("embed", "nothing", "good.wav", "--out", "x.npz"),
        ("scan", "nothing", "--out", "x.parquet"),
        ("stats", "nothing"),
        ("info", "nothing"),
        ("linear", "MODEL", "--index", "nothing.csv", "--label", "label", "--split", "split"),
        ("linear", "nothing", "--index", "index.csv", "--label", "label", "--split", "split"),
        ("pretrain", "aasp_tiny", "--data", "nothing", "--out", "run", *TINY),
    ],
    ids=" ".join,
)
def test_no_such_path(argv: tuple[str, ...], aasp: Shell, model: Path) -> None:
    wav(Path("good.wav"))
    Path("index.csv").write_text("path,label,split\ngood.wav,a,train\ngood.wav,b,train\ngood.wav,a,test\n")
    before = names(Path())
    assert "nothing" in aasp(*(str(model) if word == "MODEL" else word for word in argv), code=2)
    assert names(Path()) == before


# Folders and manifests.

FOLDER_COMMANDS = [
    ("scan", "FOLDER", "--out", "x.parquet"),
    ("stats", "FOLDER"),
    ("pretrain", "aasp_tiny", "--data", "FOLDER", "--out", "run", "--steps", "1", *TINY),
]


@pytest.mark.parametrize("argv", FOLDER_COMMANDS, ids=lambda argv: argv[0])
def test_a_folder_without_audio(argv: tuple[str, ...], aasp: Shell) -> None:
    Path("FOLDER").mkdir()
    Path("FOLDER/notes.txt").write_text("no sound here")
    assert "FOLDER" in aasp(*argv, code=2)
    assert names(Path()) == {"FOLDER"}


@pytest.mark.parametrize("argv", FOLDER_COMMANDS, ids=lambda argv: argv[0])
@pytest.mark.parametrize("make", SEEN_IN_THE_HEADER)
def test_a_folder_of_nothing_but_a_bad_file(make: Callable[[Path], Path], argv: tuple[str, ...], aasp: Shell) -> None:
    Path("FOLDER").mkdir()
    bad = make(Path("FOLDER"))
    message = aasp(*argv, code=2)
    assert "FOLDER" in message and bad.name in message
    assert not Path("x.parquet").exists()


def test_scan_skips_counts_and_lists_bad_files(aasp: Shell, sounds: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bad = {make(sounds).name for make in SEEN_IN_THE_HEADER} | {ten_milliseconds(sounds).name}
    assert main(["scan", "sounds", "--out", "x.parquet"]) == 0
    shown = " ".join(capfd.readouterr().out.split())
    assert "files 2" in shown and f"skipped {len(bad)}" in shown
    assert reasons(Path("x.skipped.csv")).keys() == bad
    assert all(reasons(Path("x.skipped.csv")).values())


def test_stats_skips_and_counts_bad_files(aasp: Shell, sounds: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bad = [make(sounds).name for make in BAD]
    assert main(["stats", "sounds"]) == 0
    captured = capfd.readouterr()
    assert f"{len(bad)}" in captured.out + captured.err
    assert "not_a_number.wav" in captured.out + captured.err


@pytest.mark.slow
def test_pretrain_skips_counts_and_lists_bad_files(
    aasp: Shell, sounds: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = {make(sounds).name for make in BAD}
    assert main(["pretrain", "aasp_tiny", "--data", "sounds", "--out", "run", "--steps", "12", *TINY]) == 0
    assert reasons(Path("run/skipped.csv")).keys() == bad
    captured = capfd.readouterr()
    assert "skipped.csv" in captured.out + captured.err


@pytest.mark.parametrize(
    "argv",
    [
        ("scan", "index.csv", "--out", "x.parquet"),
        ("stats", "index.csv"),
        ("pretrain", "aasp_tiny", "--data", "index.csv", "--out", "run", *TINY),
        ("linear", "model", "--index", "index.csv", "--label", "label", "--split", "split"),
    ],
    ids=lambda argv: argv[0],
)
def test_a_manifest_without_a_path_column(argv: tuple[str, ...], aasp: Shell, model: Path) -> None:
    Path("index.csv").write_text("file,label,split\ngood.wav,a,train\n")
    message = aasp(*argv, code=2)
    assert "index.csv" in message and "path" in message and "file" in message
    assert names(Path()) == {"index.csv", "model"}


@pytest.mark.parametrize("column", ["label", "split"])
def test_a_manifest_without_the_requested_column(column: str, aasp: Shell, model: Path, sounds: Path) -> None:
    columns = {"label": "class", "split": "fold"}
    named = columns | {column: "genre"}
    Path("index.csv").write_text("path,class,fold\nsounds/a.wav,a,train\nsounds/b.wav,b,test\n")
    message = aasp(
        "linear", model, "--index", "index.csv", "--label", named["label"], "--split", named["split"], code=2
    )
    assert "index.csv" in message and "genre" in message and columns[column] in message


def test_linear_skips_counts_and_lists_bad_files(
    aasp: Shell, model: Path, sounds: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [f"sounds/{name}{i}.wav,{name},{'train' if i < 4 else 'test'}" for name in "ab" for i in range(6)]
    for row in rows:
        wav(Path(row.partition(",")[0]), seconds=0.2)
    bad = [f"sounds/{make(sounds).name},a,train" for make in BAD]
    Path("index.csv").write_text("\n".join(["path,label,split", *rows, *bad]) + "\n")
    argv = ["linear", model, "--index", "index.csv", "--label", "label", "--split", "split", "--out", "x.json"]
    assert main([str(word) for word in argv]) == 0
    captured = capfd.readouterr()
    assert all(Path(row.partition(",")[0]).name in captured.out + captured.err for row in bad)


# Recipes, fields and options.


def test_an_unknown_recipe(aasp: Shell, sounds: Path) -> None:
    message = aasp("pretrain", "aasp_tinny", "--data", sounds, "--out", "run", code=2)
    assert "aasp_tinny" in message and "aasp_tiny" in message
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("field", "remedy"),
    [
        ("masking.vews=2", "views"),
        ("masking=2", "masking"),
        ("masking.views", "="),
        ("masking.views=many", "whole number"),
        ("masking.views=0", "views"),
        ("masking.keep_ratio=1.5", "keep_ratio"),
        ("data.batch=0", "batch"),
        ("data.crop_seconds=0", "crop"),
        ("model.encoder.heads=7", "heads"),
        ("model.frontend.mels=100", "mel"),
        ("optimizer.lr=-1", "lr"),
        ("steps=0", "steps"),
    ],
)
def test_an_unknown_field_or_impossible_value(field: str, remedy: str, aasp: Shell, sounds: Path) -> None:
    settings = [*TINY, field] if field.startswith("steps") else [*TINY, "steps=1", field]
    message = aasp("pretrain", "aasp_tiny", "--data", sounds, "--out", "run", *settings, code=2)
    assert remedy in message
    assert not Path("run").exists()


COMMANDS = ["pretrain", "embed", "linear", "finetune", "predict", "stats", "scan", "info", "recipes", "plan", "demo"]


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option(name: str, aasp: Shell) -> None:
    message = aasp(name, "--no-such-option", code=2)
    assert f"aasp {name} --help" in message
    assert names(Path()) == set()


# Outputs.


def test_an_output_that_exists_is_not_overwritten(aasp: Shell, model: Path, sounds: Path) -> None:
    index = "path,label,split\nsounds/a.wav,a,train\nsounds/b.wav,b,test\n"
    Path("index.csv").write_text(index)
    for out in ("x.npz", "x.parquet", "x.json"):
        Path(out).write_text("precious")
    linear = ("linear", model, "--index", "index.csv", "--label", "label", "--split", "split")
    for argv, out in [
        (("embed", model, "sounds/a.wav", "--out", "x.npz"), "x.npz"),
        (("scan", sounds, "--out", "x.parquet"), "x.parquet"),
        ((*linear, "--out", "x.json"), "x.json"),
    ]:
        assert "--overwrite" in aasp(*argv, code=2)
        assert Path(out).read_text() == "precious"


def test_an_output_format_that_does_not_exist(aasp: Shell, model: Path, sounds: Path) -> None:
    assert ".npz" in aasp("embed", model, "sounds/a.wav", "--out", "x.mat", code=2)
    assert ".parquet" in aasp("scan", sounds, "--out", "x.xlsx", code=2)


def test_an_output_folder_that_holds_something_else(aasp: Shell, sounds: Path) -> None:
    before = {path: path.read_bytes() for path in sounds.iterdir()}
    assert "sounds" in aasp("pretrain", "aasp_tiny", "--data", sounds, "--out", sounds, "--steps", "1", *TINY, code=2)
    assert {path: path.read_bytes() for path in sounds.iterdir()} == before


@pytest.mark.slow
def test_an_output_folder_that_holds_another_run(aasp: Shell, sounds: Path) -> None:
    pretrain = ("pretrain", "aasp_tiny", "--data", sounds, "--out", "run", "--steps", "2", *TINY)
    aasp(*pretrain, code=0)
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file() and path.name != ".lock"}
    assert "seed" in aasp(*pretrain, "--set", "seed=1", code=2)
    assert "run" in aasp(*pretrain, "--resume", "never", code=2)
    after = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file() and path.name != ".lock"}
    assert after == before


def full(handle: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_nothing_half_written(
    aasp: Shell, model: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names(Path())
    monkeypatch.setattr(os, "fsync", full)
    assert "x.npz" in aasp("embed", model, "sounds/a.wav", "--out", "x.npz", code=1)
    assert "disk full" in aasp("scan", sounds, "--out", "x.parquet", code=1)
    assert names(Path()) == before


@pytest.mark.slow
def test_a_disk_that_fills_up_keeps_the_last_checkpoint(
    aasp: Shell, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrain = ("pretrain", "aasp_tiny", "--data", sounds, "--out", "run", *TINY)
    aasp(*pretrain, "--steps", "2", code=0)
    kept = {path: path.read_bytes() for path in Path("run/checkpoints").rglob("*") if path.is_file()}
    assert kept
    monkeypatch.setattr(os, "fsync", full)
    assert "disk full" in aasp(*pretrain, "--steps", "2", "--out", "other", code=1)
    assert {path: path.read_bytes() for path in Path("run/checkpoints").rglob("*") if path.is_file()} == kept


# Models.


@pytest.mark.parametrize("command", ["info", "embed"])
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", None),
        ("config.json", b"{"),
        ("config.json", b"[]"),
        ("config.json", b"\xff\xfe\x00"),
        ("model.safetensors", None),
        ("model.safetensors", b""),
        ("model.safetensors", b"no weights in here"),
        ("model.safetensors", "half"),
    ],
)
def test_a_model_with_a_missing_or_damaged_file(
    file: str, content: bytes | str | None, command: str, aasp: Shell, model: Path, sounds: Path
) -> None:
    path = model / file
    if content is None:
        path.unlink()
    elif content == "half":
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.write_bytes(content)  # type: ignore[arg-type]
    argv = ("info", model) if command == "info" else ("embed", model, "sounds/a.wav", "--out", "x.npz")
    assert str(model) in aasp(*argv, code=2)


def test_a_model_whose_files_do_not_belong_together(aasp: Shell, model: Path, sounds: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config["encoder"]["width"] = 16
    (model / "config.json").write_text(json.dumps(config))
    message = aasp("embed", model, "sounds/a.wav", "--out", "x.npz", code=2)
    assert "model.safetensors" in message and "config.json" in message


def test_a_model_of_another_kind(aasp: Shell, model: Path, sounds: Path) -> None:
    (model / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 8}))
    assert "config.json" in aasp("embed", model, "sounds/a.wav", "--out", "x.npz", code=2)
