"""Every preset: no leak from the test part, the requested candidates, repeats, and options that conflict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from columns import set_of

from aasp.datasets.benchmarks.open import open_labelled
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError
from aasp.evaluate.head import LinearHead, RegressionHead
from aasp.evaluate.knn import Voters
from aasp.evaluate.outcome import predictions, score_records, system_name
from aasp.evaluate.probe import scores
from aasp.evaluate.protocol import Protocol
from aasp.evaluate.records import Record
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

FOLDS = [str(i // 24) for i in range(120)]
SPLIT = ["train"] * 60 + ["valid"] * 24 + ["test"] * 36
GROUPS = [f"recording {i // 3}" for i in range(120)]
LIKE = Record("s", "m", "h", "evar", "r", "b", "linear", "", 0, "", 0.0, 0, 0, "0", details={"more": 1})


@pytest.fixture
def candidates(blobs: tuple, rng: np.random.Generator) -> dict[tuple[int, str], np.ndarray]:
    X, _ = blobs
    return {(0, "mean"): rng.normal(size=(120, 40)).astype(np.float32), (1, "mean"): X, (2, "mean"): 2 * X + 1}


def labelled(y: np.ndarray, split: list[str]) -> LabelledSet:
    return set_of([f"class {k}" for k in y], split, GROUPS)


def quick(preset: Any, layers: tuple = ()) -> Protocol:
    """A protocol that, where it trains, does so for a few epochs only."""
    protocol = Protocol.of(preset, layers)
    return replace(protocol, settings=protocol.settings | ({"epochs": 8} if preset == "evar" else {}))


def frozen(head: Any) -> list[np.ndarray]:
    if isinstance(head, LinearHead | RegressionHead):
        return [head.mean, head.scale, head.weight, head.bias]
    assert isinstance(head, Voters)
    return [head.mean, head.scale, head.units, head.labels]


@pytest.mark.slow
@pytest.mark.parametrize("split", [SPLIT, FOLDS], ids=["split", "fold"])
@pytest.mark.parametrize(
    ("preset", "layers"), [("evar", ()), ("evar", ("weighted",)), ("logistic", ()), ("ridge", ()), ("knn", ())]
)
def test_a_corrupted_test_part_changes_no_statistic_no_choice_and_no_head(
    preset: Any, layers: tuple, split: list[str], blobs: tuple, candidates: dict, rng: np.random.Generator
) -> None:
    """Bit for bit, whatever the test clips and their labels are: of one fold at a time."""
    protocol, y = quick(preset, layers), blobs[1]
    tasks, clean = protocol.run(candidates, labelled(y, split), 2)
    for part in ("test",) if split is SPLIT else ("0", "3"):
        rows = np.flatnonzero(np.array(split) == part)
        corrupt = {key: X.copy() for key, X in candidates.items()}
        for X in corrupt.values():
            X[rows] = 1e4 * rng.normal(size=X[rows].shape)
        shuffled = y.copy()
        shuffled[rows] = rng.permutation(y[rows])
        _, other = protocol.run(corrupt, labelled(shuffled, split), 2)
        number = [r.name for r in tasks[0].rounds].index(part)
        for before, after in zip(clean, other, strict=True):
            one, two = before.chosen[number], after.chosen[number]
            assert (one.key, one.setting, one.valid_scores) == (two.key, two.setting, two.valid_scores)
            for a, b in zip(frozen(one.head), frozen(two.head), strict=True):
                np.testing.assert_array_equal(a, b)
            scored = before.round_rows[number]
            assert not np.array_equal(before.probabilities[scored], after.probabilities[scored])


def test_every_seed_holds_out_another_tenth_and_scores_the_same_clips(blobs: tuple, candidates: dict) -> None:
    tasks, results = quick("evar").run(candidates, labelled(blobs[1], FOLDS), 3)
    assert len({tuple(task.rounds[0].valid) for task in tasks}) == 3
    for task, result in zip(tasks, results, strict=True):
        assert result.test.tolist() == [*range(120)]
        for r in task.rounds:
            parts = [{GROUPS[row] for row in part} for part in (r.train, r.valid, r.test)]
            assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
            assert r.valid.size in (9, 10, 11, 12)
    assert scores(results)["accuracy"].seeds == 3


@pytest.mark.parametrize("preset", ["ridge", "logistic", "knn"])
def test_where_nothing_is_drawn_there_is_one_result_whatever_the_seeds(
    blobs: tuple, candidates: dict, preset: str
) -> None:
    """Equal results would otherwise be shown as a deviation of zero over seeds."""
    tasks, results = Protocol.of(preset).run(candidates, labelled(blobs[1], FOLDS), 2)  # type: ignore[arg-type]
    assert len(tasks) == len(results) == 1
    assert scores(results)["accuracy"].seeds == 1


def test_progress_is_of_all_seeds(blobs: tuple, candidates: dict) -> None:
    seen: list[tuple[int, int]] = []
    quick("evar").run(candidates, labelled(blobs[1], SPLIT), 2, lambda *now: seen.append(now))
    assert seen == [(k + 1, 6) for k in range(6)]


@pytest.fixture(scope="module")
def encoder() -> AudioEncoder:
    torch.manual_seed(0)
    shape = EncoderConfig(width=16, depth=2, heads=2)
    return AudioEncoder(AudioEncoderConfig(stem=ConvConfig(), encoder=shape, pooling="flat"))


@pytest.mark.parametrize(
    ("ask", "keys"),
    [
        (("evar",), [(2, "flat")]),
        (("evar", (), ("cls", "mean")), [(2, "cls"), (2, "mean")]),
        (("evar", ("1", "2")), [(1, "flat"), (2, "flat")]),
        (("evar", ("weighted",), ("mean",)), [(0, "mean"), (1, "mean"), (2, "mean")]),
        (("evar", ("weighted",), ("cls",)), [(1, "cls"), (2, "cls")]),
        (("knn", ("1",), ("mean",)), [(1, "mean")]),
    ],
)
def test_protocols_request_their_embeddings(ask: tuple, keys: list, encoder: AudioEncoder) -> None:
    assert Protocol.of(*ask).keys(encoder) == keys
    assert len(Protocol.of("logistic").keys(encoder)) == 14


def test_weighted_layers_stand_side_by_side(candidates: dict) -> None:
    ((key, stacked),) = Protocol.of("evar", ("weighted",)).candidates(candidates).items()
    assert key == ("weighted", "mean") and stacked.shape == (120, 3, 40)
    np.testing.assert_array_equal(stacked[:, 1], candidates[1, "mean"])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (("logistic", ("weighted",)), "--layer weighted with --protocol logistic"),
        (("knn", ("weighted",)), "--layer weighted with --protocol knn"),
        (("evar", ("weighted", "1")), "give it alone"),
        (("evar", ("-1",)), "no such layer: -1"),
        (("evar", ("last",)), "no such layer: last"),
        (("svm",), "no such protocol: svm"),
        (("knn", (), (), 0.1), "--lr 0.1 with --protocol knn"),
        (("evar", (), (), -1.0), "--lr -1"),
        (("evar", (), (), float("nan")), "--lr nan"),
    ],
)
def test_options_that_conflict_are_refused(ask: tuple, message: str) -> None:
    with pytest.raises(AaspError, match="; ") as error:
        Protocol.of(*ask)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_records_of_every_seed_and_fold(blobs: tuple, candidates: dict) -> None:
    made = labelled(blobs[1], FOLDS)
    tasks, results = quick("evar").run(candidates, made, 2)
    details = [[{"fold": r.name} for r in task.rounds] for task in tasks]
    records = score_records(replace(LIKE, seed=5), tasks[0], results, details)
    assert [(one.seed, one.split) for one in records] == [(seed, fold) for seed in (5, 6) for fold in "01234"]
    assert [one.value for one in records[:5]] == results[0].round_scores()
    assert {(one.metric, one.clips, one.low) for one in records} == {("accuracy", 24, None)}
    assert records[3].details == {"more": 1, "fold": "3"}
    written = predictions(made, tasks[0], results)
    assert [one["clip"] for one in written] == list(made.sounds)
    for seed in (0, 1):
        right = [one["predicted"][seed] == one["truth"] for one in written if one["part"] == "2"]
        assert np.mean(right) == pytest.approx(results[seed].round_scores()[2])
    assert {one["group"] for one in written} == set(GROUPS)


def test_a_single_part_has_an_interval_of_its_own(blobs: tuple, candidates: dict) -> None:
    made = labelled(blobs[1], SPLIT)
    tasks, results = Protocol.of("logistic").run(candidates, made, 1)
    (record,) = score_records(LIKE, tasks[0], results)
    found = scores(results)["accuracy"]
    assert (record.split, record.value, record.low, record.high) == ("test", found.estimate, found.low, found.high)


def test_model_names() -> None:
    names = {"runs/tiny": "tiny", "runs/tiny/model": "tiny", "model": "model", "someone/aasp-base": "aasp-base"}
    assert {model: system_name(model) for model in names} == names


@pytest.mark.parametrize("choose", ["next_fold", "held_out"])
def test_no_source_recording_crosses_a_fold_of_esc50s_official_ones(choose: str, data_root: Path) -> None:
    from aasp.evaluate.task import Task

    if not (data_root / "esc10").is_dir():
        pytest.skip("needs the set esc10 in AASP_DATA")
    made = open_labelled("esc10", data_root / "esc10")
    task = Task.of(made, choose=choose)
    assert [r.name for r in task.rounds] == [*"12345"] and sorted(task.test) == [*range(400)]
    for r in task.rounds:
        named = [[Path(str(made.sounds[row])).name.split("-") for row in part] for part in (r.refit, r.test)]
        assert {fold for fold, *_ in named[1]} == {r.name}, "the fold that is in the file's name"
        recordings = [{recording for _, recording, *_ in part} for part in named]
        assert not recordings[0] & recordings[1]
        held = [{task.groups[row] for row in part} for part in (r.train, r.valid)]
        assert not held[0] & held[1]
