"""Numbers predicted from embeddings: ridge regression, scores as scikit-learn has them; nothing of the test part."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from aasp.audio.augment import random_gain
from aasp.cli.main import main
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError
from aasp.evaluate.finetune.augment import AugmentConfig
from aasp.evaluate.finetune.data import Finetuning, suited_to
from aasp.evaluate.finetune.objective import FinetuneObjective
from aasp.evaluate.finetune.predict import class_probabilities
from aasp.evaluate.finetune.recipes import tiny
from aasp.evaluate.finetune.run import finetune
from aasp.evaluate.metrics import r_squared
from aasp.evaluate.probe import scores
from aasp.evaluate.protocol import Protocol
from aasp.evaluate.regression import numbers_probe, ridge_heads
from aasp.evaluate.ridge import RIDGES
from aasp.evaluate.task import Task
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig, load_classifier
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 8)) * RNG.uniform(0.1, 5, 8) + 3
Y = X @ RNG.standard_normal(8) + 0.3 * RNG.standard_normal(60) + 120
PARTS = ["train", "train", "valid", "test"] * 15


def numbers(values: np.ndarray = Y, parts: list[str] = PARTS, **more: object) -> LabelledSet:
    labels = [(str(value),) for value in values]
    names = [f"{n}.wav" for n in range(len(labels))]
    found = LabelledSet("set", "set.csv", names, labels, parts, ("tempo",), **more)  # type: ignore[arg-type]
    return replace(found.as_numbers(), classes=("tempo",))


def test_r_squared_is_sklearns_also_when_clips_count_more_than_once() -> None:
    truth, predicted, weights = RNG.standard_normal(30), RNG.standard_normal(30), RNG.integers(0, 4, 30).astype(float)
    assert r_squared(truth, predicted) == pytest.approx(r2_score(truth, predicted), abs=1e-12)
    assert r_squared(truth, predicted, weights) == pytest.approx(
        r2_score(truth, predicted, sample_weight=weights), abs=1e-12
    )
    assert np.isnan(r_squared(np.ones(3), predicted[:3])) and np.isnan(r_squared(truth, predicted, np.zeros(30)))


@pytest.mark.parametrize("D", [8, 100])
def test_heads_are_sklearns_ridge_on_standardised_embeddings(D: int) -> None:
    X_nD = RNG.standard_normal((40, D)) * 3 + 1
    y = X_nD[:, 0] + 50
    for ratio, head in zip(RIDGES[6:], ridge_heads(X_nD, y)[6:], strict=True):
        scaler = StandardScaler().fit(X_nD)
        theirs = Ridge(alpha=ratio * X_nD.size).fit(scaler.transform(X_nD), y)
        assert head.probabilities(X_nD)[:, 0] == pytest.approx(theirs.predict(scaler.transform(X_nD)), abs=1e-8)


def test_the_probe_chooses_on_valid_refits_and_scores_once() -> None:
    task = Task.of(numbers(), choose="held_out")
    assert task.regression and not task.multilabel and task.classes == ["tempo"]
    features = {(1, "mean"): X, (0, "mean"): RNG.standard_normal((60, 8))}
    result = numbers_probe(features, task)
    assert result.chosen[0].key == (1, "mean") and result.metric == "R2"
    r = task.rounds[0]
    scaler = StandardScaler().fit(X[r.refit])
    alpha = result.chosen[0].setting["ridge"] * X[r.refit].size
    expected = Ridge(alpha=alpha).fit(scaler.transform(X[r.refit]), Y[r.refit]).predict(scaler.transform(X[r.test]))
    assert result.predicted == pytest.approx(expected, abs=1e-8)
    found = scores([result])
    assert found["R2"].estimate == pytest.approx(r2_score(Y[r.test], expected)) and found["R2"].estimate > 0.9
    assert found["MAE"].estimate == pytest.approx(np.abs(Y[r.test] - expected).mean())
    assert found["R2"].low is not None and found["R2"].low < found["R2"].estimate < found["R2"].high


def test_nothing_is_learnt_from_the_test_part() -> None:
    task = Task.of(numbers(), choose="held_out")
    spoilt = Y.copy()
    spoilt[task.test] = RNG.uniform(-1e6, 1e6, len(task.test))
    other = Task.of(numbers(spoilt), choose="held_out")
    ours, theirs = (numbers_probe({"x": X}, one) for one in (task, other))
    assert np.array_equal(ours.probabilities, theirs.probabilities)


def test_folds_are_averaged_and_leads_are_paired() -> None:
    folds = numbers(parts=[str(n % 3) for n in range(60)])
    task = Task.of(folds, choose="next_fold")
    ours, chance = numbers_probe({"x": X}, task), numbers_probe({"x": RNG.standard_normal((60, 8))}, task)
    each = [r2_score(Y[r.test], ours.predicted[r.test]) for r in task.rounds]
    assert ours.score == pytest.approx(np.mean(each))
    lead = scores([ours], minus=[chance])
    assert lead["R2"].excludes_zero() and lead["R2"].estimate == pytest.approx(ours.score - chance.score)
    assert lead["MAE"].estimate < 0 and lead["MAE"].excludes_zero()


def test_labels_that_are_no_numbers_are_named() -> None:
    for value, message in (
        ("fast", "'fast' of 1.wav is not a number; correct"),
        ("inf", "not a number that is finite"),
    ):
        labels = [("1",), (value,), ("3",)]
        with pytest.raises(AaspError, match=message):
            LabelledSet("s", "s.csv", ["0.wav", "1.wav", "2.wav"], labels, ["train"] * 3, ()).as_numbers()
    wrong = {"'1;2' of": [("1",), ("1", "2")], "'none' of": [("1",), ()], "all 2 clips": [("1",)] * 2}
    for message, labels in wrong.items():
        with pytest.raises(AaspError, match=message):
            LabelledSet("s", "s.csv", ["0.wav", "1.wav"], labels, ["train"] * 2, ()).as_numbers()
    with pytest.raises(AaspError, match=r"'1e\+200' of 0.wav is not a number under 1e\+100"):
        LabelledSet("s", "s.csv", ["0.wav", "1.wav"], [("1e+200",), ("1",)], ["train"] * 2, ()).as_numbers()
    for part, message in (("test", "that part 'test' tests"), ("train", "that part 'test' is trained on")):
        with pytest.raises(AaspError, match=f"clips {message} have the number 7; correct"):
            Task.of(numbers(np.where(np.array(PARTS) == part, 7.0, Y)), choose="held_out")


def test_a_constant_valid_part_is_noted() -> None:
    """It has no R²: the squared error chooses, and what is shown for it is no R² either."""
    assert "valid" in PARTS
    task = Task.of(numbers(np.where(np.array(PARTS) == "valid", 7.0, Y)), choose="held_out")
    (note,) = [note for note in task.notes if "have the number 7" in note]
    assert "validation clips have the number 7: the squared error" in note


def test_numbers_and_classes_have_protocols_of_their_own() -> None:
    features = {(1, "mean"): X}
    with pytest.raises(AaspError, match="labels are numbers, and protocol logistic; choose ridge"):
        Protocol.of("logistic").run(features, numbers(), 1)


ENCODER = AudioEncoderConfig(
    frontend=LogMelConfig(mels=32), stem=ConvConfig(), encoder=EncoderConfig(width=12, depth=1, heads=2),
    window_seconds=0.64,
)  # fmt: skip


@pytest.fixture(scope="module")
def pitches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of tones with the octave of each."""
    folder, rng = tmp_path_factory.mktemp("pitches"), np.random.default_rng(0)
    rows = ["path,octave,part"]
    for n in range(32):
        hertz = 200 * 2 ** rng.uniform(0, 4)
        soundfile.write(folder / f"{n}.wav", 0.2 * np.sin(2 * np.pi * hertz * np.arange(8_000) / 16_000), 16_000)
        rows.append(f"{n}.wav,{np.log2(hertz):.4f},{PARTS[n]}")
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    torch.manual_seed(0)
    AudioEncoder(ENCODER).save(folder / "model")
    return folder


def test_the_command_reports_r2_and_mae_and_keeps_predictions(
    pitches: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--index", str(pitches / "index.csv"), "--label", "octave", "--split", "part", "--task", "regression"]
    out = tmp_path / "r.json"
    assert main(["linear", str(pitches / "model"), *options, "--no-cache", "--out", str(out)]) == 0
    output = " ".join(capsys.readouterr().out.split())
    document = json.loads(out.read_text())
    record, of_errors = document["records"]
    assert record["metric"] == "R2" and record["protocol"] == "ridge" and record["value"] > 0.8
    assert f"R2 {record['value']:.3g} [" in output and "MAE" in output and "numbers: octave" in output
    assert "%" not in output.partition("95 %")[0], "R2 is no share of clips"
    predictions = next(iter(document["predictions"].values()))
    assert len(predictions) == 8
    error = np.mean([abs(one["truth"] - one["predicted"][0]) for one in predictions])
    assert error == pytest.approx(next(iter(document["scores"].values()))["MAE"]["estimate"])
    assert (of_errors["metric"], of_errors["value"]) == ("MAE", pytest.approx(error))
    assert of_errors["low"] < error < of_errors["high"]
    assert main(["table", str(out)]) == 0
    row = capsys.readouterr().out.splitlines()[4]
    assert f"{error:.3g} [" in row and f"{record['value']:.3g} [" in row
    assert main(["linear", str(pitches / "model"), *options, "--protocol", "knn"]) == 2
    assert "--protocol knn with --task regression: regression is by ridge" in capsys.readouterr().err


def test_a_regression_model_predicts_in_the_unit_of_its_labels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AudioClassifier(AudioClassifierConfig(("bpm",), numbers=(120.0, 30.0), encoder=ENCODER)).eval()
    assert model.probabilities(torch.tensor([[0.0], [-1.0]])).tolist() == [[120.0], [90.0]]
    model.save(tmp_path / "m")
    assert load_classifier(tmp_path / "m").config.numbers == (120.0, 30.0)


def test_the_loss_is_the_squared_error_in_deviations() -> None:
    torch.manual_seed(0)
    model = AudioClassifier(AudioClassifierConfig(("bpm",), numbers=(120.0, 30.0), encoder=ENCODER))
    recipe = replace(tiny(), loss="squared", augment=AugmentConfig(), layers="last", norm="layer", pooling="mean")
    objective = FinetuneObjective(model, recipe)
    wave = random_gain(0.1 * torch.randn(3, 8_000), 0.0)
    target = torch.tensor([[0.5], [-1.0], [2.0]])
    output = objective({"wave": wave, "length": torch.full((3,), 8_000), "target": target})
    with torch.no_grad():
        predicted = model(wave)
    assert output["loss"].item() == pytest.approx((predicted - target).square().mean().item(), rel=1e-5)
    assert output["diagnostics"]["error"].item() == pytest.approx((predicted - target).abs().mean().item(), rel=1e-5)


def test_options_without_meaning_for_numbers_are_refused() -> None:
    encoder, labelled = AudioEncoder(ENCODER), numbers()
    recipe = suited_to(labelled, 192)
    assert (recipe.name, recipe.loss, recipe.label_smoothing) == ("numbers", "squared", 0.0)
    large = suited_to(labelled, 768)
    assert (large.name, large.loss, large.label_smoothing) == ("clips", "squared", 0.0)
    for change, message in (
        ({"loss": "softmax"}, "labels are numbers, and recipe numbers has loss softmax; add --set loss=squared"),
        ({"head": "probe"}, "head=probe has no meaning"),
        ({"sampling": "balanced"}, "sampling=balanced has no meaning"),
        ({"label_smoothing": 0.1}, "label_smoothing=0.1 has no meaning"),
    ):
        with pytest.raises(AaspError, match=message):
            Finetuning(encoder, "m", labelled, replace(recipe, **change))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.slow
def test_a_fine_tuning_learns_numbers(pitches: Path, tmp_path: Path) -> None:
    from aasp.datasets.benchmarks.open import open_labelled

    labelled = open_labelled(index=pitches / "index.csv", label="octave", split="part", numbers=True)
    assert labelled.classes == ("octave",)
    recipe = replace(suited_to(labelled, 12), crop_seconds=0.5, batch=8, steps=60, validations=3)
    outcome = finetune(
        Finetuning(AudioEncoder(ENCODER), "m", labelled, recipe), tmp_path / "run", workers=1, precision="fp32"
    )
    assert outcome.result is not None and outcome.result.score > 0.5
    model = load_classifier(tmp_path / "run/model")
    train = [float(labels[0]) for labels, part in zip(labelled.labels, labelled.parts, strict=True) if part == "train"]
    assert model.config.numbers == pytest.approx((np.mean(train), np.std(train)))
    predicted = class_probabilities(model, [labelled.sounds[row] for row in outcome.result.test])
    assert predicted[:, 0] == pytest.approx(outcome.result.predicted, abs=1e-4)
