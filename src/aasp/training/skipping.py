"""Steps that are skipped: a loss or a gradient that is not finite changes nothing, is counted, and must stay rare.

Everything is decided on the device, so that no step waits for it. After `LIMIT` bad steps in a row nothing changes any
more; whoever looks then stops the run. What a skipped step leaves as it was: weights, the optimizer's state, and the
buffers that a forward pass moves (batch normalisation, centres, codebooks). Schedules, random state, a teacher's
average and the position in the data continue.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from accelerate import Accelerator
from torch import Tensor, nn

LIMIT = 3


class Skipping:
    """Judges steps.

    Args:
        module: what is trained.
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
        """Call it before the forward pass: buffers are remembered as they are."""
        self._kept = [buffer.clone() for buffer in self._buffers]

    def judge(self, loss: Tensor, norm: Tensor) -> Tensor:
        """Call it after the backward pass: whether the step is to be skipped, a 0-d tensor of bool on the device.

        Args:
            loss: 0-d, of this process.
            norm: of the gradient, 0-d.
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
        """Whether there were `LIMIT` bad steps in a row: False unless `asked`, or on a CPU, where looking is free."""
        return (requested or self._machine.device.type == "cpu") and bool(self._broken)

    def state(self) -> dict[str, int]:
        """Steps "skipped" in all, and bad ones "in_a_row" up to now; waits for the device."""
        return {"skipped": int(self._skipped), "in_a_row": int(self._row)}


def not_finite(values: Mapping[str, Tensor]) -> str:
    """The first of a step's scalars that is not finite, by name."""
    return next((name for name, value in values.items() if not torch.isfinite(value).all()), "the gradient")
