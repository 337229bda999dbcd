"""What linear probes read, and everything that is known of each clip.

Two things are read: whether the predicted class changes with a perturbation, and which modulation rate was put in. The
second guards the first: an encoder that is insensitive to modulations is trivially stable. Heads are logistic
regressions of one fixed penalty, trained on clips (whole groups) other than those they are tested on.

Legend: n clips, D dimensions, R modulation rates. Source: ours.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from aasp.aliasing.stability.measure import AT_REST, Observations, Observed, control_at
from aasp.aliasing.stability.perturbations import RATES, Row
from aasp.errors import AaspError
from aasp.evaluate.head import LinearHead
from aasp.evaluate.logistic import DRAFT, LinearHeadSolver

FOLDS = 5
STRENGTH = 100.0
"""C · D of the heads; the decoding of modulation rates changes little from 10 to 1,000."""


def check_labels(labels: np.ndarray, groups: np.ndarray) -> None:
    """See whether heads can be trained and tested on clips of these labels and groups, both of shape (n,).

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
    """Cross-validated: heads trained on clean clips classify the clips held out, clean and perturbed.

    Args:
        clean: embeddings of the clean clips, shape (n, D).
        moved: of the perturbed ones, by row.
        labels: shape (n,), such as pass `check_labels`.
        groups: of clips that belong together, shape (n,).
        seed: of the folds.

    Returns:
        Whether the clean clip is classified correctly, and for each row whether the perturbed one is classified
        otherwise than the clean one; float, shape (n,).
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
    """Which of the R rates is decoded from each clip's R versions, shape (R, n).

    Half of the groups (n,), drawn by the seed, train and the other half is tested, both ways.
    """
    rates, clips, width = embedding_RnD.shape
    read = np.zeros((rates, clips), dtype=int)
    for train, test in _halves(groups, seed):
        X = embedding_RnD[:, train].reshape(-1, width)
        head = _head(X, np.repeat(np.arange(rates), train.sum()), rates)
        read[:, test] = _named(head, embedding_RnD[:, test].reshape(-1, width)).reshape(rates, -1)
    return read


def _halves(groups: np.ndarray, seed: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Masks of the clips of one half of the groups and of the other, both ways."""
    names, group = np.unique(groups, return_inverse=True)
    first = (np.random.default_rng(seed).permutation(len(names)) < len(names) / 2)[group]
    return (first, ~first), (~first, first)


def _head(X: np.ndarray, y: np.ndarray, classes: int) -> LinearHead:
    fitted = LinearHeadSolver(X, y, classes)
    return fitted.head(*next(fitted.path([STRENGTH / X.shape[1]], gradient=DRAFT)))


def _named(head: LinearHead, X: np.ndarray) -> np.ndarray:
    return head.probabilities(X).argmax(1)


@dataclass(frozen=True)
class Reading:
    """Which of RATES a linear probe decodes, (R, n): from embeddings of perturbed clips ("heard"), and from their
    difference to the clean clips' ("compared"), which is easier."""

    heard: np.ndarray
    compared: np.ndarray

    @classmethod
    def of(cls, played_RnD: np.ndarray, clean_nD: np.ndarray, groups: np.ndarray, seed: int) -> Reading:
        """Decode embeddings of clips at each rate (R, n, D), without and with the clean ones (n, D)."""
        return cls(rates_read(played_RnD, groups, seed), rates_read(played_RnD - clean_nD, groups, seed))


@dataclass(frozen=True)
class Clipwise:
    """Everything of each clip, of one adapter.

    Attributes:
        values: by key of each row, arrays of a value a clip by name: MEASURES; `control_` and a measure of AT_REST, the
            control's value at the same change of the log-mel; `excess` and `timestamps_excess`, how much more distance
            than the control's; `flips`, 1 where a probe classifies the clip otherwise. NaN where a clip has no value:
            its change goes beyond the strongest control.
        right: whether the probe classifies each clean clip correctly, shape (n,); None without labels.
        reading: of the modulation rate.
    """

    values: dict[str, dict[str, np.ndarray]]
    right: np.ndarray | None
    reading: Reading


def clipwise(
    table: Sequence[Row],
    seen: Observations,
    adapter: Observed,
    *,
    groups: np.ndarray,
    labels: np.ndarray | None,
    seed: int,
) -> Clipwise:
    """Everything of one adapter; without labels (n,) no flips. `groups` (n,) belong together, `seed` is of the
    probes."""
    clean = adapter.reference.clip
    right, changed = (None, {}) if labels is None else decisions(clean, adapter.clip, labels, groups, seed)
    controls = [row.key for row in table if row.family == "control"]
    strengths = np.stack([seen.decibel[key] for key in controls])
    values = {}
    for row in table:
        found = dict(adapter.measures[row.key])
        if row.family != "control":
            for measure, at_rest in AT_REST.items():
                curve = np.stack([adapter.measures[key][measure] for key in controls])
                found[f"control_{measure}"] = control_at(seen.decibel[row.key], strengths, curve, at_rest)
            found["excess"] = found["distance"] - found["control_distance"]
            found["timestamps_excess"] = found["timestamps_distance"] - found["control_timestamps_distance"]
        if row.key in changed:
            found["flips"] = changed[row.key]
        values[row.key] = found
    played = np.stack([adapter.clip[f"AM {hertz:g} Hz"] for hertz in RATES])
    return Clipwise(values, right, Reading.of(played, clean, groups, seed))
