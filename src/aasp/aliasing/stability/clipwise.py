"""Everything that is known of each clip, of one subject: measures of every row, its control's, and what probes read.

Legend: n clips, R modulation rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aasp.aliasing.stability.measure import AT_REST, control_at
from aasp.aliasing.stability.observe import Observations, Observed
from aasp.aliasing.stability.reading import decisions, rates_read
from aasp.aliasing.stability.rows import RATES, Row


@dataclass(frozen=True)
class Reading:
    """Which of RATES a linear probe read.

    Attributes:
        heard: number of the rate that was read from the embeddings of perturbed clips, shape (R, n).
        compared: from what they have moved by: the clean clip is known, which asks less.
    """

    heard: np.ndarray
    compared: np.ndarray

    @classmethod
    def of(cls, played_RnD: np.ndarray, clean_nD: np.ndarray, groups: np.ndarray, seed: int) -> Reading:
        """Let a probe read embeddings of clips at each rate (R, n, D), without and with the clean ones (n, D)."""
        return cls(rates_read(played_RnD, groups, seed), rates_read(played_RnD - clean_nD, groups, seed))


@dataclass(frozen=True)
class Clipwise:
    """Of each row, by its key, arrays of a value a clip, shape (n,), by name.

    Attributes:
        values: MEASURES; `control_` and a measure of AT_REST, the control's value at the same change of the log-mel;
            `excess` and `timestamps_excess`, how much more distance than the control's; `flips`, 1 where a probe names
            the clip otherwise. NaN where a clip has no value: its change goes beyond the strongest control.
        right: whether the probe names each clean clip right, shape (n,); None without labels.
        reading: of the modulation rate.
    """

    values: dict[str, dict[str, np.ndarray]]
    right: np.ndarray | None
    reading: Reading


def clipwise(
    table: Sequence[Row],
    seen: Observations,
    subject: Observed,
    *,
    groups: np.ndarray,
    labels: np.ndarray | None,
    seed: int,
) -> Clipwise:
    """Everything of one subject.

    Args:
        table: the rows.
        seen: of all subjects.
        subject: which of them.
        groups: of clips that belong together, shape (n,).
        labels: classes, shape (n,); None leaves flips out.
        seed: of the probes' folds and halves.
    """
    clean = subject.reference.clip
    right, changed = (None, {}) if labels is None else decisions(clean, subject.clip, labels, groups, seed)
    controls = [row.key for row in table if row.family == "control"]
    strengths = np.stack([seen.decibel[key] for key in controls])
    values = {}
    for row in table:
        found = dict(subject.measures[row.key])
        if row.family != "control":
            for measure, at_rest in AT_REST.items():
                curve = np.stack([subject.measures[key][measure] for key in controls])
                found[f"control_{measure}"] = control_at(seen.decibel[row.key], strengths, curve, at_rest)
            found["excess"] = found["distance"] - found["control_distance"]
            found["timestamps_excess"] = found["timestamps_distance"] - found["control_timestamps_distance"]
        if row.key in changed:
            found["flips"] = changed[row.key]
        values[row.key] = found
    played = np.stack([subject.clip[f"AM {hertz:g} Hz"] for hertz in RATES])
    return Clipwise(values, right, Reading.of(played, clean, groups, seed))
