"""Interface of what the training loop trains. Its output is also checked: a user's own method may return anything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from aasp.errors import AaspError


class Objective(nn.Module, ABC):
    """The trained object: a module whose `forward` is the training step.

    Parameters that are not trained (a teacher's) have ``requires_grad`` False and are part of the state dict.
    """

    @abstractmethod
    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        """Losses of one batch.

        Args:
            batch: tensors by name, from the training's batches.
            diagnose: also compute diagnostics; True at log and checkpoint steps.

        Returns:
            "loss", which is minimised; "losses", each loss by name; "diagnostics" by name; all 0-d tensors.
        """

    def after_step(self, schedules: Mapping[str, float]) -> None:
        """Called after the optimizer's step, for example to update a teacher. `schedules` has this step's values by
        name."""

    def gradient_diagnostics(self) -> dict[str, Tensor]:
        """Metrics computed at log steps between backward and the optimizer's step, 0-d tensors by name."""
        return {}

    def learning_rate_share(self, name: str) -> float:
        """The learning-rate factor of the parameter of this name."""
        return 1.0

    def check_health(self, metrics: Mapping[str, float]) -> str | None:
        """A reason to stop training, given a logged step's metrics by name (``loss``, ``losses/x``); None if there is
        none."""
        return None


def checked(output: Any, name: str) -> dict[str, Any]:
    """An objective's output, in which `losses` and `diagnostics` that it leaves out are empty.

    Args:
        output: what its `forward` returned.
        name: of its class, for messages.

    Raises:
        AaspError: there is no loss with a gradient, or a value is not a 0-d tensor.
    """
    if not isinstance(output, Mapping) or "loss" not in output:
        given = "a dict without loss" if isinstance(output, Mapping) else _kind(output)
        raise AaspError(f"{name}: forward returns {given}; return a dict with loss, losses and diagnostics")
    output = {"losses": {}, "diagnostics": {}} | dict(output)
    for group in ("losses", "diagnostics"):
        if not isinstance(output[group], Mapping):
            raise AaspError(f"{name}: {group} is {_kind(output[group])}; return a dict of 0-d tensors by name")
    named = {"loss": output["loss"]}
    named |= {f"{group} {key}": one for group in ("losses", "diagnostics") for key, one in output[group].items()}
    for what, value in named.items():
        if not isinstance(value, Tensor) or value.dim():
            raise AaspError(f"{name}: {what} is {_kind(value)}; return a 0-d tensor")
    if not output["loss"].requires_grad:
        raise AaspError(f"{name}: loss has no gradient; don't detach it, and compute it outside torch.no_grad()")
    return output


def _kind(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"of type {type(value).__name__}"
