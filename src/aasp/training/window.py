"""Means of metrics between two log steps, summed on the device so that no step waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from aasp.training.fsdp import whole


class Window:
    """Sums of named scalars since the last log step. Its state is saved: a resumed run logs the same means."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start over."""
        self._names: list[str] = []
        self._sums: Tensor | None = None
        self._steps: Tensor | int = 0

    def add(self, values: Mapping[str, Tensor], skipped: Tensor) -> None:
        """Add one step's scalars, unless it was skipped; the names are the same at every step."""
        row = torch.where(skipped, 0.0, stack(values))
        if self._sums is None:
            self._names, self._sums = list(values), row
        else:
            assert self._names == list(values), f"measured {list(values)} after {self._names}"
            self._sums = self._sums.to(row.device) + row
        self._steps = self._steps + (~skipped).long()

    def means(self) -> dict[str, Tensor]:
        """The mean of each scalar over the window's steps, still on the device; NaN if all were skipped."""
        assert self._sums is not None
        return dict(zip(self._names, self._sums / self._steps, strict=True))

    def state(self) -> dict[str, Any]:
        """The state as JSON values; float32 values are preserved exactly."""
        sums = None if self._sums is None else self._sums.tolist()
        return {"names": self._names, "sums": sums, "steps": int(self._steps)}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._names, self._steps = state["names"], state["steps"]
        self._sums = None if state["sums"] is None else torch.tensor(state["sums"], dtype=torch.float32)


def stack(values: Mapping[str, Tensor]) -> Tensor:
    """Named scalars as one float32 vector."""
    return torch.stack([whole(value.detach()).float().reshape(()) for value in values.values()])


def fetch(values: Mapping[str, Tensor], engine: Accelerator) -> dict[str, float]:
    """The mean over processes of named scalars, on the host; waits for the device once."""
    if not values:
        return {}
    return dict(zip(values, engine.reduce(stack(values), "mean").tolist(), strict=True))
