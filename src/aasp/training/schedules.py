"""Schedules as arrays: the value of a setting at every step, computed before training.

A step's value depends only on its index, so a resumed run follows the uninterrupted one exactly.
Arrays are float64 of shape (steps,); ``schedule[it]`` is the value at step ``it`` (counted from 0).
Sources: cosine with linear warm-up, Loshchilov & Hutter 2017 (SGDR) as in data2vec 2.0 and EAT; linear ramp of the
teacher's momentum, data2vec (Baevski et al. 2022), section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aasp.errors import AaspError
from aasp.training.optim import OptimizerConfig


def constant(value: float, steps: int) -> np.ndarray:
    """The same value at every step."""
    return np.full(steps, value, dtype=np.float64)


def warmup_cosine(peak: float, steps: int, *, warmup: int = 0, final: float = 0.0) -> np.ndarray:
    """Rise linearly to `peak` over the first `warmup` steps, then fall along half a cosine towards `final`.

    Step 0 has the value ``peak / warmup``, not zero; `final` would be reached one step after the last, so that no step
    has a learning rate of zero.
    """
    _check_span(steps, warmup, "warmup")
    it = np.arange(steps, dtype=np.float64)
    progress = np.clip((it - warmup) / max(steps - warmup, 1), 0.0, 1.0)
    cosine = final + 0.5 * (peak - final) * (1.0 + np.cos(np.pi * progress))
    return np.where(it < warmup, peak * (it + 1.0) / max(warmup, 1), cosine)


def ramp(start: float, end: float, steps: int, *, over: int) -> np.ndarray:
    """Change linearly from `start` at step 0 to `end` at step `over`, then stay at `end`."""
    _check_span(steps, over, "ramp")
    it = np.arange(steps, dtype=np.float64)
    return start + (end - start) * np.clip(it / max(over, 1), 0.0, 1.0) if over else constant(end, steps)


def _check_span(steps: int, span: int, what: str) -> None:
    assert steps >= 1, f"a schedule needs at least one step, not {steps}"
    assert 0 <= span <= steps, f"{what} of {span} steps does not fit into {steps} steps"


@dataclass(frozen=True)
class Schedules:
    """Values that change from step to step.

    Attributes:
        arrays: by name, each of shape (steps,): "learning_rate", "weight_decay", and the objective's schedules.
    """

    arrays: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        lengths = {name: len(array) for name, array in self.arrays.items()}
        assert len(set(lengths.values())) == 1, f"schedules differ in length: {lengths}"

    def __len__(self) -> int:
        return len(self.arrays["learning_rate"])

    def then(self, longer: Schedules) -> Schedules:
        """These schedules, continued after their last step by the values of `longer`."""
        return Schedules(
            {name: np.concatenate([ours, longer.arrays[name][len(ours) :]]) for name, ours in self.arrays.items()}
        )

    def at(self, it: int) -> dict[str, float]:
        """The value of every schedule at step `it`, by name."""
        return {name: float(array[it]) for name, array in self.arrays.items()}


def cosine_schedules(optimizer: OptimizerConfig, steps: int, own: Mapping[str, np.ndarray]) -> Schedules:
    """Schedules of a training: learning rate (linear warm-up, then cosine), weight decay (constant), and `own`.

    Raises:
        AaspError: `steps` is less than 1, or a schedule in `own` does not have one value per step.
    """
    if steps < 1:
        raise AaspError(f"steps is {steps}; give a number of at least 1")
    for name, array in own.items():
        if np.shape(array) != (steps,):
            raise AaspError(f"schedule {name!r}: shape {np.shape(array)} for {steps} steps; give a value for each")
    warmup = round(optimizer.warmup * steps)
    rates = {
        "learning_rate": warmup_cosine(optimizer.lr, steps, warmup=warmup, final=optimizer.final_lr),
        "weight_decay": constant(optimizer.weight_decay, steps),
    }
    return Schedules({**rates, **own})
