"""Events from probabilities: thresholds, smoothing, minimum lengths; and their scores, equal to sed_eval's."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from aasp.datasets.events import Event
from aasp.errors import AaspError
from aasp.evaluate.events.detect import Detection, detect, pieces, step_edges
from aasp.evaluate.events.scores import event_counts, macro_f1, micro_f1, segment_counts

EDGES = np.arange(11) / 10
CLASSES = ("dog", "cat")


def steps(dog: str, cat: str = "..........") -> np.ndarray:
    """0.9 where there is a letter, 0.2 elsewhere."""
    return np.array([[0.9 if one != "." else 0.2 for one in row] for row in (dog, cat)]).T


def found(probabilities: np.ndarray, **how: object) -> list[tuple[str, float, float]]:
    events = detect("a.wav", EDGES, probabilities, CLASSES, Detection(**how))  # type: ignore[arg-type]
    return [(one.label, round(one.start, 3), round(one.end, 3)) for one in events]


def test_a_stretch_over_the_threshold_is_an_event() -> None:
    assert found(steps("dd..d....d", "..ccc.....")) == [
        ("dog", 0.0, 0.2), ("cat", 0.2, 0.5), ("dog", 0.4, 0.5), ("dog", 0.9, 1.0)
    ]  # fmt: skip
    assert found(steps("..........")) == []
    assert found(steps("dddddddddd")) == [("dog", 0.0, 1.0)]


def test_thresholds_of_single_classes() -> None:
    scores = steps("dd........", "...cc.....")
    assert found(scores, threshold=0.95, thresholds={"cat": 0.5}) == [("cat", 0.3, 0.5)]
    assert found(scores, threshold=0.15) == [("cat", 0.0, 1.0), ("dog", 0.0, 1.0)]
    with pytest.raises(AaspError, match=r"threshold bird=0.5: no such class; the model has dog, cat"):
        found(scores, thresholds={"bird": 0.5})


def test_a_median_fills_gaps_and_drops_short_events() -> None:
    scores = steps("dd.dd..d..")
    assert found(scores, smooth=0.3) == [("dog", 0.0, 0.5)]
    assert found(scores, smooth=0.1) == found(scores), "a filter of one step"
    score = detect("a", EDGES, scores, CLASSES, Detection(smooth=0.3))[0].score
    assert score == pytest.approx(0.9), "the mean of the smoothed steps"


def test_events_shorter_than_the_minimum_length_are_left_out() -> None:
    assert found(steps("d..dd..ddd"), min_length=0.2) == [("dog", 0.3, 0.5), ("dog", 0.7, 1.0)]
    assert found(steps("d..dd..ddd"), min_length=2.0) == []


@pytest.mark.parametrize("how", [{"threshold": 0}, {"threshold": 1.0}, {"thresholds": {"dog": -1}}, {"smooth": -1},
                                 {"min_length": float("nan")}])  # fmt: skip
def test_invalid_settings_are_refused(how: dict) -> None:
    with pytest.raises(AaspError, match=r"threshold (dog=-1|0|1): a|smooth is|min_length is"):
        Detection(**how)


def test_steps_meet_half_way_and_end_with_the_sound() -> None:
    assert step_edges(np.array([0.08, 0.24, 0.4]), 0.42) == pytest.approx([0, 0.16, 0.32, 0.42])
    assert step_edges(np.array([0.08, 0.12, 0.16]), 0.2) == pytest.approx([0, 0.10, 0.14, 0.2])
    assert (np.diff(step_edges(np.array([0.08, 0.24]), 0.1)) >= 0).all(), "a last patch that is nearly all padding"


def test_windows_that_overlap_are_averaged_where_they_do() -> None:
    windows = np.array([[0.0, 1.0], [0.5, 1.3]])
    edges, values = pieces(windows, np.array([[0.2, 0.0], [0.6, 1.0]]))
    assert edges.tolist() == [0, 0.5, 1.0, 1.3]
    assert values == pytest.approx(np.array([[0.2, 0.0], [0.4, 0.5], [0.6, 1.0]]))


RECORDED = json.loads((Path(__file__).parents[1] / "recorded/sed_eval.json").read_text())


def recorded(which: str) -> np.ndarray:
    counts = []
    for file in RECORDED["files"]:
        truth, predicted = ([Event("x", *one) for one in file[name]] for name in ("truth", "said"))
        if which == "segment":
            counts.append(segment_counts(truth, predicted, RECORDED["classes"], file["seconds"]))
        else:
            counts.append(event_counts(truth, predicted, RECORDED["classes"]))
    return np.sum(counts, axis=0)


@pytest.mark.parametrize("which", ["segment", "event"])
def test_scores_are_those_of_sed_eval(which: str) -> None:
    counts = recorded(which)
    assert micro_f1(counts) == pytest.approx(RECORDED[which]["overall"], abs=1e-12)
    assert macro_f1(counts) == pytest.approx(RECORDED[which]["mean"], abs=1e-12)
    for k, name in enumerate(RECORDED["classes"]):
        assert micro_f1(counts[:, [k]]) == pytest.approx(RECORDED[which]["classes"][name], abs=1e-12)


def test_as_many_events_are_paired_as_can_be() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        spans = rng.uniform(0, 1, (2, 4))
        truth, predicted = ([Event("x", start, start + 0.5, "dog") for start in row] for row in spans)
        hits = event_counts(truth, predicted, ["dog"])[0, 0]
        near = np.abs(spans[0][:, None] - spans[1]) <= 0.2
        assert hits == max(sum(near[i, j] for i, j in enumerate(order)) for order in permutations(range(4)))


def test_no_events_and_no_predictions_are_no_score() -> None:
    assert np.isnan(micro_f1(np.zeros((3, 2)))) and np.isnan(macro_f1(np.zeros((3, 2))))
    assert micro_f1(np.array([[0], [2], [0]])) == 0


def test_edges_at_whole_seconds_survive_fp32() -> None:
    """The edge between the steps around 32 s is 32.00000095 in fp32; 20 ms beyond an edge is another segment."""
    truth = [Event("x", 1.0, 32.0, "dog")]
    for start, end, alarms in ((0.99999994, 32.00000095, 0), (0.98, 32.0, 1), (1.0, 32.02, 1)):
        hits, false, misses = segment_counts(truth, [Event("x", start, end, "dog")], CLASSES, 40.0)[:, 0]
        assert (hits, false, misses) == (31, alarms, 0)
