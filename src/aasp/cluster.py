"""Ray, where it is installed: connected to once, its errors as ours. Scheduling, retries and objects are its own."""

from __future__ import annotations

import logging
from types import ModuleType

import aasp
from aasp.errors import AaspError

RETRIES = 2
"""Times that a task is tried again after its worker died, or its node was lost."""


def connect() -> ModuleType:
    """Ray, connected to the cluster that RAY_ADDRESS or `ray start` names, or to one of its own on this machine.

    Raises:
        AaspError: it is not installed, or the cluster does not answer.
    """
    try:
        import ray
    except ImportError:
        raise AaspError("--engine ray: Ray is not installed; pip install 'aasp-audio[ray]'") from None
    if not ray.is_initialized():
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            ray_failure = " ".join(str(error).split())
            raise AaspError(
                f"--engine ray: no cluster: {ray_failure}; see RAY_ADDRESS, or unset it to use this machine"
            ) from None
    return ray


def ray_failure(error: Exception) -> str:
    """A failure of Ray's own in one line: the last of its message, which says what it was."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"--engine ray: {lines[-1]}; all nodes need this version of aasp, {aasp.__version__}, and see the same files"


def gpus(device: str) -> bool:
    """Whether tasks are to run on GPUs: as asked, or where the cluster has some.

    Args:
        device: auto, cpu or cuda; Ray says which GPU a task has.

    Raises:
        AaspError: another device, or the cluster has no GPU.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise AaspError(f"--device {device} with --engine ray: Ray gives each worker its GPU; take auto, cpu or cuda")
    there = connect().cluster_resources().get("GPU", 0) >= 1
    if device == "cuda" and not there:
        raise AaspError("--device cuda with --engine ray: the cluster has no GPU; take cpu, or add a node with one")
    return there and device != "cpu"
