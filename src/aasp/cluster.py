"""Ray, where it is installed: connecting once, and its errors as ours. Ray does scheduling, retries and objects."""

from __future__ import annotations

import logging
from types import ModuleType

import aasp
from aasp.errors import AaspError

RETRIES = 2
"""How often a task is retried after its worker died or its node was lost."""


def connect() -> ModuleType:
    """Ray, connected to the cluster that RAY_ADDRESS or `ray start` names, or to a new one on this machine.

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
    """A failure inside Ray in one line: the last line of its message, which states the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"--engine ray: {lines[-1]}; all nodes need this version of aasp, {aasp.__version__}, and see the same files"


def gpus(device: str) -> bool:
    """Whether tasks run on GPUs: as requested, or for "auto" if the cluster has any.

    Args:
        device: auto, cpu or cuda; Ray assigns each task its GPU.

    Raises:
        AaspError: another device, or cuda where the cluster has no GPU.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise AaspError(f"--device {device} with --engine ray: Ray gives each worker its GPU; take auto, cpu or cuda")
    there = connect().cluster_resources().get("GPU", 0) >= 1
    if device == "cuda" and not there:
        raise AaspError("--device cuda with --engine ray: the cluster has no GPU; take cpu, or add a node with one")
    return there and device != "cpu"
