"""Skipped steps: a step whose loss or gradient is not finite changes nothing and is counted; three in a row stop a run.

Everything is decided on the device, so that no step waits for it. After `LIMIT` bad steps in a row all further steps
are skipped, until the next check stops the run. A skipped step does not change weights, the optimizer's state and the
buffers that a forward pass updates (batch normalisation, centres, codebooks). Schedules, random state, a teacher's
moving average and the position of the data iterator advance as usual.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from accelerate import Accelerator
from torch import Tensor, nn

LIMIT = 3


class Skipping:
    """Decides which steps are skipped.

    Args:
        module: the module being trained.
        machine: processes and devices; all processes skip the same steps.
        before: what `state` returned in the checkpoint that a run resumes from.
    """

    def __init__(self, module: nn.Module, machine: Accelerator, before: Mapping[str, int]) -> None:
        saved = module.state_dict().keys()
        self._buffers = [b for name, b in module.named_buffers() if name in saved and b.is_floating_point()]
        self._machine = machine
        counts = [before.get(name, 0) for name in ("skipped", "in_a_row")]
        self._skipped, self._row = torch.tensor(counts, device=machine.device).unbind()
        self._broken = self._row >= LIMIT

    def begin(self) -> None:
        """Save the buffers; call this before the forward pass."""
        self._kept = [buffer.clone() for buffer in self._buffers]

    def judge(self, loss: Tensor, norm: Tensor) -> Tensor:
        """Whether the step is to be skipped, a 0-d bool tensor on the device; call this after the backward pass.

        Args:
            loss: the loss of this process, 0-d.
            norm: the gradient norm, 0-d.
        """
        bad = ~(torch.isfinite(loss.detach()) & torch.isfinite(norm))
        if self._machine.num_processes > 1:
            bad = self._machine.reduce(bad.float(), "sum") > 0
        bad = bad | self._broken
        self._skipped, self._row = self._skipped + bad, torch.where(bad, self._row + 1, 0)
        self._broken = self._row >= LIMIT
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            buffer.copy_(torch.where(bad, kept, buffer))
        return bad

    def broken(self, requested: bool) -> bool:
        """Whether there were `LIMIT` bad steps in a row. Only checked if `requested` or on a CPU; otherwise False."""
        return (requested or self._machine.device.type == "cpu") and bool(self._broken)

    def state(self) -> dict[str, int]:
        """Total steps "skipped", and current bad steps "in_a_row"; waits for the device."""
        return {"skipped": int(self._skipped), "in_a_row": int(self._row)}


def not_finite(values: Mapping[str, Tensor]) -> str:
    """The name of the first of a step's scalars that is not finite."""
    return next((name for name, value in values.items() if not torch.isfinite(value).all()), "the gradient")
