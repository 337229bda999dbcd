"""The state of a running training in a checkpoint, and how it is restored.

Tensors go by parameter name, whole: what FSDP has spread over processes is gathered first and spread again afterwards.
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
from aasp.training.layout import laid_out_as, whole
from aasp.training.optim import blank_state, named_states
from aasp.training.randomness import random_state, restore_random_state, seed
from aasp.training.window import Window


class Positioned(Protocol):
    """A stream that can say where it is, and go there, or to where the streams of other processes were."""

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...

    def rejoin(self, states: Sequence[dict[str, Any]]) -> None: ...


@dataclass
class Progress:
    """How far a process has come: steps, its own clips and seconds of audio, time, its open log window, bad steps.

    `elapsed` is of the steps themselves: what is done while they are `paused`, saving, is no part of it.
    """

    step: int = 0
    clips: int = 0
    audio_seconds: float = 0.0
    elapsed: float = 0.0
    window: Window = field(default_factory=Window)
    bad_steps: Mapping[str, int] = field(default_factory=dict)
    _clock: float = field(default_factory=time.monotonic)

    def count(self, clips: int, audio_seconds: float) -> None:
        """One step more."""
        now = time.monotonic()
        self.step += 1
        self.clips += clips
        self.audio_seconds += audio_seconds
        self.elapsed, self._clock = self.elapsed + now - self._clock, now

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time spent here is not counted."""
        began = time.monotonic()
        yield
        self._clock += time.monotonic() - began


def model_tensors(module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters and persistent buffers by name, whole. Every process must call it."""
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
    """Everything that the rest of the training depends on. Every process must call it; the first saves the result."""
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
    """Put module, optimizer, stream and random state back to where the checkpoint at `path` was taken.

    Raises:
        AaspError: the checkpoint is damaged, or another run's.
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
    """Put a process's stream and random state back, or what fits of those of another number of processes."""
    rank, processes = machine.process_index, saved.state["processes"]
    if rank < len(processes):
        random = {name.removeprefix(f"{rank}/"): t for name, t in saved.random.items() if name.startswith(f"{rank}/")}
        restore_random_state(random, machine.device)
    else:  # a process that the run did not have
        seed(int(sha256(f"{fingerprint} {saved.step} {rank}".encode()).hexdigest()[:15], 16))
    own = processes[min(rank, len(processes) - 1)]
    bad_steps = own.get("bad_steps", {})  # the same in all processes; there were none in older checkpoints
    if len(processes) != machine.num_processes:
        stream.rejoin(states)
        total = lambda name: sum(process[name] for process in processes) if rank == 0 else 0
        so_far = Progress(saved.step, total("clips"), total("audio_seconds"), elapsed, bad_steps=bad_steps)
        return so_far  # the log window begins here
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
    """A parameter that never had a gradient has no state."""
    expected: dict[str, Tensor] = {}
    for name, parameter, state in named_states(optimizer):
        if any(there.startswith(f"{name}/") for there in tensors):
            state.update(blank_state(optimizer, parameter))
            expected |= {f"{name}/{moment}": tensor for moment, tensor in state.items()}
    check_names(file, tensors, expected)
    for name, tensor in expected.items():
        tensor.copy_(laid_out_as(tensor, tensors[name]))
