"""The output of an objective, checked once more than its type says: a user's own method may return anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from aasp.errors import AaspError


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
