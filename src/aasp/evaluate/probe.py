"""The result of a probe of frozen embeddings: choices, test predictions of its heads, and scores.

Every score is the unweighted mean of the rounds' scores, as the fold-wise benchmarks (ESC-50, UrbanSound8K) define it:
accuracy and macro-F1; for several labels per clip mean average precision; for numbers R² and the mean absolute error.
n clips, m of them scored, D dimensions, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from aasp.errors import AaspError
from aasp.evaluate.head import Head
from aasp.evaluate.intervals import Interval, interval
from aasp.evaluate.metrics import AveragePrecision, macro_f1, r_squared, score
from aasp.evaluate.task import Round, Task

Progress = Callable[[int, int], object]


class Unusable(AaspError):
    """Embeddings are not finite, so no probe can use them."""


@dataclass(frozen=True)
class Chosen:
    """The choices of one round on its validation part, and its trained head.

    Attributes:
        key: which features, e.g. (layer, pooling).
        setting: other choices, by name: a penalty, a number of neighbours, an epoch.
        head: the trained head.
        valid_scores: best validation score (accuracy, mAP or R²) of each key that reached the last choice.
    """

    key: Any
    setting: Mapping[str, Any]
    head: Head
    valid_scores: Mapping[Any, float] = field(default_factory=dict)


def each_candidate(
    features: Mapping[Any, np.ndarray], read: Callable[[np.ndarray], Any], candidate_done: Callable[[], None]
) -> dict[Any, Any]:
    """`read` applied to each candidate, one progress step each."""
    found = {}
    for key, X in features.items():
        found[key] = read(X)
        candidate_done()
    return found


@dataclass(frozen=True)
class ProbeResult:
    """Predictions of the scored clips, in the order of the set, by heads of one seed.

    Attributes:
        test: indices of the scored clips, (m,).
        truth: class indices (m,), or multi-hot (m, K); or numbers, float64 (m,).
        probabilities: (m, K); or the predicted numbers (m, 1).
        rounds: number of the round that scored each clip, (m,).
        groups: group of each clip (m,), or None.
        chosen: one per round.
    """

    test: np.ndarray
    truth: np.ndarray
    probabilities: np.ndarray
    rounds: np.ndarray
    groups: np.ndarray | None
    chosen: list[Chosen]

    @property
    def multilabel(self) -> bool:
        return self.truth.ndim == 2

    @property
    def regression(self) -> bool:
        return self.truth.dtype.kind == "f"

    @cached_property
    def predicted(self) -> np.ndarray:
        """Class index (m,), or multi-hot at probability 0.5 (m, K); or the predicted numbers (m,)."""
        if self.regression:
            return self.probabilities[:, 0]
        return self.probabilities > 0.5 if self.multilabel else self.probabilities.argmax(axis=1)

    @property
    def correct(self) -> np.ndarray:
        """1.0 where the predicted class is the true one, else 0.0, (m,). Single-label only."""
        assert not self.multilabel and not self.regression, "such a clip is not right or wrong as a whole"
        return (self.predicted == self.truth).astype(np.float64)

    @property
    def clusters(self) -> np.ndarray | None:
        """The units that intervals resample: groups, or single clips (None) if there is at most one group."""
        return None if self.groups is None or len(set(self.groups.tolist())) < 2 else self.groups

    @property
    def metric(self) -> str:
        """The name of `score`: accuracy, mAP for several labels per clip, R2 for numbers."""
        return "R2" if self.regression else "mAP" if self.multilabel else "accuracy"

    @property
    def score(self) -> float:
        """Accuracy, mAP or R²: the mean over rounds."""
        return float(np.mean(self.round_scores()))

    def round_scores(self) -> list[float]:
        """Accuracy, mAP or R² of each round."""
        return [score(self.truth[one], self.probabilities[one]) for one in self.round_rows]

    @cached_property
    def alone(self) -> Interval:
        """Accuracy, mAP or R² of this seed, with its 95 % interval; cached, because a large mAP takes minutes."""
        return main_score([self])

    @cached_property
    def round_rows(self) -> list[np.ndarray]:
        """Rows of each round's clips."""
        return [np.flatnonzero(self.rounds == number) for number in range(len(self.chosen))]

    def macro_f1(self, weights: np.ndarray) -> float:
        """Mean over rounds of the macro-F1, weighted as in `_over_rounds`.

        Args:
            weights: how often each clip counts, (m,); a round with no clip left is dropped from the mean.
        """
        rounds = [(self.truth[i], self.predicted[i], weights[i]) for i in self.round_rows]
        return self._over_rounds([macro_f1(*one) if one[2].any() else np.nan for one in rounds], weights)

    def average_precision(self, weights: np.ndarray) -> float:
        """Mean over rounds of the mAP, weighted as in `_over_rounds`; different heads are not ranked together.

        Args:
            weights: how often each clip counts, (m,); a round with no positive clip left is dropped from the mean.
        """
        found = [ranked(weights[i]) for ranked, i in zip(self._ranked, self.round_rows, strict=True)]
        return self._over_rounds(found, weights)

    def r_squared(self, weights: np.ndarray) -> float:
        """Mean over rounds of R², weighted as in `_over_rounds`.

        Args:
            weights: how often each clip counts, (m,); a round whose remaining clips all have the same number is dropped
                from the mean.
        """
        found = [r_squared(self.truth[i], self.predicted[i], weights[i]) for i in self.round_rows]
        return self._over_rounds(found, weights)

    def _over_rounds(self, found: Sequence[float], weights: np.ndarray) -> float:
        """Mean of the rounds' scores that are not NaN; a round counts as often as its clips do on average."""
        drawn = np.array([weights[i].mean() for i in self.round_rows])
        known = ~np.isnan(found)
        return float(np.average(np.array(found)[known], weights=drawn[known])) if known.any() else float("nan")

    @property
    def errors(self) -> np.ndarray:
        """Absolute error of each clip (m,), in the unit of the numbers."""
        return np.abs(self.predicted - self.truth)

    @cached_property
    def _ranked(self) -> list[AveragePrecision]:
        return [AveragePrecision(self.truth[i], self.probabilities[i]) for i in self.round_rows]


def scores(results: Sequence[ProbeResult], minus: Sequence[ProbeResult] | None = None) -> dict[str, Interval]:
    """Accuracy and macro-F1, mAP, or R² and MAE, of one system's seeds, or their lead over another's, with intervals.

    Args:
        results: one system's result for each seed.
        minus: another system's results on the same clips; the differences are paired.

    Raises:
        AaspError: the systems were scored on different clips.
    """
    first = results[0]
    if minus is not None and not np.array_equal(first.test, minus[0].test):
        text = f"paired scores: {len(first.test)} against {len(minus[0].test)} clips"
        raise AaspError(f"{text}; score both systems on the same clips")
    main = first.alone if minus is None and len(results) == 1 else main_score(results, minus)
    if first.multilabel:
        return {first.metric: main}
    if first.regression:
        return {
            first.metric: main,
            "MAE": interval(**interval_arguments(results, minus, lambda result: result.errors), share=False),
        }
    f1 = interval(**interval_arguments(results, minus, lambda result: result.macro_f1), share=True)
    if minus is not None and main.method != "bootstrap":  # the systems differ on too few clips for any score
        f1 = replace(f1, low=None, high=None, method="none")
    return {first.metric: main, "macro_f1": f1}


def _main(result: ProbeResult) -> Any:
    """The arguments of `interval` for accuracy, mAP or R²."""
    if result.regression:
        return result.r_squared
    return result.average_precision if result.multilabel else result.correct


def main_score(
    results: Sequence[ProbeResult], minus: Sequence[ProbeResult] | None = None, resamples: int | None = None
) -> Interval:
    """The main score of `scores` (accuracy, mAP or R²), with the given number of resamples."""
    return interval(**interval_arguments(results, minus), share=not results[0].regression, resamples=resamples)


def interval_arguments(
    results: Sequence[ProbeResult],
    minus: Sequence[ProbeResult] | None = None,
    read: Callable[[ProbeResult], Any] | None = None,
) -> dict[str, Any]:
    """The arguments of `interval` and `resampled`: clips are resampled by cluster, rounds have equal weight.

    Args:
        results, minus: as in `scores`.
        read: the score of each seed: accuracy, mAP or R² if omitted.
    """
    first, read = results[0], read or _main
    return {
        "scores": [read(result) for result in results],
        "minus": None if minus is None else [read(result) for result in minus],
        "clusters": np.arange(len(first.test)) if first.clusters is None else first.clusters,
        "rounds": first.rounds,
    }


def score_heads(features: Mapping[Any, np.ndarray], task: Task, chosen: list[Chosen]) -> ProbeResult:
    """Let each round's head predict that round's test part."""
    test = task.test
    probabilities, rounds = np.zeros((len(test), len(task.classes))), np.zeros(len(test), dtype=int)
    for number, (r, c) in enumerate(zip(task.rounds, chosen, strict=True)):
        rows = np.searchsorted(test, r.test)
        probabilities[rows] = c.head.probabilities(features[c.key][r.test])
        rounds[rows] = number
    groups = None if task.groups is None else task.groups[test]
    return ProbeResult(test, task.y[test], probabilities, rounds, groups, chosen)


def choose_each(
    features: Mapping[Any, np.ndarray],
    task: Task,
    choose: Callable[[Mapping[Any, np.ndarray], Round, Callable[[], None]], Chosen],
    progress: Progress | None = None,
) -> ProbeResult:
    """Check the features, let `choose` choose and train in every round, and score its heads.

    Args:
        features: candidates: key to embeddings (n, D) or, for several layers at once, (n, L, D).
        task: labels and rounds.
        choose: called with the features, a round, and a callback to call after each candidate.
        progress: called with (candidates done, candidates × rounds).

    Raises:
        AaspError: a candidate has another number of clips than the task, or values that are not finite.
    """
    check_features(features, task)
    done, total = 0, len(task.rounds) * len(features)

    def candidate_done() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return score_heads(features, task, [choose(features, r, candidate_done) for r in task.rounds])


def check_features(features: Mapping[Any, np.ndarray], task: Task) -> None:
    """Check that every candidate has a finite embedding of every clip.

    Raises:
        AaspError: a clip has no embedding; `Unusable` if a value is not finite.
    """
    for key, X in features.items():
        if len(X) != len(task.y):
            raise AaspError(f"features {key}: {len(X)} rows for {len(task.y)} clips; embed every clip once")
        if not np.isfinite(X).all():
            raise Unusable(f"features {key}: not all finite; the model has no usable embedding of these clips")
