"""The environment of a run: recorded at every start, and compared when the run is resumed."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

import aasp
from aasp.files import atomic_write
from aasp.parts import own_code
from aasp.training.tracking import read_starts

PACKAGES = ("numpy", "accelerate", "grain", "soundfile", "soxr", "safetensors")
OWN_CODE = "own_code"
"""The hash of a user's own parts, if there are any."""
DECISIVE = ("torch", "machine", "threads", "processes", "device", "precision")  # what the last bits depend on


def describe(engine: Accelerator, precision: str) -> dict[str, Any]:
    """Versions, machine, threads, device, precision, and the commit if the package runs from a git checkout."""
    device = engine.device
    return {
        "aasp": aasp.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "system": platform.platform(),
        "machine": platform.machine() + (f" {torch.backends.cpu.get_cpu_capability()}" if device.type == "cpu" else ""),
        "threads": torch.get_num_threads(),
        "processes": engine.num_processes,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": precision,
    }


def record(path: Path, step: int, environment: dict[str, Any]) -> list[str]:
    """Add a start at `step` to the file's list of starts.

    Returns:
        The changes since the previous start, such as ``threads: 1, was 2``, and OWN_CODE. With any of them, losses
        differ from those of an uninterrupted run; in the last bits only, unless OWN_CODE is among them.
    """
    starts = read_starts(path)
    changed = []
    if starts:
        before = starts[-1]
        changed = [
            f"{name}: {environment[name]}, was {before.get(name)}"
            for name in DECISIVE
            if environment[name] != before.get(name)
        ]
        if OWN_CODE in before and environment.get(OWN_CODE) != before[OWN_CODE]:
            changed.append(OWN_CODE)
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    start = {"step": step, "time": when, "command": sys.argv, "folder": os.getcwd(), **environment}
    with atomic_write(path) as beside:
        beside.write_text(json.dumps([*starts, start], indent=1) + "\n")
    return changed


def own_code_fact(config: object) -> dict[str, str]:
    """OWN_CODE of a configuration, for a start's record; empty if all of its parts are ours."""
    own = own_code(config)
    return {OWN_CODE: own[:16]} if own else {}


def commit() -> str | None:
    """Hash of the commit that the package runs from; None outside a git checkout."""
    folder = Path(aasp.__file__).parent
    requested = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        tracked = subprocess.run([*requested[:3], "ls-files", "--error-unmatch", "__init__.py"], capture_output=True)
        answer = subprocess.run(requested, capture_output=True, text=True)
    except OSError:
        return None  # no git on this machine
    return answer.stdout.strip() if tracked.returncode == answer.returncode == 0 else None
