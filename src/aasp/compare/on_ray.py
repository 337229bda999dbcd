"""Cells as tasks of a Ray cluster, which schedules them and retries if a worker or a node is lost.

Ray only starts workers: the folder records finished, failed and running cells, as without Ray. A retried cell resumes
from its last checkpoint. Source: ours.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from aasp import cluster
from aasp.compare.cells import Cell, Listen, Outcome, Say, Train, Work, outcome_of, work
from aasp.compare.folder import Folder
from aasp.errors import AaspError

DIED = f"its worker died, {1 + cluster.RETRIES} times"


def workers(engine: Literal["here", "ray"], device: str, threads: int | None = None) -> Work:
    """The function that works on cells: in this process, or on Ray's workers.

    Args:
        engine: which of the two.
        device: a name as in `aasp.devices`.
        threads: torch threads, and cores, of each Ray worker; those of this process if omitted.

    Raises:
        AaspError: Ray is not available, or its cluster has no such device.
    """
    if engine == "here":
        return work
    return OnRay(cluster.gpus(device), torch.get_num_threads() if threads is None else threads)


@dataclass(frozen=True)
class OnRay:
    """`aasp.compare.cells.work` with one Ray task per cell.

    Attributes:
        gpu: whether each task has a GPU.
        threads: torch threads, and cores, of each task.
    """

    gpu: bool
    threads: int

    def __call__(
        self, cells: Sequence[Cell], folder: Folder, *, train: Train, listen: Listen, say: Say = print
    ) -> Outcome:
        ray = cluster.connect()
        task = ray.remote(_one).options(
            num_cpus=self.threads, num_gpus=int(self.gpu), max_retries=cluster.RETRIES, retry_exceptions=False
        )
        left = [cell for cell in cells if not cell.done(folder.trained(cell.name, cell.seed))]
        shared = ray.put((folder, train, listen))  # once, not for each cell
        at = {task.remote(cell, shared, self.threads, os.getcwd()): cell for cell in left}
        say(f"{len(at)} cells on Ray, {self.threads} cores{' and a GPU' * self.gpu} each")
        while at:
            (ready,), _ = ray.wait(list(at))
            cell = at.pop(ready)
            try:
                lines, code = ray.get(ready)
            except ray.exceptions.RayTaskError as error:  # caused by the data or the machine: every cell would fail
                for one in at:
                    ray.cancel(one)
                cause = error.cause
                raise (
                    cause if isinstance(cause, AaspError | OSError) else AaspError(cluster.ray_failure(error))
                ) from None
            except ray.exceptions.RayError:
                folder.trained(cell.name, cell.seed).fail(DIED)
                lines, code = [f"failed: {cell.place}: {DIED}"], 0
            for line in lines:
                say(line)
            if code:
                return outcome_of(cells, folder, [], code)
        return outcome_of(cells, folder, left)


def _one(cell: Cell, shared: tuple[Folder, Train, Listen], threads: int, place: str) -> tuple[list[str], int]:
    """Work on one cell in the caller's folder; return its output lines and the exit code."""
    if not os.path.isdir(place):
        raise AaspError(f"no such folder on a node of the cluster: {place}; all nodes have to see it")
    os.chdir(place)
    torch.set_num_threads(threads)
    lines: list[str] = []
    folder, train, listen = shared
    outcome = work([cell], folder, train=train, listen=listen, say=lines.append)
    return lines, outcome.exit_code
