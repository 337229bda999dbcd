"""`aasp embed`: the vectors of the model, in the order given, in both formats; resumed where it stopped.

Unfinished work is used by the same command only; a bad file that was named ends it, others are listed.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from aasp.audio.io import read
from aasp.cli.main import main
from aasp.evaluate import partial, prefetch, stream
from aasp.files import locked
from aasp.model import folder as model_folder
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
def test_the_file_holds_the_models_vectors(
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
            np.testing.assert_allclose(found["seconds"][row], expected.seconds.clamp(max=FILES[Path(path).name][1]))


def test_a_finer_hop_has_proportionally_more_vectors(
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
        np.testing.assert_allclose(found["seconds"][row], expected.seconds.clamp(max=FILES[Path(path).name][1]))
        np.testing.assert_allclose(found["embedding"][row], clip, atol=1e-5)
    capsys.readouterr()
    for more, message in (([], "--hop 0.04 without --frames"), (["--frames"], "time steps are 0.16, 0.08, 0.04 s")):
        hop = "0.04" if not more else "0.03"
        assert main(["embed", str(model), *files, *more, "--hop", hop, "--out", str(tmp_path / "y.npz")]) == 2
        assert message in capsys.readouterr().err and not (tmp_path / "y.npz").exists()


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
    assert "no such pooling: max; choose from cls, mean" in capsys.readouterr().err


def test_no_files(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", str(model), "--out", str(tmp_path / "x.npz")]) == 2
    assert "no files after" in capsys.readouterr().err


def test_a_bad_file_ends_it_and_nothing_is_written(
    model: Path, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.wav").touch()
    assert main(["embed", str(model), *files, str(tmp_path / "empty.wav"), "--out", str(tmp_path / "x.npz")]) == 2
    captured = capsys.readouterr()
    assert "empty.wav" in captured.err and captured.err.count("\n") == 1 and captured.out == ""
    assert not list(tmp_path.glob("*x*.npz"))
    assert not (tmp_path / "x.npz.part").exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve sounds below a folder."""
    random, place = np.random.default_rng(1), tmp_path / "set"
    (place / "deep").mkdir(parents=True)
    for number in range(12):
        name = place / ("deep" if number % 3 == 0 else ".") / f"{number:02d}.wav"
        soundfile.write(name, 0.1 * random.standard_normal(3_000 + 400 * (number * 7 % 12)), 16_000)
    return place


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of three rows, of stretches of three."""
    monkeypatch.setattr(stream, "SHARD_ROWS", 3)
    monkeypatch.setattr(prefetch, "STRETCH", 3)


@pytest.fixture
def embed(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    def run(*argv: object, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert main(["embed", *map(str, argv)]) == code
        return tuple(capsys.readouterr())  # type: ignore[return-value]

    return run


Embed = Callable[..., tuple[str, str]]


class Stop(Exception):
    """Stops an embedding, as a crash would."""


def stopping(monkeypatch: pytest.MonkeyPatch, after: int, error: BaseException) -> pytest.MonkeyPatch:
    """Let so many shards be kept, then fail."""
    add, kept = partial.Partial.add, []

    def failing(self: partial.Partial, *given: object) -> None:
        if len(kept) == after:
            raise error
        kept.append(None)
        add(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(partial.Partial, "add", failing)
    return monkeypatch


def count_embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many sounds the model is given from now on."""
    seen: list[int] = []
    forward = AudioEncoder.forward
    monkeypatch.setattr(
        AudioEncoder, "forward", lambda self, wave, *a, **k: seen.append(len(wave)) or forward(self, wave, *a, **k)
    )
    return seen


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_folders_and_manifests_keep_their_order(
    suffix: str, model: Path, folder: Path, files: list[str], tmp_path: Path, embed: Embed, small: None
) -> None:
    listed = sorted(map(str, folder.rglob("*.wav")), reverse=True)
    (tmp_path / "list.csv").write_text("path\n" + "\n".join(listed) + "\n")
    out = tmp_path / f"x{suffix}"
    embed(model, files[2], folder, tmp_path / "list.csv", files[0], "--out", out, "--frames")
    found = contents(out)
    flat = sorted(map(str, folder.glob("*.wav")))
    deep = sorted(map(str, folder.glob("deep/*.wav")))
    assert list(found["path"]) == [files[2], *flat, *deep, *listed, files[0]]
    encoder = load(model)
    for path, vector, frames in zip(found["path"], found["embedding"], found["frames"], strict=True):
        with torch.no_grad():
            expected = encoder(torch.from_numpy(read(path))[None])
        np.testing.assert_allclose(vector, expected.clip[0], atol=1e-5)
        np.testing.assert_allclose(np.array(frames), expected.timestamps[0], atol=1e-5)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("error", [Stop(), KeyboardInterrupt()])
def test_it_resumes_where_it_stopped(
    suffix: str, error: BaseException, model: Path, folder: Path, tmp_path: Path, embed: Embed, small: None
) -> None:
    out, whole = tmp_path / f"x{suffix}", tmp_path / f"whole{suffix}"
    embed(model, folder, "--out", whole, "--frames")
    with pytest.MonkeyPatch.context() as patch:
        stopping(patch, 2, error)
        if isinstance(error, Stop):
            with pytest.raises(Stop):
                embed(model, folder, "--out", out, "--frames")
        else:
            embed(model, folder, "--out", out, "--frames", code=130)
    assert not out.exists() and len(list((tmp_path / f"{out.name}.part").glob("*.parquet"))) == 2
    with pytest.MonkeyPatch.context() as patch:
        seen = count_embedded(patch)
        output, _ = embed(model, folder, "--out", out, "--frames")
    assert sum(seen) == 6 and "12 file(s), 8 dimensions, 6 of them before, with frames" in output
    ours, theirs = contents(out), contents(whole)
    assert ours.keys() == theirs.keys() and ours["path"] == theirs["path"]
    for name in ("embedding", "frames", "seconds"):
        for one, other in zip(ours[name], theirs[name], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    assert not (tmp_path / f"{out.name}.part").exists()


@pytest.fixture
def stopped(model: Path, folder: Path, tmp_path: Path, embed: Embed, small: None) -> Path:
    """The file that a command did not get to make; two of its four shards are there."""
    with pytest.MonkeyPatch.context() as patch:
        stopping(patch, 2, KeyboardInterrupt())
        embed(model, folder, "--out", tmp_path / "x.npz", code=130)
    return tmp_path / "x.npz"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model", "another model"),
        ("pooling", "vector own, not 1:flat"),
        ("frames", "frames no, not of layers last"),
        ("precision", "precision fp32, not bf16"),
        ("channels", "other sounds"),
        ("more", "other sounds"),
        ("fewer", "other sounds"),
        ("order", "other sounds"),
        ("rewritten", "other sounds"),
        ("gone", "other sounds"),
    ],
)
def test_unfinished_work_is_not_mixed_with_other_settings(
    change: str, message: str, stopped: Path, model: Path, folder: Path, embed: Embed
) -> None:
    listed = sorted(map(str, folder.glob("*.wav"))) + sorted(map(str, folder.glob("deep/*.wav")))
    given: list[object] = [folder]
    more = {"pooling": ["--pooling", "flat"], "frames": ["--frames"], "precision": ["--precision", "bf16"]}
    more["channels"] = ["--channels", "first"]
    if change == "model":
        torch.manual_seed(5)
        AudioEncoder(load(model).config).save(model)
    elif change == "more":
        soundfile.write(folder / "99.wav", np.zeros(4_000), 16_000)
    elif change == "fewer":
        Path(listed[-1]).unlink()
    elif change == "order":
        given = [*listed[1:], listed[0]]
    elif change == "rewritten":
        soundfile.write(listed[0], np.zeros(4_000), 16_000)
    elif change == "gone":
        Path(listed[0]).rename(folder / "renamed.wav")
    argv = [model, *given, "--out", stopped, *more.get(change, [])]
    _, err = embed(*argv, code=2)
    assert err.count("\n") == 1 and f"{stopped}.part: half-done embeddings of {message}" in err
    assert "run the same command again, start over with --overwrite, or choose another --out" in err
    assert not stopped.exists() and len(list(Path(f"{stopped}.part").glob("*.parquet"))) == 2
    output, _ = embed(*argv, "--overwrite")
    assert "before" not in output and stopped.exists() and not Path(f"{stopped}.part").exists()


def test_only_a_precision_that_was_chosen_automatically_is_kept(
    model: Path, folder: Path, tmp_path: Path, embed: Embed, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "x.parquet"
    kept = lambda: json.loads(pq.read_schema(out).metadata[b"aasp"])["precision"]

    def stop(fastest: str, *words: str) -> None:
        """Stop half-way on a machine with this fastest precision; it is fp32 afterwards."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stream, "fastest", lambda asked, _: fastest if asked == "auto" else asked)
            stopping(patch, 2, KeyboardInterrupt())
            embed(model, folder, "--out", out, *words, code=130)

    monkeypatch.setattr(stream, "fastest", lambda asked, _: "fp32" if asked == "auto" else asked)
    stop("bf16")
    output, _ = embed(model, folder, "--out", out)
    assert "6 of them before" in output and kept() == "bf16"
    out.unlink()
    stop("fp32", "--precision", "bf16")
    _, err = embed(model, folder, "--out", out, code=2)
    assert "half-done embeddings of precision bf16, not fp32" in err
    output, _ = embed(model, folder, "--out", out, "--overwrite")
    assert "before" not in output and kept() == "fp32"


def test_embedding_resumes_after_a_bad_file_is_repaired(
    model: Path, folder: Path, tmp_path: Path, embed: Embed, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "AHEAD_SECONDS", 0.0)
    listed, out = sorted(map(str, folder.rglob("*.wav"))), tmp_path / "x.npz"
    good = Path(listed[8]).read_bytes()
    Path(listed[8]).write_bytes(good[:1_000])
    _, err = embed(model, *listed, "--out", out, code=2)
    assert listed[8] in err and err.count("\n") == 1 and not out.exists()
    Path(listed[8]).write_bytes(good)
    output, _ = embed(model, *listed, "--out", out)
    assert "12 file(s)" in output and ", 3 of them before" in output  # a batch had been read ahead
    assert list(contents(out)["path"]) == listed


def test_a_damaged_shard_is_made_again(stopped: Path, model: Path, folder: Path, embed: Embed) -> None:
    first = min(Path(f"{stopped}.part").glob("*.parquet"))
    os.truncate(first, first.stat().st_size // 2)
    output, _ = embed(model, folder, "--out", stopped)
    assert "12 file(s), 8 dimensions\n" in output and len(contents(stopped)["path"]) == 12


def test_the_precision_that_auto_was_before_is_kept(
    stopped: Path, model: Path, folder: Path, embed: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aasp.training.precision.has_fast_bf16", lambda device: True)  # now it would be bf16
    assert ", 6 of them before" in embed(model, folder, "--out", stopped)[0]


def test_a_users_folder_is_left_alone(model: Path, files: list[str], tmp_path: Path, embed: Embed) -> None:
    (tmp_path / "x.npz.part").mkdir()
    (tmp_path / "x.npz.part" / "notes.txt").write_text("mine")
    _, err = embed(model, *files, "--out", tmp_path / "x.npz", "--overwrite", code=2)
    assert "in the way of unfinished embeddings; move it, or choose another --out" in err
    assert (tmp_path / "x.npz.part" / "notes.txt").read_text() == "mine"


def test_a_second_process_is_refused(stopped: Path, model: Path, folder: Path, embed: Embed) -> None:
    with locked(Path(f"{stopped}.part/lock")) as ours:
        assert ours
        _, err = embed(model, folder, "--out", stopped, code=2)
    assert "another process is embedding to" in err and err.count("\n") == 1


def test_bad_files_of_a_folder_or_manifest_are_left_out_and_listed(
    model: Path, folder: Path, tmp_path: Path, embed: Embed, small: None
) -> None:
    (folder / "00.wav").touch()
    (folder / "a song.mpc").write_bytes(b"x")
    soundfile.write(folder / "99.wav", np.full(8_000, np.nan, np.float32), 16_000, subtype="FLOAT")
    (tmp_path / "list.csv").write_text("path\nset/01.wav\nset/nowhere.wav\n")
    out = tmp_path / "x.parquet"
    output, err = embed(model, folder, tmp_path / "list.csv", "--out", out)
    assert "13 file(s)" in output
    listed = tmp_path / "x.skipped.csv"
    assert f"4 skipped in all, listed in {listed}" in err and "99.wav: NaN or infinite samples" in err
    names = {Path(line.partition(",")[0]).name for line in listed.read_text().splitlines()[1:]}
    assert names == {"00.wav", "a song.mpc", "99.wav", "nowhere.wav"}
    assert len(contents(out)["path"]) == 13 and str(folder / "99.wav") not in contents(out)["path"]


def test_files_skipped_before_a_stop_are_listed_too(
    model: Path, folder: Path, tmp_path: Path, embed: Embed, small: None
) -> None:
    soundfile.write(folder / "00.wav", np.full(8_000, np.nan, np.float32), 16_000, subtype="FLOAT")
    with pytest.MonkeyPatch.context() as patch:
        stopping(patch, 2, KeyboardInterrupt())
        embed(model, folder, "--out", tmp_path / "x.npz", code=130)
    _, err = embed(model, folder, "--out", tmp_path / "x.npz")
    assert "00.wav: NaN" in err and "00.wav" in (tmp_path / "x.skipped.csv").read_text()


def test_a_set_of_nothing_usable(model: Path, tmp_path: Path, embed: Embed) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.wav").touch()
    _, err = embed(model, tmp_path / "bad", "--out", tmp_path / "x.npz", code=2)
    assert "no usable audio to embed: all 1 skipped" in err and err.count("\n") == 1
    (tmp_path / "empty").mkdir()
    _, err = embed(model, tmp_path / "empty", "--out", tmp_path / "x.npz", code=2)
    assert "no audio: " in err and err.count("\n") == 1
    assert not list(tmp_path.glob("x*"))


@pytest.mark.parametrize("where", ["shard", "whole"])
def test_embedding_resumes_after_a_full_disk(
    where: str, model: Path, folder: Path, tmp_path: Path, embed: Embed, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, full = tmp_path / "x.parquet", OSError(errno.ENOSPC, "No space left on device")
    written = []

    def write(table: pa.Table, place: Path) -> None:
        if len(written) == 2:
            raise full
        written.append(place)
        pq.ParquetWriter(place, table.schema).write_table(table)

    def fail(*given: object) -> None:
        raise full

    with pytest.MonkeyPatch.context() as patch:
        if where == "shard":
            patch.setattr(partial.pq, "write_table", write)
        else:
            patch.setattr(stream, "_write_parquet", fail)
        _, err = embed(model, folder, "--out", out, code=1)
    assert err.startswith("aasp: error: disk full: ") and err.count("\n") == 1
    assert not out.exists() and not list(tmp_path.glob("*.tmp*")) and not list(tmp_path.glob("*.part/*.tmp*"))
    if where == "shard":
        (tmp_path / "x.parquet.part" / "000000000000.parquet").unlink()  # our fake writer never closed it
    output, _ = embed(model, folder, "--out", out)
    assert len(contents(out)["path"]) == 12 and ("before" in output) == (where == "whole")


def test_a_file_that_another_process_wrote_is_kept(
    model: Path, files: list[str], tmp_path: Path, embed: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, opened = tmp_path / "x.npz", partial.Partial.opened

    def late(self: partial.Partial, *given: object, **more: bool):
        out.write_text("theirs")
        return opened(self, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(partial.Partial, "opened", late)
    _, err = embed(model, *files, "--out", out, code=2)
    assert f"output exists: {out}; choose another name or add --overwrite" in err and err.count("\n") == 1
    assert out.read_text() == "theirs" and not list(tmp_path.glob("x.npz.part*"))


def test_channels_each_have_a_row_and_a_number(model: Path, files: list[str], tmp_path: Path, embed: Embed) -> None:
    output, _ = embed(model, *files, "--out", tmp_path / "x.npz", "--channels", "each")
    assert "6 channels of 3 file(s)" in output
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert arrays["path"].tolist() == [path for path in files for _ in range(2)]
        assert arrays["channel"].tolist() == [1, 2] * 3


def test_memory_does_not_grow_with_the_set(
    model: Path, folder: Path, tmp_path: Path, embed: Embed, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = []
    table = stream.rows_of
    monkeypatch.setattr(stream, "rows_of", lambda sounds, *rest: most.append(len(sounds)) or table(sounds, *rest))
    (tmp_path / "list.csv").write_text("path\n" + "\n".join(map(str, [*folder.rglob("*.wav")] * 5)) + "\n")
    embed(model, tmp_path / "list.csv", "--out", tmp_path / "x.npz")
    assert sum(most) == 60 and max(most) <= 6 and len(contents(tmp_path / "x.npz")["path"]) == 60


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "nothing to embed: `aasp embed dog.wav --out embeddings.npz`"),
        (["MODEL", "FILE"], "--out is missing: `aasp embed MODEL FILE --out embeddings.npz`"),
        (["MODEL", "--out", "x.npz"], "no files after MODEL: `aasp embed MODEL dog.wav --out x.npz`"),
        (["no_such", "--out", "x.npz"], "no_such: neither a model nor a file or folder of that name exists; check"),
        (["me/no_such", "--out", "x.npz"], "no files after me/no_such: `aasp embed me/no_such dog.wav --out x.npz`"),
        (["FILE", "MODEL", "--out", "x.npz"], "the model comes first: `aasp embed MODEL FILE --out x.npz`"),
        (["MODEL", "MODEL", "FILE", "--out", "x.npz"], "two models are named"),
        (["FILE", "--out", "x.npz"], "no model named, and none comes with this version of aasp"),
        (["MODEL", "FILE", "--out", "."], "output is a folder: .; name a file in it: `aasp embed MODEL FILE --out emb"),
        (["MODEL", "FILE", "--out", "x.csv"], "no such format: x.csv; end it in .npz or .parquet"),
        (["MODEL/config.json", "FILE", "--out", "x.npz"], "a file where a folder is expected; give MODEL"),
        (["MODEL", "no.wav", "--out", "x.npz"], "no.wav: no such file"),
        (["MODEL", "no.csv", "--out", "x.npz"], "no such index: no.csv"),
        (["nowhere", "FILE", "--out", "x.npz"], "nowhere: no such directory"),
        (["MODEL", "FILE", "--out", "x.npz", "--layer", "7"], "no such layer: 7; this encoder has 0 to 1"),
        (["MODEL", "FILE", "--out", "x.npz", "--device", "cuda:9"], "no device cuda:9: this machine has cpu"),
        (["MODEL", "FILE", "--out", "x.npz", "--batch", "0"], "batch is 0"),
        (["MODEL", "FILE", "--out", "x.npz", "--path-column", "f"], "--path-column f: it is for manifests"),
        (["MODEL", "FILE", "--out", "FILE/x.npz"], "output lies below a file"),
        (["MODEL", "", "--out", "x.npz"], "an empty argument, perhaps from an unset shell variable"),
        (
            ["MODEL", "FILE", "--out", "x.npz", "--layer"],
            "--layer without a value; give one after it, or leave it out",
        ),
        (
            ["--pooling", "cls", "MODEL", "FILE"],
            "takes every word after it; `aasp embed MODEL FILE --pooling cls`",
        ),
        (["MODEL", "FILE", "--engine", "onnx", "--out", "x.npz"], "make one with `aasp export MODEL --out MODEL.onnx`"),
    ],
)
def test_mistakes_show_a_command_that_works(
    argv: list[str], message: str, model: Path, files: list[str], embed: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path = model.parent
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_folder, "PACKAGED", tmp_path / "none")
    named = lambda text: text.replace("MODEL", "model").replace("FILE", "b.wav")
    _, err = embed(*map(named, argv), code=2)
    assert named(message) in err and err.count("\n") == 1
    assert not list(tmp_path.glob("x*"))
