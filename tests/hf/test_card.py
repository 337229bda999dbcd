"""The model card from a run's records; and the files sent to the hub, which is not contacted here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import aasp.hf.card
import hostile
from aasp.errors import AaspError
from aasp.evaluate.records import Record, write_records
from aasp.hf import model_card, of
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig


def record(**changes: Any) -> Record:
    values: dict[str, Any] = dict(
        system="birds", model="runs/birds", model_hash="a", recipe="evar", recipe_hash="b", benchmark="esc50",
        protocol="linear", split="1", seed=0, metric="accuracy", value=0.5, clips=400, missing=0, version="0.1.0",
    )  # fmt: skip
    return Record(**(values | changes))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folds = [record(split=str(fold), value=value) for fold, value in enumerate((0.8, 0.9, 0.85), start=1)]
    single = record(benchmark="speech_commands", split="test", value=0.6172, low=0.59, high=0.64, clips=4_890)
    write_records(tmp_path / "results.json", [*folds, single])
    return tmp_path / "results.json"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    place = tmp_path / "run"
    place.mkdir()
    (place / "recipe.json").write_text(json.dumps({"name": "aasp_tiny", "steps": 2600, "seed": 0}))
    facts = {"device": "cpu", "precision": "fp32", "torch": "2.13.0", "aasp": "0.1.0", "commit": "0123456789"}
    starts = [facts | {"files": 10, "hours": 1.0, "data": "old"}, facts | {"files": 4296, "hours": 10.809}]
    (place / "environment.json").write_text(json.dumps(starts))
    return place


def head(text: str) -> dict[str, Any]:
    return yaml.safe_load(text.split("---")[1])


def test_content_of_the_card(encoder: AudioEncoder, run: Path, results: Path) -> None:
    card = model_card(
        of(encoder), "you/birds", license="cc-by-4.0", run=run, results=[results], datasets=["you/recordings"]
    )
    text = str(card)
    values = head(text)
    assert values["license"] == "cc-by-4.0" and values["library_name"] == "aasp"
    assert values["pipeline_tag"] == "feature-extraction" and values["datasets"] == ["you/recordings"]
    assert "aasp" in values["tags"]
    (index,) = values["model-index"]
    assert index["name"] == "birds"
    scores = {one["dataset"]["name"]: one["metrics"][0] for one in index["results"]}
    assert scores["esc50"]["value"] == 85.0 and scores["esc50"]["type"] == "accuracy"
    assert scores["speech_commands"]["value"] == 61.72
    assert "| esc50 | linear | accuracy | 85.0 ± 5.0 over folds | 1,200 |" in text
    assert "| speech_commands | linear | accuracy | 61.7 (59.0 to 64.0) | 4,890 |" in text
    assert "aasp_tiny, 2,600 steps, seed 0" in text and "4,296 files, 10.81 hours" in text
    assert 'aasp.load("you/birds")' in text and "24 wide, 2 blocks of 3 heads" in text
    assert "$" not in text
    assert not card.validate.__doc__ or card.data.to_dict()["license"] == "cc-by-4.0"


def test_the_card_of_a_classifier(classifier: AudioClassifier) -> None:
    text = str(model_card(of(classifier), "you/tones"))
    values = head(text)
    assert values["pipeline_tag"] == "audio-classification" and "license" not in values
    assert "model-index" not in values and "its 3 classes: low, high, none" in text
    assert "AutoModelForAudioClassification" in text and "Not recorded." in text and "None recorded." in text


def test_the_card_of_a_regression_model(encoder: AudioEncoder, tmp_path: Path) -> None:
    numbers = AudioClassifier(AudioClassifierConfig(("tempo",), numbers=(120.0, 30.0), encoder=encoder.config))
    r2 = record(benchmark="tempi.csv", split="test", metric="R2", value=0.91234, low=0.85, high=0.95)
    write_records(tmp_path / "r.json", [r2, record(benchmark="tempi.csv", split="test", metric="MAE", value=12.5)])
    text = str(model_card(of(numbers), "you/tempi", results=[tmp_path / "r.json"]))
    (result,) = head(text)["model-index"][0]["results"]
    values = {one["type"]: one["value"] for one in result["metrics"]}
    assert values == {"r2": 0.91234, "mae": 12.5} and "that predicts a number, tempo." in text
    assert "| R2 | 0.912 (0.85 to 0.95) |" in text and "| MAE | 12.5 |" in text


def test_results_of_several_models_are_refused(encoder: AudioEncoder, tmp_path: Path) -> None:
    write_records(tmp_path / "results.json", [record(), record(model_hash="c", split="2")])
    with pytest.raises(AaspError, match="results of 2 models; name those of the one"):
        model_card(of(encoder), "you/birds", results=[tmp_path / "results.json"])


def test_a_folder_that_is_no_run(encoder: AudioEncoder, tmp_path: Path) -> None:
    with pytest.raises(AaspError, match=r"no recipe\.json and environment\.json of a run in .*; name the folder"):
        model_card(of(encoder), "you/birds", run=tmp_path)
    with pytest.raises(AaspError, match=r"nowhere\.json"):
        model_card(of(encoder), "you/birds", results=[tmp_path / "nowhere.json"])


class Hub:
    """Keeps what it is sent."""

    sent: dict[str, bytes]

    def __init__(self, token: str | None = None) -> None:
        Hub.token = token

    def create_repo(self, repo: str, private: bool | None, exist_ok: bool) -> Any:
        Hub.created = (repo, private, exist_ok)
        return type("Url", (str,), {"repo_id": repo})(f"https://hub/{repo}")

    def upload_folder(self, repo_id: str, folder_path: str, commit_message: str) -> None:
        Hub.sent = {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}


def test_files_pushed_to_the_hub(
    encoder: AudioEncoder, run: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aasp.hf.card, "HfApi", Hub)
    model = of(encoder)
    where = model.push_to_hub("you/birds", private=True, license="mit", run=run, results=[results])
    assert where == "https://hub/you/birds" and Hub.created == ("you/birds", True, True)
    assert Hub.sent.keys() == {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"}
    assert b"license: mit" in Hub.sent["README.md"]


def test_nothing_is_sent_with_a_card_that_cannot_be_made(
    encoder: AudioEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed:
        def __init__(self, token: str | None = None) -> None:
            raise AssertionError("the hub was asked")

    monkeypatch.setattr(aasp.hf.card, "HfApi", Closed)
    with pytest.raises(AaspError, match="no recipe"):
        of(encoder).push_to_hub("you/birds", run=tmp_path)


def test_names_are_nothing_but_names(run: Path) -> None:
    (run / "recipe.json").write_text(json.dumps({"name": hostile.NAME, "steps": 1, "seed": 0}))
    small = AudioEncoderConfig(encoder=EncoderConfig(8, 1, 2))
    classifier = AudioClassifierConfig(classes=(hostile.NAME, "b"), encoder=small)
    text = str(model_card(of(AudioClassifier(classifier)), "you/birds", run=run))
    body = text.split("---", 2)[2]
    assert "[a](" not in body.replace("\\[a](", "") and "<script" not in body.replace("\\<script", "")
    assert "\u202e" not in body and [line for line in body.splitlines() if line.startswith("| recipe | ")]
