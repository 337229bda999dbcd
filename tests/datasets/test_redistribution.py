"""Crops dealt out again to another number of processes: none twice, none lost."""

from __future__ import annotations

import json

import hypothesis
import hypothesis.strategies as st
import pytest

from aasp.datasets.redistribution import Order


def taken_by(order: Order, taken: list[int]) -> list[int]:
    """The indices that processes have taken, given how many each took."""
    return [order[rank + len(taken) * count] for rank, own in enumerate(taken) for count in range(own)]


@hypothesis.given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=4), min_size=1, max_size=4))
def test_every_index_comes_once_however_often_the_number_of_processes_changes(rounds: list[list[int]]) -> None:
    order, seen = Order(), list[int]()
    for taken in rounds:
        seen += taken_by(order, taken)
        order = order.after(taken)
        assert Order.of(json.loads(json.dumps(order.document()))) == order
    seen += [order[place] for place in range(100 - len(seen))]
    assert sorted(seen) == list(range(100))


@pytest.mark.parametrize(
    ("taken", "order"),
    [([3, 3], Order(6)), ([3, 5], Order(10, (6, 8))), ([4], Order(4)), ([0, 0], Order())],
    ids=["in step", "one behind", "one process", "nothing"],
)
def test_rows_left_behind_come_first(taken: list[int], order: Order) -> None:
    assert Order().after(taken) == order
