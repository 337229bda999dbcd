"""The random state of a process as plain tensors: torch (host and accelerator), numpy's global generator, Python's."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor


def seed(value: int) -> None:
    """Seed all random generators of the process."""
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of every generator that code running on `device` may draw from.

    Returns:
        ``torch`` (and ``cuda`` or ``mps``) uint8; ``python`` int64 (625,); ``numpy`` int64 (626,): key, position,
        whether a Gaussian is cached; ``gaussians`` float64 (2,): the ones cached by Python (NaN: none) and by numpy.
    """
    _, python, python_gaussian = random.getstate()
    twister = np.random.get_state(legacy=False)
    kept = [float("nan") if python_gaussian is None else python_gaussian, twister["gauss"]]
    state = {
        "torch": torch.get_rng_state(),
        "python": torch.tensor(python, dtype=torch.int64),
        "numpy": torch.tensor(
            [*twister["state"]["key"].tolist(), twister["state"]["pos"], twister["has_gauss"]], dtype=torch.int64
        ),
        "gaussians": torch.tensor(kept, dtype=torch.float64),
    }
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Restore every generator to a state from `random_state`, which may be without an accelerator's."""
    python_gaussian, numpy_gaussian = state["gaussians"].tolist()
    kept = None if np.isnan(python_gaussian) else python_gaussian
    random.setstate((3, tuple(state["python"].tolist()), kept))
    *key, position, has_gaussian = state["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(key, dtype=np.uint32), position, has_gaussian, numpy_gaussian))
    torch.set_rng_state(state["torch"])
    if device.type in state:
        torch.get_device_module(device).set_rng_state(state[device.type], device)
