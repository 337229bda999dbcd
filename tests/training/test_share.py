"""The division of a step's clips when the number of processes changes."""

from __future__ import annotations

from typing import Any

import pytest

from aasp.errors import AaspError
from aasp.training.share import Share, share


def saved(processes: int, clips: int, **more: Any) -> dict[str, Any]:
    return {"processes": [{"data": {"made_with": {"batch": clips}}}] * processes, **more}


def test_a_new_run() -> None:
    assert share(32, 1, 2) == Share(16, 1)
    assert share(32, 4, 2) == Share(16, 4)
    with pytest.raises(AaspError, match=r"data.batch is 32, for 3 processes; give a multiple of 3"):
        share(32, 1, 3)
    with pytest.raises(AaspError, match=r"optimizer.accumulate is 3, for 16 clips a process; give a divisor of 16"):
        share(32, 3, 2)
    with pytest.raises(AaspError, match=r"batch is 7, for 2 processes; give a multiple of 2"):
        share(7, 1, 2, field="batch")


@pytest.mark.parametrize(
    ("before", "processes", "clips", "micro_batches"),
    [
        (saved(2, 16), 2, 16, 1),  # as before
        (saved(2, 16), 1, 32, 2),  # as much at a time, twice as often
        (saved(1, 32), 2, 16, 1),
        (saved(1, 32, micro_batches=4), 2, 16, 2),
        (saved(2, 16, micro_batches=2), 1, 32, 4),
        (saved(3, 11), 3, 11, 1),  # a batch that was changed stays so
        (saved(4, 8), 4, 8, 1),  # whatever the recipe accumulates
    ],
)
def test_the_step_and_the_micro_batch_stay(
    before: dict[str, Any], processes: int, clips: int, micro_batches: int
) -> None:
    found = share(32, 4, processes, before)
    assert (found.clips, found.micro_batches) == (clips, micro_batches)
    assert not any("warning" in line for line in found.notes)
    assert len(found.notes) == (processes != len(before["processes"]))


def test_a_step_that_cannot_stay_is_noted() -> None:
    found = share(32, 1, 3, saved(2, 16))
    assert (found.clips, found.micro_batches) == (11, 1)
    assert found.notes == (
        "processes: 3, were 2; each computes 11 clips per step, 11 at a time",
        "warning: a step has 33 clips now, not 32: 3 processes cannot divide these",
    )


def test_dependence_on_micro_batches_is_one_warning() -> None:
    across = ("a clip is distinguished from the others", "the codebook learns")
    message = f"{across[0]} and {across[1]} within micro-batches of 8 clips, not over all 32"
    assert share(32, 4, 1, across=across).notes == (f"warning: {message}",) == share(32, 4, 2, across=across).notes
    assert share(32, 1, 1, across=across).notes == () == share(32, 4, 1).notes


def test_a_clip_that_would_be_alone() -> None:
    assert share(4, 4, 1).micro_batches == 4
    with pytest.raises(
        AaspError, match=r"optimizer.accumulate is 4, for 4 clips: the target is standardised over a mic"
    ):
        share(4, 4, 1, across=("the target is standardised",))
    assert share(2, 1, 1, saved(2, 1), across=("the target is standardised",)).micro_batches == 1


def test_a_damaged_state_is_one_line() -> None:
    with pytest.raises(AaspError, match=r"damaged checkpoint: its state.json is incomplete"):
        share(32, 1, 1, {"processes": [{}]})
