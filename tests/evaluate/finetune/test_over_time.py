"""A classifier over time: targets over time, a head on each patch, and a training that learns the times of events."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.datasets.events import Event
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError
from aasp.evaluate.finetune.augment import AugmentConfig
from aasp.evaluate.finetune.data import Finetuning, suited_to
from aasp.evaluate.finetune.objective import FinetuneObjective
from aasp.evaluate.finetune.over_time import (
    Steps,
    by_segment,
    counted,
    packed,
    predictions_over_time,
    step_probabilities,
    unpacked,
)  # fmt: skip
from aasp.evaluate.finetune.predict import class_probabilities
from aasp.evaluate.finetune.recipes import events as recipe_of_events
from aasp.evaluate.finetune.results import PREDICTIONS, Outcome, event_scores, write_results
from aasp.evaluate.finetune.run import finetune
from aasp.evaluate.finetune.targets import Targets, step_labels
from aasp.evaluate.probe import ProbeResult
from aasp.evaluate.task import Task
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig, load_classifier
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

ENCODER = AudioEncoderConfig(
    frontend=LogMelConfig(mels=32), stem=ConvConfig(), encoder=EncoderConfig(width=12, depth=1, heads=2),
    window_seconds=0.64, pooling="flat",
)  # fmt: skip
CLASSES = ("high", "low")


def classifier(**settings: object) -> AudioClassifier:
    torch.manual_seed(0)
    config = AudioClassifierConfig(CLASSES, True, 1.0, over_time=True, encoder=ENCODER)
    made = AudioClassifier(replace(config, **settings)).eval()  # type: ignore[arg-type]
    made.head.weight.data.normal_()
    return made


def noise(seconds: float, clips: int = 1) -> torch.Tensor:
    return 0.1 * torch.from_numpy(np.random.default_rng(3).standard_normal((clips, round(16_000 * seconds)))).float()


def test_a_label_is_where_its_event_is() -> None:
    edges = np.arange(6) * 0.16
    events = [Event("a", 0.10, 0.40, "low"), Event("a", 0.50, 0.51, "high"), Event("a", 0.0, 5.0, "low")]
    assert step_labels(events[:1], CLASSES, edges)[:, 1].tolist() == [0, 1, 1, 0, 0], "half of a patch"
    assert step_labels(events[1:2], CLASSES, edges)[:, 0].tolist() == [0, 0, 0, 1, 0], "a click is not lost"
    assert step_labels(events[2:], CLASSES, edges)[:, 1].all()
    assert step_labels([], CLASSES, edges).shape == (5, 2)


def test_targets_follow_the_crop() -> None:
    targets = Targets(classifier().config, [[Event("a", 2.0, 2.32, "low")], []])
    assert targets(0, 1.84).shape == (7, 2), "98 frames are 7 patches"
    assert targets(0, 1.84)[:, 1].tolist() == [0, 1, 1, 0, 0, 0, 0]
    assert targets(0, 0.0).sum() == targets(1, 1.84).sum() == 0


@pytest.mark.parametrize("layers", ["last", "weighted"])
@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize("pooling", ["mean", "flat"])
@torch.inference_mode()
def test_a_patch_is_read_by_itself_and_the_clip_is_its_likeliest_moment(layers: str, norm: str, pooling: str) -> None:
    model = classifier(layers=layers, norm=norm, encoder=replace(ENCODER, pooling=pooling))
    wave, lengths = noise(1.5, 2), torch.tensor([24_000, 9_000])
    found = model.over_time(wave, lengths)
    encoded = model.encoder(wave, lengths, layers=True)
    tokens = encoded.stages[-1][0]
    if layers == "weighted":
        normalised = [torch.nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6) for x, _ in encoded.stages]
        tokens = torch.stack(normalised).mean(0)
    for clip in range(2):
        for g in range(int(found.valid[clip].sum())):
            patch = tokens[clip].unflatten(0, (-1, 2))[g]
            vector = patch.flatten() if pooling == "flat" else patch.mean(0)
            expected = model.head(model.norm(vector[None]))[0]
            assert torch.allclose(found.vectors[clip, g], expected, atol=1e-5)
    assert not found.vectors[~found.valid].any()
    clips = model(wave, lengths)
    assert clips[1].tolist() == pytest.approx(found.vectors[1][found.valid[1]].amax(0).tolist(), abs=1e-6)


@torch.inference_mode()
def test_padding_changes_nothing_and_finer_steps_interleave() -> None:
    model, wave = classifier(), noise(1.5, 2)
    together = model.over_time(wave, torch.tensor([24_000, 9_000]), hop=0.04)
    alone = model.over_time(wave[1:, :9_000], hop=0.04)
    valid = together.valid[1]
    assert torch.allclose(together.vectors[1, valid], alone.vectors[0], atol=1e-5)
    coarse = model.over_time(wave)
    assert torch.allclose(together.vectors[0, ::4], coarse.vectors[0], atol=1e-5)


def test_a_pooling_without_moments_is_refused() -> None:
    for pooling in ("cls", "mean+std", "flat+std"):
        with pytest.raises(AaspError, match=f"pooling {pooling.replace('+', '.')} has no vector of a single"):
            classifier(encoder=replace(ENCODER, pooling=pooling))


def test_it_is_saved_and_loaded_whole(tmp_path: Path) -> None:
    model, wave = classifier(), noise(0.7)
    model.save(tmp_path / "model")
    again = load_classifier(tmp_path / "model")
    assert again.config == model.config
    with torch.inference_mode():
        assert torch.equal(again.over_time(wave).vectors, model.over_time(wave).vectors)


def test_the_loss_is_that_of_the_patches_that_are_there() -> None:
    model = classifier().train()
    plain = replace(recipe_of_events(), augment=AugmentConfig(), layers="last", norm="layer")
    objective = FinetuneObjective(model, plain)
    wave, lengths = noise(0.6, 2), torch.tensor([9_600, 5_000])  # a window, read the same in training and scoring
    target = torch.zeros(2, 4, 2)
    target[0, 2:4, 0] = 1
    target[1, 1, 1] = 1
    target[1, 3, 1] = 1  # beyond the clip's end: not in the loss
    output = objective({"wave": wave, "length": lengths, "target": target})
    valid = torch.tensor([[True] * 4, [True] * 2 + [False] * 2])
    logits, loss = model.over_time(wave, lengths).vectors, torch.nn.functional.binary_cross_entropy_with_logits
    expected = loss(logits[valid], target[valid], reduction="none").sum(1).mean()
    assert output["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    output["loss"].backward()
    assert model.head.weight.grad.abs().sum() > 0


def test_seconds_are_ranked_by_their_likeliest_moment() -> None:
    steps = Steps(np.array([0, 0.5, 1.0, 1.5, 2.2]), np.array([[0.1, 0.2], [0.7, 0.1], [0.3, 0.3], [0.2, 0.9]]))
    truth, scores = by_segment([steps], [[Event("a", 0.9, 1.1, "low")]], CLASSES)
    assert truth.tolist() == [[False, True], [False, True], [False, False]]
    assert scores.tolist() == [[0.7, 0.2], [0.3, 0.9], [0.2, 0.9]]
    segments, events = counted([steps], [[Event("a", 1.5, 2.2, "low")]], CLASSES)
    assert segments[0].tolist() == [[0, 2], [1, 0], [0, 0]] and events[0].tolist() == [[0, 1], [1, 0], [0, 0]]


def test_edges_from_fp32_put_no_step_into_the_second_after_it() -> None:
    edges = np.array([15.04, 16.000000476837158, 17.0])
    truth, scores = by_segment(
        [Steps(edges, np.array([[0.9, 0.1], [0.2, 0.1]]))], [[Event("a", 15.04, 16.0, "high")]], CLASSES
    )
    assert scores[15:17].tolist() == [[0.9, 0.1], [0.2, 0.1]]
    high = CLASSES.index("high")
    assert truth[15:17, high].tolist() == [True, False]


def test_steps_are_packed_and_unpacked() -> None:
    one = Steps(np.array([0, 0.16, 0.3]), np.array([[0.1, 0.2], [0.3, 0.4]]))
    found = unpacked(packed([one, None, one]))
    assert found[1] is None
    for again in (found[0], found[2]):
        assert again is not None and again.seconds == 0.3
        assert np.array_equal(again.edges, one.edges) and np.array_equal(again.probabilities, one.probabilities)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> LabelledSet:
    """Two seconds of faint noise each, with a low or a high tone for half a second or a whole one."""
    folder, rng = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    paths, events = [], []
    for n in range(24):
        wave, within = 0.003 * rng.standard_normal(32_000), []
        seconds = np.arange(32_000) / 16_000
        for name, hertz in (("low", 500), ("high", 3_000)):
            start, length = rng.uniform(0, 1), rng.uniform(0.5, 1)
            if rng.random() < 0.75:
                within.append(Event(f"{n}.wav", start, start + length, name))
                wave += 0.2 * np.sin(2 * np.pi * hertz * seconds) * ((seconds >= start) & (seconds < start + length))
        soundfile.write(folder / f"{n}.wav", wave, 16_000)
        paths.append(str(folder / f"{n}.wav"))
        events.append(within)
    labels = [tuple(sorted({one.label for one in within})) for within in events]
    parts = [("train", "train", "valid", "test")[n % 4] for n in range(24)]
    return LabelledSet("tones/", str(folder), paths, labels, parts, CLASSES, multilabel=True, events=events)


def encoder() -> AudioEncoder:
    torch.manual_seed(0)
    return AudioEncoder(replace(ENCODER, pooling="mean"))


RECIPE = replace(recipe_of_events(), crop_seconds=1.5, batch=6, steps=24, validations=2)


@pytest.mark.slow
def test_a_fine_tuning_on_events_learns_when(tones: LabelledSet, tmp_path: Path) -> None:
    request = Finetuning(encoder(), "enc", tones, RECIPE)
    outcome = finetune(request, tmp_path / "run", workers=1, precision="fp32", log_every=10)
    scores = write_results(tmp_path / "results.json", request, outcome)
    assert list(scores) == ["segment_F1", "event_F1", "mAP"]
    assert scores["segment_F1"].estimate > 0.7, "of silence, by chance: a third"
    model = load_classifier(tmp_path / "run/model")
    assert model.config.over_time and model.config.encoder.pooling == "flat"
    test = [row for row, part in enumerate(tones.parts) if part == "test"]
    with np.load(tmp_path / "run/predictions.npz") as file:
        saved = unpacked(file)
        clips = class_probabilities(model, [tones.sounds[row] for row in test])
        assert np.allclose(file["probabilities"], clips, atol=1e-5)
    again = step_probabilities([model], [tones.sounds[row] for row in test], skipped=[])
    for one, other in zip(saved, again, strict=True):
        assert one is not None and other is not None and np.array_equal(one.probabilities, other.probabilities)
    records = json.loads((tmp_path / "results.json").read_text())["records"]
    found = {record["metric"]: record["value"] for record in records}
    assert found.keys() == {"mAP", "segment_F1", "event_F1"}
    assert found["segment_F1"] == scores["segment_F1"].estimate


def test_files_are_predicted_step_by_step_in_order(tones: LabelledSet, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    skipped: list = []
    sounds = [tones.sounds[3], str(bad), tones.sounds[1]]
    models = [classifier(), classifier(norm="batch")]
    predict = lambda some, of=models, skipped=skipped: step_probabilities(of, some, hop=0.08, skipped=skipped)
    found = list(predictions_over_time(sounds, predict))
    assert [one.path for one in found] == [sounds[0], sounds[2]] and [file.path for file in skipped] == [str(bad)]
    for one in found:
        assert one.windows[0, 0] == 0 and one.windows[-1, 1] == one.seconds == 2.0
        assert np.array_equal(one.windows[1:, 0], one.windows[:-1, 1]), "side by side"
        assert np.diff(one.windows[1:-1], axis=1) == pytest.approx(0.08)
        assert one.probabilities == pytest.approx(one.over_time.max(axis=0))
    alone = [
        next(predictions_over_time(sounds[:1], lambda some, of=[model]: predict(some, of, []))) for model in models
    ]
    # In a batch products round otherwise: a logit of -10 by 1e-6 in fp32, and by so much of itself the probability.
    assert found[0].over_time == pytest.approx((alone[0].over_time + alone[1].over_time) / 2, rel=1e-5)


def test_the_events_recipe_is_chosen_for_events(tones: LabelledSet) -> None:
    assert suited_to(tones, 192).name == suited_to(tones, 768).name == "events"
    assert suited_to(replace(tones, events=None), 192).name == "tiny"


WRONG = {
    "has no meaning; add --set augment.roll_seconds=0.0": {"augment": AugmentConfig(roll_seconds=1.0)},
    "head=probe has no meaning": {"head": "probe"},
    "label_smoothing=0.1 has no meaning": {"label_smoothing": 0.1},
    "pooling cls has no vector of a single time patch": {"pooling": "cls"},
    "loss softmax; add --set loss=sigmoid": {"loss": "softmax"},
    "labels are classes, and recipe events has loss squared": {"loss": "squared"},
}


@pytest.mark.parametrize("message", WRONG)
def test_options_without_meaning_for_events_are_refused(message: str, tones: LabelledSet) -> None:
    with pytest.raises(AaspError) as error:
        Finetuning(encoder(), "enc", tones, replace(RECIPE, **WRONG[message]))  # type: ignore[arg-type]
    assert message in str(error.value)


def test_an_event_outside_the_models_band_is_named(tones: LabelledSet) -> None:
    assert tones.events is not None
    high = [[replace(one, low_hz=9_000.0, high_hz=12_000.0) for one in ones] for ones in tones.events]
    with pytest.raises(AaspError, match=r"\.wav: '(low|high)' from .* s: at 9000 to 12000 Hz, outside the 20"):
        Finetuning(encoder(), "enc", replace(tones, events=high), RECIPE)


def test_an_event_after_its_sound_has_ended_is_named(tones: LabelledSet, tmp_path: Path) -> None:
    assert tones.events is not None
    late = [[Event("0.wav", 250.0, 900.0, "low")], *tones.events[1:]]  # milliseconds
    with pytest.raises(AaspError, match=r"0.wav: 'low' begins at 250 s, and the sound is 2 s long"):
        finetune(Finetuning(encoder(), "enc", replace(tones, events=late), RECIPE), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_perfect_events_in_a_few_clips_have_no_interval(tones: LabelledSet, tmp_path: Path) -> None:
    assert tones.events is not None
    task, edges = Task.of(tones, choose="held_out"), np.linspace(0, 2, 4001)
    rows = task.test
    active = [step_labels(tones.events[row], CLASSES, edges) > 0.5 for row in rows]
    np.savez(tmp_path / PREDICTIONS, rows=rows, **packed([Steps(edges, one.astype(np.float32)) for one in active]))
    none: list = [None]
    result = ProbeResult(rows, task.y[rows], np.zeros((len(rows), 2)), np.zeros(len(rows), dtype=int), None, none)
    found = event_scores(Outcome(0, tones, task, result, [tmp_path]))
    for one in found.values():
        assert one.estimate == 1 and (one.low, one.high, one.method) == (None, None, "none")
