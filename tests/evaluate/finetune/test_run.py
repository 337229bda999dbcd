"""Whole fine-tunings of a tiny encoder: interrupted runs end like others, and nothing is learned from the test part."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from aasp.datasets.labelled import LabelledSet
from aasp.datasets.pipeline import CropPipeline
from aasp.errors import AaspError
from aasp.evaluate.finetune import run as module
from aasp.evaluate.finetune.data import Finetuning
from aasp.evaluate.finetune.predict import class_probabilities
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.evaluate.finetune.results import history
from aasp.evaluate.finetune.run import Outcome, finetune
from aasp.model.audio_classifier import load_classifier
from aasp.model.audio_encoder import AudioEncoder
from aasp.training import checkpoint
from aasp.training.tracking import read_metrics

CLOCK = {"seconds", "clips_per_second", "waiting_share"}
Tones = Callable[..., LabelledSet]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def train(request: Finetuning, out: Path, **settings: Any) -> Outcome:
    return finetune(request, out, **{"workers": 1, "precision": "fp32", "log_every": 2} | settings)


def left_behind(run: Path) -> dict[str, Any]:
    """All results of a run of one part, except measured times."""
    last = checkpoint.load(checkpoint.latest(run))
    with np.load(run / "predictions.npz", allow_pickle=False) as file:
        predicted = {name: file[name].tobytes() for name in file.files}
    tensors = {
        f"{kind}/{name}": tensor.numpy().tobytes()
        for kind in checkpoint.TENSORS
        for name, tensor in getattr(last, kind).items()
    }
    metrics = [{name: value for name, value in line.items() if name not in CLOCK} for line in read_metrics(run)]
    return {
        "step": last.step,
        "tensors": tensors,
        "metrics": metrics,
        "validation": history(run),
        "model": (run / "model/model.safetensors").read_bytes(),
        "predicted": predicted,
    }


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGTERM) -> None:
    """Send this process a signal while it waits for its `step`-th batch from now on."""
    taken, take = 0, CropPipeline.__next__

    def signalled(self: CropPipeline) -> Any:
        nonlocal taken
        taken += 1
        if taken == step:
            os.kill(os.getpid(), number)
        return take(self)

    monkeypatch.setattr(CropPipeline, "__next__", signalled)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["random", "probe"])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    head: Any,
    encoder: AudioEncoder,
    recipe: FinetuneRecipe,
    tones: Tones,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = Finetuning(encoder, "model", tones(), replace(recipe, head=head))
    whole = train(request, tmp_path / "whole")
    assert whole.exit_code == 0 and whole.result is not None and len(whole.result.test) == 6
    expected = left_behind(tmp_path / "whole")
    assert expected["step"] == 6 and [line["step"] for line in expected["validation"]] == [2, 4, 6]
    with monkeypatch.context() as here:
        stop_at(3, here)
        stopped = train(request, tmp_path / "cut")
    assert stopped.exit_code == 75 and stopped.result is None
    assert not (tmp_path / "cut/predictions.npz").exists()
    assert checkpoint.latest(tmp_path / "cut").name == "step-00000003"
    with monkeypatch.context() as here:
        stop_at(2, here, signal.SIGINT)
        assert train(request, tmp_path / "cut").exit_code == 130
    assert train(request, tmp_path / "cut").exit_code == 0
    assert left_behind(tmp_path / "cut") == expected, (
        "also what was chosen: the checkpoints of the signals are not scored"
    )


def test_a_checkpoint_that_a_crash_left_unscored_is_scored(
    encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Finetuning(encoder, "model", tones(), recipe)
    train(request, tmp_path / "whole")

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as here, pytest.raises(KeyboardInterrupt):
        here.setattr("aasp.evaluate.finetune.run.class_probabilities", crash)
        train(request, tmp_path / "cut")
    assert checkpoint.latest(tmp_path / "cut").name == "step-00000002" and history(tmp_path / "cut") == []
    train(request, tmp_path / "cut")
    assert left_behind(tmp_path / "cut") == left_behind(tmp_path / "whole")


def test_the_trained_weights_are_saved_and_scored_on_the_test_part(
    encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones, tmp_path: Path
) -> None:
    labelled = tones()
    request = Finetuning(encoder, "model", labelled, replace(recipe, validations=1))
    outcome = train(request, tmp_path / "run")
    last = checkpoint.load(checkpoint.latest(tmp_path / "run")).model
    saved = load_file(tmp_path / "run/model/model.safetensors")
    assert saved.keys() == {name.removeprefix("model.") for name in last}
    for name, tensor in saved.items():
        assert torch.equal(tensor, last[f"model.{name}"])
    begun = encoder.state_dict()
    assert any(not torch.equal(saved[f"encoder.{name}"], tensor) for name, tensor in begun.items())
    model = load_classifier(tmp_path / "run")
    assert model.config.classes == ("low", "middle", "high") and model.config.clip_seconds == 0.25
    result = outcome.result
    assert result is not None and result.test.tolist() == list(range(15, 21))
    expected = class_probabilities(model, labelled.sounds[15:])
    np.testing.assert_allclose(result.probabilities, expected, atol=1e-6)
    assert result.truth.tolist() == [0, 1, 2, 0, 1, 2] and result.chosen == [None]


@pytest.mark.slow
def test_finished_folds_are_not_trained_twice(
    encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Finetuning(encoder, "model", tones(folds=True), replace(recipe, steps=2, validations=1))
    whole = train(request, tmp_path / "whole")
    with monkeypatch.context() as here:
        stop_at(3, here)  # the first batch of the second fold
        assert train(request, tmp_path / "cut").exit_code == 75
    folds = [tmp_path / "cut" / f"fold-{fold}" for fold in "012"]
    assert [(fold / "predictions.npz").exists() for fold in folds] == [True, False, False]
    first = {path: path.stat().st_mtime_ns for path in folds[0].rglob("*")}
    resumed = train(request, tmp_path / "cut")
    assert {path: path.stat().st_mtime_ns for path in folds[0].rglob("*")} == first
    assert whole.result is not None and resumed.result is not None
    np.testing.assert_array_equal(resumed.result.probabilities, whole.result.probabilities)
    assert resumed.result.test.tolist() == list(range(21))
    assert resumed.result.rounds.tolist() == [0] * 7 + [1] * 7 + [2] * 7
    for fold in "012":
        assert left_behind(tmp_path / "cut" / f"fold-{fold}") == left_behind(tmp_path / "whole" / f"fold-{fold}")

    def no_training(*_: object, **__: object) -> None:
        raise AssertionError("everything is done")

    monkeypatch.setattr(module, "train", no_training)
    again = train(request, tmp_path / "cut")
    assert again.result is not None
    np.testing.assert_array_equal(again.result.probabilities, whole.result.probabilities)


def test_other_sounds_of_the_same_names_are_refused(
    encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled = tones(folds=True)
    request = Finetuning(encoder, "model", labelled, replace(recipe, steps=2, validations=1))
    with monkeypatch.context() as here:
        stop_at(3, here)
        assert train(request, tmp_path / "run").exit_code == 75
    wave, rate = soundfile.read(str(labelled.sounds[0]))
    soundfile.write(str(labelled.sounds[0]), wave[::-1], rate)
    with pytest.raises(AaspError, match=r"fold-0: fine-tuned on other sounds than .* names now; choose another --out"):
        train(request, tmp_path / "run")


def learned(run: Path) -> dict[str, Any]:
    """Results of training and selection, without the predictions of the test part."""
    everything = left_behind(run)
    del everything["predicted"]
    return everything


@pytest.mark.slow
@pytest.mark.parametrize("head", ["random", "probe"])
def test_nothing_is_learned_from_the_test_part(
    head: Any, encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones, tmp_path: Path
) -> None:
    labelled, recipe = tones(), replace(recipe, head=head)
    train(Finetuning(encoder, "model", labelled, recipe), tmp_path / "clean")
    rng = np.random.default_rng(1)
    for sound in labelled.sounds[15:]:
        soundfile.write(sound, rng.uniform(-1, 1, 20_000), 16_000)
    wrong = replace(labelled, labels=[*labelled.labels[:15], *[("high",)] * 6])
    train(Finetuning(encoder, "model", wrong, recipe), tmp_path / "corrupted")
    clean, corrupted = left_behind(tmp_path / "clean"), left_behind(tmp_path / "corrupted")
    assert clean.pop("predicted") != corrupted.pop("predicted"), "the corruption is there"
    assert clean == corrupted
    front = load_classifier(tmp_path / "corrupted").config.encoder.frontend
    assert front == encoder.config.frontend, "mean and deviation are those of pre-training"
    # The check is sensitive: a train clip's label does change everything.
    wrong = replace(labelled, labels=[("high",), *labelled.labels[1:]])
    train(Finetuning(encoder, "model", wrong, recipe), tmp_path / "train")
    assert learned(tmp_path / "train")["tensors"] != clean["tensors"]


@pytest.mark.parametrize("change", ["recipe", "model", "labels", "clips", "names", "groups", "scratch"])
def test_another_fine_tuning_in_the_same_place_is_refused(
    change: str, encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones, tmp_path: Path, monkeypatch: Any
) -> None:
    labelled = tones()
    request = Finetuning(encoder, "model", labelled, recipe)
    with monkeypatch.context() as here:
        stop_at(1, here)
        train(request, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    if change == "recipe":
        other, message = replace(request, recipe=replace(recipe, seed=1)), "has seed = 0, this one 1"
    elif change == "model":
        torch.manual_seed(9)
        other, message = replace(request, encoder=AudioEncoder(encoder.config)), "finetuned.model_hash"
    elif change == "labels":
        swapped = replace(labelled, labels=[*labelled.labels[1:], labelled.labels[0]])
        other, message = replace(request, labelled=swapped), "finetuned.labels_hash"
    elif change == "names":
        renamed = [shutil.copy(path, Path(path).with_stem(f"other {i}")) for i, path in enumerate(labelled.sounds)]
        swapped = replace(labelled, sounds=[str(path) for path in renamed])
        other, message = replace(request, labelled=swapped), "finetuned.clips_hash"
    elif change == "groups":
        grouped = replace(labelled, groups=[str(i // 2) for i in range(len(labelled))])
        other, message = replace(request, labelled=grouped), "finetuned.clips_hash"
    elif change == "clips":
        Path(labelled.sounds[0]).unlink()
        other, message = request, "finetuned.clips.train = 9, this one 8"
    else:
        other, message = replace(request, scratch=True), "finetuned.model_hash"
    with pytest.raises(AaspError, match=rf"output holds another run: .* {message}") as error:
        train(other, tmp_path / "run")
    assert "\n" not in str(error.value)
    with pytest.raises(AaspError, match="output holds a run"):
        train(request if change != "clips" else replace(request, labelled=tones()), tmp_path / "run", resume="never")
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("start", "version"),
    [
        ({"aasp": "0.0.9", "commit": "de610be0123"}, r"aasp 0\.0\.9\+gde610be,"),
        ({"aasp": "0.0.9", "commit": None}, r"aasp 0\.0\.9,"),
        (None, "another version of aasp,"),
    ],
)
@pytest.mark.parametrize("fold", [False, True])
def test_a_run_of_another_version_is_refused_with_that_version(
    start: Any, version: str, fold: bool, encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones, tmp_path: Path
) -> None:
    """As a run was in which a recipe could have a running average, and class weights."""
    request = Finetuning(encoder, "model", tones(folds=fold), replace(recipe, steps=1, validations=1))
    train(request, tmp_path / "run")
    run = tmp_path / "run" / ("fold-1" if fold else "")
    document = json.loads((run / "recipe.json").read_text()) | {"ema": 0.0, "class_weights": False}
    (run / "recipe.json").write_text(json.dumps(document))
    if start is None:
        (run / "environment.json").unlink()
    else:
        kept = json.loads((run / "environment.json").read_text())
        (run / "environment.json").write_text(json.dumps([*kept, kept[-1] | start]))
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(AaspError, match=rf"fine-tuned by {version} .* class_weights, ema; resume with that") as error:
        train(request, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_a_pre_training_in_the_same_folder_is_refused(
    encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones, tmp_path: Path
) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps({"name": "aasp_tiny", "steps": 2_600}))
    with pytest.raises(AaspError, match="output holds another run"):
        train(Finetuning(encoder, "model", tones(), recipe), tmp_path)


def test_broken_clips_of_every_part_are_skipped_counted_and_named(
    encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones, tmp_path: Path
) -> None:
    labelled = tones()
    undecodable = [labelled.sounds[row] for row in (1, 10, 16)]  # of train, valid and test; their headers are well
    for sound in undecodable:
        soundfile.write(sound, np.full(4000, np.nan, np.float32), 16_000, subtype="FLOAT")
    unopened = [labelled.sounds[row] for row in (2, 11, 17)]
    for sound in unopened:
        Path(sound).write_bytes(b"no sound")
    outcome = train(Finetuning(encoder, "model", labelled, replace(recipe, sampling="uniform")), tmp_path / "run")
    assert {clip.path for clip in outcome.labelled.missing} == {*undecodable, *unopened}
    assert all(clip.reason for clip in outcome.labelled.missing)
    with (tmp_path / "run/skipped.csv").open(newline="") as file:
        assert {row["path"] for row in csv.DictReader(file)} == set(undecodable)
    assert outcome.result is not None and len(outcome.result.test) == 4
    names = [outcome.labelled.sounds[row] for row in outcome.result.test]
    assert names == [labelled.sounds[row] for row in (15, 18, 19, 20)], "scores stay with their clips"
    assert outcome.result.truth.tolist() == [0, 0, 1, 2]


def test_clips_shorter_and_longer_than_the_crop(
    encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones, tmp_path: Path
) -> None:
    labelled = tones()
    rng = np.random.default_rng(0)
    for row, seconds in ((0, 0.03), (1, 2.0), (9, 0.03), (10, 2.0), (15, 0.03), (16, 2.0)):
        soundfile.write(labelled.sounds[row], 0.1 * rng.standard_normal(round(16_000 * seconds)), 16_000)
    outcome = train(Finetuning(encoder, "model", labelled, recipe), tmp_path / "run")
    assert outcome.result is not None and len(outcome.result.test) == 6 and not outcome.labelled.missing
    assert np.isfinite(outcome.result.probabilities).all()
    assert np.isfinite([line["loss"] for line in read_metrics(tmp_path / "run")]).all()


def test_several_labels_a_clip(encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones, tmp_path: Path) -> None:
    labelled = tones()
    several = replace(labelled, multilabel=True, labels=[(), ("low", "high"), *labelled.labels[2:]])
    with pytest.raises(AaspError, match="tones/: several labels per clip, and recipe test has loss softmax; add --set"):
        Finetuning(encoder, "model", several, recipe)
    outcome = train(Finetuning(encoder, "model", several, replace(recipe, loss="sigmoid")), tmp_path / "several")
    assert outcome.result is not None and outcome.result.truth.shape == (6, 3)
    assert load_classifier(tmp_path / "several").config.multilabel
    single = train(Finetuning(encoder, "model", labelled, replace(recipe, loss="sigmoid")), tmp_path / "single")
    assert single.result is not None
    np.testing.assert_allclose(single.result.probabilities.sum(1), 1, rtol=1e-5)
    assert load_classifier(tmp_path / "single").config.loss == "sigmoid"


@pytest.mark.parametrize("seconds", [0.02, 0.0, -1.0])
def test_a_crop_under_an_analysis_window(
    seconds: float, encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones
) -> None:
    with pytest.raises(AaspError, match=f"crop_seconds is {seconds}.*; give a"):
        Finetuning(encoder, "model", tones(), replace(recipe, crop_seconds=seconds))


def test_a_classifier_keeps_the_window_that_it_was_trained_with(
    encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones, tmp_path: Path
) -> None:
    long = replace(recipe, window="pretrained", crop_seconds=1.5)
    train(Finetuning(encoder, "model", tones(), long), tmp_path / "run")
    kept = load_classifier(tmp_path / "run").config
    assert kept.encoder.window_seconds == encoder.config.window_seconds == 0.64 and kept.clip_seconds == 1.5
    train(Finetuning(encoder, "model", tones(), replace(long, window="crop")), tmp_path / "grown")
    assert load_classifier(tmp_path / "grown").config.encoder.window_seconds == pytest.approx(1.6)


def test_from_scratch_the_weights_of_the_pattern_do_not_matter(
    encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones
) -> None:
    torch.manual_seed(9)
    other = AudioEncoder(encoder.config)
    one, two = (Finetuning(model, "model", tones(), recipe, scratch=True) for model in (encoder, other))
    assert one.encoder_hash == two.encoder_hash
    assert replace(one, scratch=False).encoder_hash != replace(two, scratch=False).encoder_hash


def with_whitening(encoder: AudioEncoder) -> AudioEncoder:
    made = AudioEncoder(replace(encoder.config, whitened=4))
    made.load_state_dict(encoder.state_dict(), strict=False)
    made.whitening.fit(torch.randn(32, 16))
    return made.eval()


def test_a_whitening_is_not_kept(
    encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Tones, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whitened, labelled = with_whitening(encoder), tones()
    said = "model: its vector is whitened, this run's is not; after the run, `aasp whiten` learns a new whitening\n"
    outcome = train(Finetuning(whitened, "model", labelled, recipe), tmp_path / "run")
    assert said in capsys.readouterr().out
    plain = train(Finetuning(encoder, "model", labelled, recipe), tmp_path / "plain")
    assert said not in capsys.readouterr().out
    assert outcome.result is not None and plain.result is not None
    np.testing.assert_array_equal(outcome.result.probabilities, plain.result.probabilities)
    assert (tmp_path / "run/model/config.json").read_bytes() == (tmp_path / "plain/model/config.json").read_bytes()
    assert (tmp_path / "run/model/model.safetensors").read_bytes() == (
        tmp_path / "plain/model/model.safetensors"
    ).read_bytes()
    one, two = (Finetuning(model, "model", labelled, recipe, scratch=True) for model in (whitened, encoder))
    assert one.encoder_hash == two.encoder_hash and one.classifier_config() == two.classifier_config()
    assert replace(one, scratch=False).encoder_hash != replace(two, scratch=False).encoder_hash


@pytest.mark.parametrize("name", ["encoder.whitened", "loss"])
def test_an_unfinished_run_whose_model_had_another_form_is_refused(
    name: str,
    encoder: AudioEncoder,
    recipe: FinetuneRecipe,
    tones: Tones,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before, the models of such runs kept the encoder's whitening, and took the softmax of what sigmoids trained."""
    job = Finetuning(encoder, "model", tones(), replace(recipe, loss="sigmoid"))
    with monkeypatch.context() as here:
        stop_at(4, here)
        assert train(job, tmp_path / "run").exit_code
    file = tmp_path / "run/model/config.json"
    config = json.loads(file.read_text())
    if name == "loss":
        del config["loss"]
    else:
        config["encoder"]["whitened"] = 4
    kept = file.read_text()
    file.write_text(json.dumps(config))
    text = f"run: fine-tuned by aasp .*, whose model differs in {name}; resume with that version, or choose another"
    with pytest.raises(AaspError, match=text):
        train(job, tmp_path / "run")
    file.write_text(kept)
    assert train(job, tmp_path / "run").exit_code == 0
    file.write_text(json.dumps(config))
    assert train(job, tmp_path / "run").result is not None, "what has ended stays readable"
