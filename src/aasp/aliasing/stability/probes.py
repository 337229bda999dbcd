"""Linear probes of embeddings: whether the predicted class changes, and which modulation rate was applied.

The second complements the first: an encoder that is insensitive to modulations is trivially stable. Heads are logistic
regressions with one fixed penalty, trained and tested on different clips (whole groups).

Legend: n clips, D dimensions, R modulation rates. Source: ours.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from aasp.aliasing.stability.perturbations import RATES
from aasp.errors import AaspError
from aasp.evaluate.head import LinearHead
from aasp.evaluate.logistic import DRAFT, LinearHeadSolver

FOLDS = 5
STRENGTH = 100.0
"""C · D of the heads; the decoding of modulation rates changes little from 10 to 1,000."""


def check_labels(labels: np.ndarray, groups: np.ndarray) -> None:
    """Check that heads can be trained and tested on clips with these labels and groups, both of shape (n,).

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
    """Cross-validated decisions: heads trained on clean clips classify the held-out clips, clean and perturbed.

    Args:
        clean: embeddings of the clean clips, shape (n, D).
        moved: embeddings of the perturbed clips, by row.
        labels: shape (n,), valid for `check_labels`.
        groups: the group of each clip, shape (n,).
        seed: for the folds.

    Returns:
        Whether the clean clip is classified correctly, and for each row whether the perturbed clip is classified
        differently from the clean one; float, shape (n,).
    """
    classes, y, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    folds = StratifiedGroupKFold(min(FOLDS, sizes.max(), len(np.unique(groups))), shuffle=True, random_state=seed)
    right, changed = np.zeros(len(y)), {key: np.zeros(len(y)) for key in moved}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about classes with fewer clips than folds
        parts = list(folds.split(clean, y, groups))
    for train, test in parts:
        head = _head(clean[train], y[train], len(classes))
        named = _named(head, clean[test])
        right[test] = named == y[test]
        for key, embedding in moved.items():
            changed[key][test] = _named(head, embedding[test]) != named
    return right, changed


def decoded(
    moved: Mapping[str, np.ndarray], clean_nD: np.ndarray, groups: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """The rates decoded by a probe, (R, n), as indices of RATES, from embeddings (n, D) by row and clean ones.

    `alone` uses embeddings of perturbed clips alone, `compared` their difference from the clean clips', which is
    easier.
    """
    moved_RnD = np.stack([moved[f"AM {hertz:g} Hz"] for hertz in RATES])
    return {"alone": rates_read(moved_RnD, groups, seed), "compared": rates_read(moved_RnD - clean_nD, groups, seed)}


def rates_read(embedding_RnD: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """The rate decoded from each of a clip's R versions, as an index, shape (R, n).

    Half of the groups (n,), drawn by the seed, train and the other half is tested, and vice versa.
    """
    rates, clips, width = embedding_RnD.shape
    read = np.zeros((rates, clips), dtype=int)
    for train, test in _halves(groups, seed):
        head = _head(embedding_RnD[:, train].reshape(-1, width), np.repeat(np.arange(rates), train.sum()), rates)
        read[:, test] = _named(head, embedding_RnD[:, test].reshape(-1, width)).reshape(rates, -1)
    return read


def _halves(groups: np.ndarray, seed: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Masks of the clips of both halves of the groups, in both orders."""
    names, group = np.unique(groups, return_inverse=True)
    first = (np.random.default_rng(seed).permutation(len(names)) < len(names) / 2)[group]
    return (first, ~first), (~first, first)


def _head(X: np.ndarray, y: np.ndarray, classes: int) -> LinearHead:
    fitted = LinearHeadSolver(X, y, classes)
    return fitted.head(*next(fitted.path([STRENGTH / X.shape[1]], gradient=DRAFT)))


def _named(head: LinearHead, X: np.ndarray) -> np.ndarray:
    return head.probabilities(X).argmax(1)
