"""Distribution of crops when the number of processes changes: each crop exactly once.

A global sequence of crops is distributed round-robin to N processes. Each advances at its own pace, because crops that
can't be decoded are skipped. The remainder is then distributed to M processes: first the crops that slower processes
have not reached, then the rest.
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
        first: every index from this one on remains.
        left: remaining indices before `first`; they come first.
    """

    first: int = 0
    left: tuple[int, ...] = ()

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Order:
        """Read the order from the state of a pipeline."""
        first, left = state.get("order", (0, ()))
        return cls(first, tuple(left))

    def document(self) -> dict[str, Any]:
        """The entry for the state of a pipeline, JSON-able; empty if the sequence was never redistributed."""
        return {} if self == Order() else {"order": [self.first, list(self.left)]}

    def __getitem__(self, place: int) -> int:
        """Index in the global sequence of the item at `place`, counted from 0."""
        return self.left[place] if place < len(self.left) else self.first + place - len(self.left)

    def after(self, taken: Sequence[int]) -> Order:
        """The remaining part after distribution to several processes, of which each took `taken[rank]` items."""
        world = len(taken)
        done = {rank + world * count for rank, own in enumerate(taken) for count in range(min(taken), own)}
        # All items before `fewest` are done, and none from `most` on.
        fewest, most = world * min(taken), world * max(taken)
        left = tuple(self[place] for place in range(fewest, max(most, len(self.left))) if place not in done)
        return Order(self[max(most, len(self.left))], left)


class Dealt(grain.MapDataset):
    """One process's part of the remaining sequence.

    Args:
        parent: the global sequence.
        order: its remaining part.
        rank, world: rank of the process, and number of processes.
    """

    def __init__(self, parent: grain.MapDataset, order: Order, rank: int, world: int) -> None:
        super().__init__(parent)
        self._order, self._rank, self._world = order, rank, world

    def __len__(self) -> int:
        return (len(self._parent) - self._order.first) // self._world

    def __getitem__(self, index: Any) -> Any:
        return self._parent[self._order[self._rank + self._world * index]]
