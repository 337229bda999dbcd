"""Processes and devices of a run, through accelerate."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, distributed

from aasp.devices import copied, device_of
from aasp.errors import AaspError
from aasp.training import peers

SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # set by launchers


def accelerator(device: str = "auto") -> Accelerator:
    """Join the process group that torchrun or `accelerate launch` started, or run as a single process.

    Mixed precision is not left to accelerate: it would rewrite the objective's `forward` (see
    `aasp.training.precision`). accelerate needs ``cpu=True`` where there are only CPUs: otherwise the processes would
    not form a group, and each would train on its own.

    Args:
        device: a name as in `aasp.devices`; with several processes on GPUs, each uses its own GPU.

    Raises:
        AaspError: this machine has no such device, several processes are to share one, or only one of several
            processes was started.
    """
    place = device_of(device)
    if place.index is not None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise AaspError(f"--device {device} with several processes, each of which uses its own; give {place.type}")
        os.environ["ACCELERATE_TORCH_DEVICE"] = str(place)
    nothing_else = place.type == "cpu" and (device == "cpu" or not torch.accelerator.is_available())
    if "MASTER_ADDR" in os.environ and "ACCELERATE_USE_CPU" in os.environ and not set(SIZES) & set(os.environ):
        text = "accelerate launch started only one process, as it does on CPUs"
        raise AaspError(f"{text}; add --multi_gpu, which starts several on CPUs too, or use torchrun")
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) and not distributed.is_initialized():
        _join_again("gloo" if nothing_else else None)
    machine = Accelerator(mixed_precision="no", cpu=nothing_else)
    atexit.register(leave)
    peers.watch()
    return machine


def _join_again(backend: str | None) -> None:
    """Join the process group after torchrun has restarted all processes.

    torchrun keeps its store, in which torch would find the addresses of the previous processes and wait for them.
    """
    environment = os.environ
    place = (environment["MASTER_ADDR"], int(environment["MASTER_PORT"]))
    kept = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    rank, world = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    store = distributed.TCPStore(*place, is_master=not kept and rank == 0, wait_for_workers=False)
    attempt = distributed.PrefixStore(f"attempt {environment['TORCHELASTIC_RESTART_COUNT']}", store)
    distributed.init_process_group(backend, store=attempt, rank=rank, world_size=world)


def leave() -> None:
    """Destroy the process group, if there is one: a process that exits without this may be aborted by its threads."""
    peers.leave()
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def to_device(batch: Mapping[str, Any], device: torch.device) -> Mapping[str, Any]:
    """Move a batch's floating-point tensors; counts and lengths stay on the host, where reading them needs no wait.

    On a CPU device they are copied: numpy aligns memory to 16 bytes, torch to 64, and the last bits of MKL's results
    depend on the alignment, which would otherwise vary from run to run.
    """
    moved = dict(batch)
    for name, value in batch.items():
        if isinstance(value, Tensor) and value.is_floating_point():
            moved[name] = value.to(device, copy=True) if device.type == "cpu" else copied(value, device)
    # DDP and FSDP move every tensor in a dict, list or tuple to the GPU, also lengths. They leave this type as it is.
    return MappingProxyType(moved)


def gatherer(machine: Accelerator) -> Callable[[Tensor], tuple[Tensor, int]]:
    """A function that concatenates a tensor over all processes along its first dimension, with gradients.

    It also returns the offset of this process's own part. The backward pass sums the gradients of the processes: where
    each process computes its part of a mean from the gathered tensor, the parameters have, after DDP's averaging, the
    same gradient as a single process with the whole batch.
    """
    if machine.num_processes == 1:
        return lambda tensor: (tensor, 0)
    return lambda tensor: (_Gather.apply(tensor), machine.process_index * len(tensor))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size())[distributed.get_rank()]
