"""Distribution of crops when the number of processes changes: each crop exactly once.

A global sequence of crops is dealt to N processes in turn, and each goes through its own at its own pace, since what
can't be decoded is passed over. What is left of it is then dealt to M: first what was left behind, then the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grain


@dataclass(frozen=True)
class Order:
    """The remaining part of a global sequence.

    Attributes:
        first: from this index on, everything is.
        left: indices before it that are, too; they come first.
    """

    first: int = 0
    left: tuple[int, ...] = ()

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Order:
        """Read it from the state of a pipeline."""
        first, left = state.get("order", (0, ()))
        return cls(first, tuple(left))

    def document(self) -> dict[str, Any]:
        """What to write in such a state, JSON-able; of a sequence that was never dealt out again, nothing."""
        return {} if self == Order() else {"order": [self.first, list(self.left)]}

    def __getitem__(self, place: int) -> int:
        """The index in the global sequence of what comes at a place, counted from 0."""
        return self.left[place] if place < len(self.left) else self.first + place - len(self.left)

    def after(self, taken: Sequence[int]) -> Order:
        """The remaining part after it was distributed to several processes in turn and each took so many."""
        world = len(taken)
        done = {rank + world * count for rank, own in enumerate(taken) for count in range(min(taken), own)}
        # Before `fewest` all is done; behind `most` nothing is.
        fewest, most = world * min(taken), world * max(taken)
        left = tuple(self[place] for place in range(fewest, max(most, len(self.left))) if place not in done)
        return Order(self[max(most, len(self.left))], left)


class Dealt(grain.MapDataset):
    """One process's part of what is still to come of a sequence.

    Args:
        parent: the global sequence.
        order: what of it is still to come.
        rank, world: the process, and how many there are.
    """

    def __init__(self, parent: grain.MapDataset, order: Order, rank: int, world: int) -> None:
        super().__init__(parent)
        self._order, self._rank, self._world = order, rank, world

    def __len__(self) -> int:
        return (len(self._parent) - self._order.first) // self._world

    def __getitem__(self, index: Any) -> Any:
        return self._parent[self._order[self._rank + self._world * index]]
