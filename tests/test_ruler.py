"""The ruler: the readings of each system, bad input in one line, and a whole run on a set of noisy tones."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.datasets.benchmarks.open import open_labelled
from aasp.evaluate import ruler
from aasp.evaluate.features import clip_features, own_keys
from aasp.evaluate.finetune.data import measured
from aasp.evaluate.finetune.few_labels import cut
from aasp.evaluate.finetune.objective import embeddings
from aasp.evaluate.ruler import HEAD, System, fine_tuned, probed, vectors
from aasp.evaluate.spectrum import effective_rank
from aasp.model.audio_classifier import AudioClassifier
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, and an index of 72 tones of three pitches in twelve groups."""
    folder, rng = tmp_path_factory.mktemp("ruler"), np.random.default_rng(0)
    torch.manual_seed(7)
    size = EncoderConfig(width=16, depth=1, heads=2)
    AudioEncoder(AudioEncoderConfig(encoder=size, window_seconds=0.64)).save(folder / "model")
    with (folder / "index.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "pitch", "split", "fold", "take"])
        for i in range(72):
            wave = np.sin(2 * np.pi * (200, 500, 1500)[i % 3] * rng.uniform(0.7, 1.4) * np.arange(4800) / 16_000)
            soundfile.write(folder / f"{i}.wav", 0.1 * wave + 0.1 * rng.standard_normal(4800), 16_000)
            part = "train" if i < 42 else "valid" if i < 54 else "test"
            table.writerow(
                [f"{i}.wav", "lmh"[i % 3], f"{'lmh'[i % 3]};x" if i % 2 else "lmh"[i % 3], part, i % 4, i // 3]
            )
    return folder


@pytest.mark.parametrize("kind", ["model", "untrained", "log-mel"])
def test_everything_is_read_of_every_system(kind: str, folder: Path, tmp_path: Path) -> None:
    """Of the model its own vector, of the untrained encoder the best choice, of log-mel both statistics."""
    labelled = open_labelled(index=folder / "index.csv", label="label", split="split", group="take")
    system = System(kind, str(folder / "model") if kind != "log-mel" else "")  # type: ignore[arg-type]
    found, rank = probed(system, labelled, tmp_path)
    expected = {
        "model": {"own ridge", "own logistic", "own k-NN", "best ridge", "best logistic", "last", "last mean"},
        "untrained": {"best ridge", "best logistic", "best k-NN", "last", "last mean"},
        "log-mel": {"128 ridge", "128 logistic", "128 k-NN", "40"},
    }
    assert found.keys() == expected[kind]
    assert all(len(result.test) == 18 and result.clusters is not None for result in found.values())
    assert max(result.score for result in found.values()) > 0.8
    if kind == "model":
        encoder = ruler.load(folder / "model")
        (own,) = own_keys(encoder)
        assert {c.key for name in ("own ridge", "own logistic", "own k-NN") for c in found[name].chosen} == {own}
        assert {c.key for c in found["last mean"].chosen} == {(1, "mean")} and found["last"].chosen[0].key[0] == 1
        assert rank == pytest.approx(effective_rank(clip_features(encoder, labelled.sounds, [own])[own]))


def test_vectors_are_the_encoders_and_are_kept(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled = open_labelled(index=folder / "index.csv", label="label", split="split")
    system, sounds = System("model", str(folder / "model")), labelled.sounds
    for part in range(2):
        ruler.embed(system, sounds[part::2], tmp_path)
    monkeypatch.setattr(ruler, "embedded", None)  # all that follows is found
    found = vectors(system, sounds, tmp_path)
    expected = clip_features(system.encoder, sounds)
    for key, X in expected.items():
        np.testing.assert_allclose(found[key], X, atol=1e-5)
    classifier = AudioClassifier(ruler._classifier(system.encoder))
    classifier.encoder.load_state_dict(system.encoder.state_dict())
    np.testing.assert_allclose(found[HEAD], embeddings(classifier, sounds)[0], atol=1e-4)


def test_the_untrained_encoder_has_the_models_shape_and_other_weights(folder: Path) -> None:
    model, untrained = (System(kind, str(folder / "model")).encoder for kind in ("model", "untrained"))  # type: ignore[arg-type]
    assert model.config == untrained.config
    one, two = model.state_dict(), untrained.state_dict()
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_fine_tuning_from_cached_vectors(folder: Path, tmp_path: Path) -> None:
    labelled, seconds = measured(open_labelled(index=folder / "index.csv", label="label", split="split", group="take"))
    found = fine_tuned(
        System("model", str(folder / "model")), labelled, seconds, tmp_path, cut(seconds, 2, 8, 2.0), (1, 5), 12
    )
    assert {labels: len(result.test) for labels, result in found.items()} == {1: 12, 5: 12}
    assert found[5].score > 0.5


BAD = {
    "model": (["nowhere/model"], "nowhere/model"),
    "set": (["MODEL", "--sets", "esc11"], "no such set: 'esc11'; choose from esc10, words"),
    "data": (["MODEL", "--data", "nowhere"], "set esc10: no such index: nowhere/esc10/index.csv; check"),
    "columns": (["MODEL", "--set", "mine=INDEX,label,split"], "give NAME=INDEX,LABEL,SPLIT,CLUSTER"),
    "cluster": (
        ["MODEL", "--set", "mine=INDEX,label,split,taek", "--sets", "mine"],
        "no column 'taek'; did you mean take?",
    ),
    "label": (["MODEL", "--set", "mine=INDEX,,split,take", "--sets", "mine"], "give NAME=INDEX,LABEL,SPLIT,CLUSTER"),
    "twice": (["MODEL", "--set", "esc10=INDEX,label,split,take"], "there is a set esc10 already"),
    "index": (["MODEL", "--set", "mine=nowhere.csv,label,split,", "--sets", "mine"], "no such index: nowhere.csv"),
    "jobs": (["MODEL", "--jobs", "0"], "--jobs 0: give a number of at least 1"),
    "json": (["MODEL", "--json", "."], "output is a folder: ."),
    "cache": (["MODEL", "--cache", "INDEX"], "index.csv is not a folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = __import__("ruler")
    words, message = BAD[case]
    places = {"MODEL": str(folder / "model"), "INDEX": str(folder / "index.csv")}
    for name, place in places.items():
        words = [word.replace(name, place) for word in words]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ruler.py", *words])
    with pytest.raises(SystemExit) as error:
        script.main()
    line = str(error.value)
    assert line.startswith("ruler: ") and message in line and "\n" not in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_whole_run_on_user_sets(folder: Path, tmp_path: Path) -> None:
    """Tables on stdout and the same numbers in the file; a second run finds the controls' vectors."""
    index, model = folder / "index.csv", folder / "model"
    words = [sys.executable, str(BENCHMARKS / "ruler.py"), str(model), "--cache", str(tmp_path / "cache")]
    words += ["--set", f"parts={index},label,split,take", "--set", f"folds={index},label,fold,take"]
    words += [
        "--set",
        f"several={index},pitch,split,",
        "--sets",
        "parts,folds,several",
        "--json",
        str(tmp_path / "r.json"),
    ]
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS.parent / "src")}
    ran = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["sets"]["parts"]["clusters"] == 6 and found["sets"]["several"]["clusters"] is None
    (scored,) = found["models"].values()
    ridge = scored["readings"]["Default vector, ridge regression"]
    assert ridge["model"].keys() == {"parts", "folds", "several", "average"}
    mean = np.mean([ridge["model"][name]["estimate"] for name in ("parts", "folds", "several")])
    assert ridge["model"]["average"]["estimate"] == pytest.approx(mean)
    lead = ridge["minus log-mel 40"]["parts"]["estimate"]
    assert lead == pytest.approx(ridge["model"]["parts"]["estimate"] - ridge["log-mel 40"]["parts"]["estimate"])
    assert scored["few labels"].keys() == {"1", "5", "20"}
    assert scored["few labels"]["5"]["model"].keys() == {"parts", "folds", "average"}
    assert scored["effective rank"].keys() == {"parts", "folds", "several"}
    assert "Not fine-tuned, for several labels a clip" in ran.stdout and ran.stdout.count("| **average** |") == 10
    kept = sorted((tmp_path / "cache").rglob("*.safetensors"))
    before = [file.stat().st_mtime_ns for file in kept]
    again = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    assert [file.stat().st_mtime_ns for file in sorted((tmp_path / "cache").rglob("*.safetensors"))] == before
    assert again.stdout.rsplit("\n\n", 1)[0] == ran.stdout.rsplit("\n\n", 1)[0]
