"""The device that a model runs on: from a name such as "auto" or "cuda:1"."""

from __future__ import annotations

import platform
from pathlib import Path

import torch
from torch import Tensor

from aasp.errors import AaspError
from aasp.tracing import is_traced

NAMES = ("auto", "cpu", "cuda", "mps")


def device_of(name: str | torch.device) -> torch.device:
    """A device of this machine by its name.

    Args:
        name: "auto" is a GPU if there is one (CUDA before Apple's), else the CPU; "cpu"; "cuda" or "mps" is the first
            such device; "cuda:1" is the second. A `torch.device` of another kind is returned unchanged.

    Raises:
        AaspError: there is no such device, or this machine does not have it.
    """
    if isinstance(name, torch.device) and name.type not in NAMES:
        return name
    if not isinstance(name, str | torch.device):
        raise AaspError(f"no such device: {name!r}; give {', '.join(NAMES)}, or one of several as in 'cuda:1'")
    name = str(name)
    kind, colon, number = name.strip().lower().partition(":")
    if kind not in NAMES or (colon and (kind == "auto" or not number.isdecimal())):
        raise AaspError(f"no such device: {name}; give {', '.join(NAMES)}, or one of several as in cuda:1")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind == "auto":
        kind = next(one for one in ("cuda", "mps", "cpu") if there[one])
    if int(number or 0) >= there[kind]:
        named = [f"{one}:{place}" for one in ("cuda", "mps") for place in range(there[one])]
        found = f"this machine has {', '.join(['cpu', *named])}"
        why = "" if there[kind] or kind == "cpu" else ", or this torch is not built for it"
        raise AaspError(f"no device {name}: {found}{why}; choose another, or auto")
    return torch.device(f"{kind}:{number}" if number and kind != "cpu" else kind)


def copied(tensor: Tensor, device: torch.device) -> Tensor:
    """A host tensor on a device, through pinned memory on CUDA, so that the host does not wait; or unchanged if there.

    Elsewhere the host waits: a copy to Apple's GPUs that does not is wrong if the host's tensor is freed before it
    (pytorch/pytorch#189690).
    """
    if device.type != "cuda" or tensor.device.type != "cpu" or is_traced():
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def model_of(device: torch.device) -> str:
    """The kind and the model of a device, as in `cuda NVIDIA H200` or `cpu AMD EPYC 9B14`."""
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{device.type} {next(named, '') or platform.processor() or platform.machine()}"
