"""Linear probing of frozen embeddings: standardisation + L2 logistic regression, everything chosen on validation.

For every round of a task, each candidate (layer, pooling) is fitted on the train part and scored on the valid part: all
of them by ridge regression on the one-hot labels, which has a closed form for all penalties at once, then the best few
by logistic regression with each penalty. The best of these is refitted on train + valid and scored once on the test
part. The scaler, the head and every choice are independent of the test part. Ties in the validation score (common with
80 clips) go to the lower validation loss.

n clips, m of them scored, D dimensions, K classes. Source: the usual protocol of HEAR (Turian et al. 2022), refitted on
train + valid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from aasp.evaluate.logistic import CONVERGED, DRAFT, LinearHeadSolver
from aasp.evaluate.metrics import rank
from aasp.evaluate.probe import Chosen, ProbeResult, Progress, choose_each
from aasp.evaluate.ridge import Ranking, best_ridge
from aasp.evaluate.task import Round, Task

# C of the head times D: the standardised clips have squared norm D, so the same strengths suit every width.
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
# For an untrained encoder's 64 candidates on two real sets, a shortlist of eight gave the same choice in every round.
SHORTLIST = 8
QUICK = 1e-5


def linear_probe(
    features: Mapping[Any, np.ndarray],
    task: Task,
    *,
    strengths: Sequence[float] = STRENGTHS,
    shortlist: int = SHORTLIST,
    ranking: Ranking | None = None,
    precise: bool = True,
    progress: Progress | None = None,
) -> ProbeResult:
    """Choose features and penalty on validation, train, and score on test, in every round of `task`.

    Args:
        features: candidates: key, e.g. (layer, pooling), to embeddings (n, D); D may differ between candidates.
        task: labels and rounds.
        strengths: candidates for C · D, strong penalty (small value) first.
        shortlist: how many candidates ridge regression passes on to logistic regression.
        ranking: result of `ridge_ranking` for these candidates, if already computed.
        precise: fit the final head to the optimum; else to a gradient of `QUICK`, which is faster with the same
            predicted classes.
        progress: called with (candidates done, candidates × rounds).

    Raises:
        AaspError: a candidate has another number of clips than the task, or values that are not finite.
    """

    def choose(features: Mapping[Any, np.ndarray], r: Round, done: Callable[[], None]) -> Chosen:
        found = _choose(features, task, r, strengths, shortlist, ranking, done)
        key = max(found, key=found.__getitem__)
        C = found[key][-1]
        whole = LinearHeadSolver(features[key][r.refit], task.y[r.refit], len(task.classes))
        head = whole.head(*next(whole.path([C], gradient=CONVERGED if precise else QUICK)))
        return Chosen(key, {"C": C}, head, {k: value[0] for k, value in found.items()})

    return choose_each(features, task, choose, progress)


def _choose(
    features: Mapping[Any, np.ndarray],
    task: Task,
    r: Round,
    strengths: Sequence[float],
    shortlist: int,
    ranking: Ranking | None,
    done: Callable[[], None],
) -> dict[Any, tuple[float, float, float]]:
    """(validation score, -validation loss, C) of the shortlisted candidates; `done` is called once for each."""
    best = list(features)
    if len(features) > shortlist:
        ridge = {}
        for number, (key, X) in enumerate(features.items()):
            ridge[key] = ranking[r.name][key] if ranking else best_ridge(X, task, r)
            if number >= shortlist:
                done()
        best = sorted(features, key=ridge.__getitem__, reverse=True)[:shortlist]
    scores = {}
    for key in best:
        scores[key] = _logistic(features[key], task, r, strengths)
        done()
    return scores


def _logistic(X: np.ndarray, task: Task, r: Round, strengths: Sequence[float]) -> tuple[float, float, float]:
    """Best (validation score, -validation loss, C) of one candidate over the penalties."""
    fitted = LinearHeadSolver(X[r.train], task.y[r.train], len(task.classes))
    coordinates = fitted.coordinates(X[r.valid])
    penalties = [strength / X.shape[1] for strength in strengths]
    solutions = fitted.path(penalties, gradient=DRAFT)
    return max(
        (*rank(task.y[r.valid], fitted.probabilities(coordinates, *solution)), C)
        for C, solution in zip(penalties, solutions, strict=True)
    )
