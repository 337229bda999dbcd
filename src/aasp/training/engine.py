"""The machine a run is on: processes and devices through accelerate."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, distributed

from aasp.devices import device_of
from aasp.errors import AaspError
from aasp.training import peers

SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # of a group, as launchers set it


def accelerator(device: str = "auto") -> Accelerator:
    """Join the processes that torchrun or `accelerate launch` started, or be the only one.

    Mixed precision is not left to accelerate: it would rewrite the objective's `forward` (see
    `aasp.training.precision`). It must be set that there are only CPUs: processes would else not join, but each
    train on its own.

    Args:
        device: where, as `aasp.devices` names them; of several processes on GPUs each has its own.

    Raises:
        AaspError: this machine has no such device, several processes are to share one, or one was started of several.
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
    """Join the others after torchrun has started all of them again.

    torchrun keeps its store, where torch would find the addresses of the processes before, and wait for those.
    """
    environment = os.environ
    place = (environment["MASTER_ADDR"], int(environment["MASTER_PORT"]))
    kept = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    rank, world = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    store = distributed.TCPStore(*place, is_master=not kept and rank == 0, wait_for_workers=False)
    attempt = distributed.PrefixStore(f"attempt {environment['TORCHELASTIC_RESTART_COUNT']}", store)
    distributed.init_process_group(backend, store=attempt, rank=rank, world_size=world)


def leave() -> None:
    """Leave the group of processes, if there is one: a process that ends inside it may be aborted by its threads."""
    peers.leave()
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def to_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Move a batch's floating-point tensors; counts and lengths stay on the host, where they are read without waiting.

    On the host they are copied: numpy aligns memory to 16 bytes, torch to 64, and the last bits of MKL's results
    depend on the alignment, which chance would decide again in every run.
    """
    moved = dict(batch)
    for name, value in batch.items():
        if isinstance(value, Tensor) and value.is_floating_point():
            if device.type == "cuda":
                moved[name] = value.pin_memory().to(device, non_blocking=True)
            else:
                moved[name] = value.to(device, copy=True)
    return moved


def gatherer(machine: Accelerator) -> Callable[[Tensor], tuple[Tensor, int]]:
    """A function that joins a tensor over all processes along its first dimension; gradients flow back to each.

    It also says where in the whole this process's own part begins. Its backward sums the processes' gradients: where
    each process computes a part of a mean from what was joined, the parameters have, once DDP has averaged, the
    gradient that one process with the whole batch would compute.
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
