"""Numbers with intervals: clips without a value are left out and counted out, what is undefined is None."""

from __future__ import annotations

import numpy as np
import pytest

from aasp.aliasing.stability.document import families, leads, mean_of, of_families, of_reading
from aasp.aliasing.stability.measure import Embedded, Observed
from aasp.aliasing.stability.perturbations import Row, rows

NAMES = ("cosine", "distance", "control_distance", "excess")
GROUPS = np.arange(6)


def observed(table: list[Row], distance: float, control: float) -> Observed:
    """Clips that each row moves by about `distance`, of which the last has no control."""
    scale = np.array([0.5, 1.0, 1.5, 1.0, 1.0, 1.0])
    values = {}
    for row in table:
        controls = np.where(GROUPS == 5, np.nan, control * scale)
        moved = distance * scale
        values[row.key] = dict(zip(NAMES, (1 - moved, moved, controls, moved - controls), strict=True))
    nothing = np.zeros((8, 6), dtype=int)
    return Observed(Embedded(*np.zeros((3, 6, 1))), values=values, reading={"alone": nothing, "compared": nothing})


TABLE = [row for row in rows(3.125, 2.5) if row.family != "control"]


def test_clips_without_a_value_are_left_out() -> None:
    found = mean_of(np.array([1.0, 2.0, 3.0, np.nan]), np.arange(4))
    assert found is not None
    assert (found["estimate"], found["clips"]) == (2.0, 3)
    assert mean_of(np.array([1.0, np.nan]), np.arange(2)) is None
    assert mean_of(np.array([1.0, 2.0]), np.array(["a", "a"])) is None


def test_paired_differences_are_of_clips_that_both_have() -> None:
    found = mean_of(np.array([1.0, 2.0, np.nan]), np.arange(3), minus=np.array([0.5, 1.5, 9.0]))
    assert found == {"estimate": pytest.approx(0.5), "low": None, "high": None, "clips": 2}, "too few"


def test_families_are_means_over_rows_and_ratios_over_known_controls() -> None:
    found = of_families(TABLE, observed(TABLE, 0.6, 0.2).values, GROUPS)
    assert list(found) == list(families(TABLE))
    assert found["fast AM"]["distance"]["estimate"] == pytest.approx(0.6)
    assert found["fast AM"]["excess"]["clips"] == 5
    assert found["fast AM"]["ratio"] == {
        "estimate": pytest.approx(3), "low": None, "high": None, "clips": 5
    }, "five clips are too few"  # fmt: skip


def test_an_encoder_that_the_control_does_not_move_has_no_ratio() -> None:
    assert of_families(TABLE, observed(TABLE, 0.6, 0.0).values, GROUPS)["shift"]["ratio"] is None


def test_leads_are_differences() -> None:
    found = leads(TABLE, observed(TABLE, 0.6, 0.2), observed(TABLE, 0.5, 0.25), GROUPS)
    shift = found["families"]["shift"]
    assert shift["distance"]["estimate"] == pytest.approx(0.1)
    assert shift["ratio"]["estimate"] == pytest.approx(1)
    assert found["alone"]["estimate"] == 0


def test_reading_counts_confusions() -> None:
    answers = np.tile(np.arange(8)[:, None], (1, 6))
    answers[2, :3] = 5
    found = of_reading({"alone": answers, "compared": answers}, GROUPS)
    assert found["alone"]["estimate"] == pytest.approx((8 * 6 - 3) / 48)
    assert found["by_rate"][2]["estimate"] == 0.5
    assert found["confusion"][2] == [0, 0, 3, 0, 0, 3, 0, 0]
