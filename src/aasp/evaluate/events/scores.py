"""Scores of event detection: segment-based and event-based F1, counted as sed_eval counts them.

sed_eval itself needs `pkg_resources`, which setuptools no longer has, and librosa (docs/decisions): these few lines
replace it, and a test compares them with its recorded values. K classes; counts are (3, K): hits, false alarms, misses.
Source: Mesaros, Heittola & Virtanen 2016, "Metrics for polyphonic sound event detection".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from aasp.datasets.events import Event

SEGMENT = 1.0
"""Seconds of a segment."""
COLLAR, SHARE = 0.2, 0.2
"""Tolerance of onsets and offsets in seconds; offsets: or, if that is more, this share of the event's length."""


def segment_counts(
    truth: Sequence[Event], predicted: Sequence[Event], classes: Sequence[str], seconds: float
) -> np.ndarray:
    """Hits, false alarms and misses of each class (3, K) over a sound's segments; an event is in all it overlaps."""
    there, detected = (_segments(events, classes, seconds) for events in (truth, predicted))
    return np.stack([(there & detected).sum(0), (~there & detected).sum(0), (there & ~detected).sum(0)])


def event_counts(truth: Sequence[Event], predicted: Sequence[Event], classes: Sequence[str]) -> np.ndarray:
    """Hits, false alarms and misses of each class (3, K) over a sound's events, by a maximum matching."""
    counts = np.zeros((3, len(classes)), dtype=np.int64)
    for k, name in enumerate(classes):
        ours, theirs = ([one for one in events if one.label == name] for events in (truth, predicted))
        hits = 0
        if ours and theirs:
            near = [[_near(a, b) for b in theirs] for a in ours]
            hits = int((maximum_bipartite_matching(csr_matrix(near)) >= 0).sum())
        counts[:, k] = hits, len(theirs) - hits, len(ours) - hits
    return counts


def micro_f1(counts: np.ndarray) -> float:
    """F1 over the counts (3, K) of all classes together; NaN if there is no event and none was detected."""
    hits, alarms, misses = counts.sum(1)
    whole = 2 * hits + alarms + misses
    return float(2 * hits / whole) if whole else math.nan


def macro_f1(counts: np.ndarray) -> float:
    """Mean F1 of the classes that occur, since F1 is meaningless for the others; NaN if none occurs."""
    hits, alarms, misses = counts
    there = hits + misses > 0
    f1 = 2 * hits[there] / (2 * hits + alarms + misses)[there]
    return float(f1.mean()) if there.any() else math.nan


def _segments(events: Sequence[Event], classes: Sequence[str], seconds: float) -> np.ndarray:
    place = {name: k for k, name in enumerate(classes)}
    rows = np.zeros((math.ceil(seconds / SEGMENT), len(classes)), dtype=bool)
    for one in events:
        first, last = (round(at / SEGMENT, 5) for at in (one.start, one.end))  # edges from fp32: 32 s can be 32.000001
        rows[math.floor(first) : math.ceil(last), place[one.label]] = True
    return rows


def _near(truth: Event, predicted: Event) -> bool:
    reach = max(COLLAR, SHARE * (truth.end - truth.start))
    return abs(truth.start - predicted.start) <= COLLAR and abs(truth.end - predicted.end) <= reach
