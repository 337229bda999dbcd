"""Saving the state of a training to a checkpoint, and restoring it.

Tensors are stored by parameter name, in full: those that FSDP has sharded are gathered, and sharded again on restore.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from aasp.documents import as_written
from aasp.errors import AaspError
from aasp.training.checkpoint import Checkpoint, check_names, load
from aasp.training.fsdp import laid_out_as, whole
from aasp.training.optim import blank_state, named_states
from aasp.training.randomness import random_state, restore_random_state, seed
from aasp.training.window import Window


class Positioned(Protocol):
    """A stream whose position can be saved and restored, also from the states of another number of processes."""

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...

    def rejoin(self, states: Sequence[dict[str, Any]]) -> None: ...


@dataclass
class Progress:
    """Progress of a process: steps, its own clips and seconds of audio, time, its open log window, bad steps.

    `elapsed` is the time of the steps alone, in seconds: time in `paused` (saving) is not included.
    """

    step: int = 0
    clips: int = 0
    audio_seconds: float = 0.0
    elapsed: float = 0.0
    window: Window = field(default_factory=Window)
    bad_steps: Mapping[str, int] = field(default_factory=dict)
    _clock: float = field(default_factory=time.monotonic)

    def count(self, clips: int, audio_seconds: float) -> None:
        """Count one more step."""
        now = time.monotonic()
        self.step += 1
        self.clips += clips
        self.audio_seconds += audio_seconds
        self.elapsed, self._clock = self.elapsed + now - self._clock, now

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time spent in this context from `elapsed`."""
        began = time.monotonic()
        yield
        self._clock += time.monotonic() - began


def model_tensors(module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters and persistent buffers by name, as full tensors. Every process must call it."""
    return {name: whole(tensor) for name, tensor in module.state_dict().items()}


def capture(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    stream: Positioned,
    machine: Accelerator,
    fingerprint: str,
    history: Mapping[str, Any],
    micro_batches: int = 1,
) -> Checkpoint:
    """Everything that the remaining steps depend on. Every process must call it; the first saves the result."""
    own = {
        "data": stream.state(),
        "clips": progress.clips,
        "audio_seconds": progress.audio_seconds,
        "window": progress.window.state(),
        "bad_steps": progress.bad_steps,
    }
    processes = gather_object([(own, random_state(machine.device))])
    return Checkpoint(
        progress.step,
        model=model_tensors(module),
        optimizer={
            f"{name}/{moment}": whole(tensor)
            for name, _, state in named_states(optimizer)
            for moment, tensor in state.items()
        },
        random={f"{rank}/{name}": t for rank, (_, state) in enumerate(processes) for name, t in state.items()},
        state={
            "fingerprint": fingerprint,
            "elapsed": progress.elapsed,
            "processes": [state for state, _ in processes],
            **({"micro_batches": micro_batches} if micro_batches > 1 else {}),
            **({"history": dict(history)} if history else {}),
        },
    )


def restore(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    stream: Positioned,
    machine: Accelerator,
    fingerprint: str,
) -> Progress:
    """Restore module, optimizer, stream and random state from the checkpoint at `path`.

    Raises:
        AaspError: the checkpoint is damaged, or belongs to another run.
    """
    saved = load(path)
    try:
        found, elapsed, processes = (saved.state[key] for key in ("fingerprint", "elapsed", "processes"))
        states = [process["data"] for process in processes]
    except (KeyError, TypeError):
        raise AaspError(f"damaged checkpoint: {path / 'state.json'}: incomplete; move it away") from None
    if found != fingerprint:
        raise AaspError(f"checkpoint of another run: {path}; resume with its recipe and data, or start in a new --out")
    _restore_model(module, saved.model, path / "model.safetensors")
    _restore_optimizer(optimizer, saved.optimizer, path / "optimizer.safetensors")
    with as_written(path / "state.json", "move it away"):
        return _restore_process(saved, states, stream, machine, fingerprint, float(elapsed))


def _restore_process(
    saved: Checkpoint,
    states: Sequence[Any],
    stream: Positioned,
    machine: Accelerator,
    fingerprint: str,
    elapsed: float,
) -> Progress:
    """Restore a process's stream and random state, as far as possible if the number of processes has changed."""
    rank, processes = machine.process_index, saved.state["processes"]
    if rank < len(processes):
        random = {name.removeprefix(f"{rank}/"): t for name, t in saved.random.items() if name.startswith(f"{rank}/")}
        restore_random_state(random, machine.device)
    else:  # a process that the run did not have
        seed(int(sha256(f"{fingerprint} {saved.step} {rank}".encode()).hexdigest()[:15], 16))
    own = processes[min(rank, len(processes) - 1)]
    bad_steps = own.get("bad_steps", {})  # the same in all processes; missing in older checkpoints
    if len(processes) != machine.num_processes:
        stream.rejoin(states)
        total = lambda name: sum(process[name] for process in processes) if rank == 0 else 0
        so_far = Progress(saved.step, total("clips"), total("audio_seconds"), elapsed, bad_steps=bad_steps)
        return so_far  # with a new log window
    stream.restore(states[rank])
    progress = Progress(saved.step, own["clips"], own["audio_seconds"], elapsed, bad_steps=bad_steps)
    progress.window.restore(own["window"])
    return progress


def _restore_model(module: nn.Module, tensors: dict[str, Tensor], file: Path) -> None:
    own = module.state_dict()
    check_names(file, tensors, own)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(laid_out_as(tensor, tensors[name]))


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], file: Path) -> None:
    """Restore the optimizer's state; a parameter that never had a gradient has none."""
    expected: dict[str, Tensor] = {}
    for name, parameter, state in named_states(optimizer):
        if any(there.startswith(f"{name}/") for there in tensors):
            state.update(blank_state(optimizer, parameter))
            expected |= {f"{name}/{moment}": tensor for moment, tensor in state.items()}
    check_names(file, tensors, expected)
    for name, tensor in expected.items():
        tensor.copy_(laid_out_as(tensor, tensors[name]))
