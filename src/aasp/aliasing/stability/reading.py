"""What a linear probe reads: whether a class's name changes with a perturbation, and which modulation rate was put in.

The second guards the first: an encoder that hears nothing of modulations is stable, and trivially so. Heads are
logistic regressions of one fixed penalty, trained on clips (whole groups) other than those they read.

Legend: n clips, D dimensions, R modulation rates, K classes. Source: ours.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from aasp.errors import AaspError
from aasp.evaluate.head import LinearHead
from aasp.evaluate.logistic import DRAFT, LinearHeadSolver

FOLDS = 5
STRENGTH = 100.0
"""C · D of the heads; the reading of modulation rates changes little from 10 to 1,000."""


def check_labels(labels: np.ndarray, groups: np.ndarray) -> None:
    """See whether heads can be trained and tried on clips of these labels and groups, both of shape (n,).

    Raises:
        AaspError: fewer than two classes of two clips, or fewer than two groups.
    """
    sizes, parts = np.unique(labels, return_counts=True)[1], len(np.unique(groups))
    if (sizes > 1).sum() < 2 or parts < 2:
        raise AaspError(
            f"labels: {len(sizes)} class(es) in {len(labels)} clips of {parts} group(s); "
            "there must be two classes of two clips, and two groups: examine more clips or leave --label out"
        )


def decisions(
    clean: np.ndarray, moved: Mapping[str, np.ndarray], labels: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Cross-validated: heads trained on clean clips name the clips held out, clean and perturbed.

    Args:
        clean: embeddings of the clean clips, shape (n, D).
        moved: of the perturbed ones, by row.
        labels: shape (n,), such as pass `check_labels`.
        groups: of clips that belong together, shape (n,).
        seed: of the folds.

    Returns:
        Whether the clean clip is named right, and for each row whether the perturbed one is named otherwise than the
        clean one; float, shape (n,).
    """
    classes, y, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    folds = StratifiedGroupKFold(min(FOLDS, sizes.max(), len(np.unique(groups))), shuffle=True, random_state=seed)
    right, changed = np.zeros(len(y)), {key: np.zeros(len(y)) for key in moved}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer clips than folds
        parts = list(folds.split(clean, y, groups))
    for train, test in parts:
        head = _head(clean[train], y[train], len(classes))
        named = _named(head, clean[test])
        right[test] = named == y[test]
        for key, embedding in moved.items():
            changed[key][test] = _named(head, embedding[test]) != named
    return right, changed


def rates_read(embedding_RnD: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Which of the R rates was read from each clip's R versions; half of the clips train, the other half is read.

    Args:
        embedding_RnD: embeddings of the clips at each rate.
        groups: of clips that belong together, shape (n,), two or more.
        seed: of the halves.

    Returns:
        Number of the rate, shape (R, n).
    """
    rates, clips, width = embedding_RnD.shape
    read = np.zeros((rates, clips), dtype=int)
    for train, test in _halves(groups, seed):
        X = embedding_RnD[:, train].reshape(-1, width)
        head = _head(X, np.repeat(np.arange(rates), train.sum()), rates)
        read[:, test] = _named(head, embedding_RnD[:, test].reshape(-1, width)).reshape(rates, -1)
    return read


def _halves(groups: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Masks of the clips of one half of the groups and of the other, both ways."""
    names, group = np.unique(groups, return_inverse=True)
    first = (np.random.default_rng(seed).permutation(len(names)) < len(names) / 2)[group]
    yield first, ~first
    yield ~first, first


def _head(X: np.ndarray, y: np.ndarray, classes: int) -> LinearHead:
    fitted = LinearHeadSolver(X, y, classes)
    return fitted.head(*next(fitted.path([STRENGTH / X.shape[1]], gradient=DRAFT)))


def _named(head: LinearHead, X: np.ndarray) -> np.ndarray:
    return head.probabilities(X).argmax(1)
