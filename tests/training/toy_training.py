"""A small model to train, with every kind of randomness in it; a script where a test needs a process to kill."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from aasp.training import engine
from aasp.training.loop import Result, Settings, train
from aasp.training.objective import Objective
from aasp.training.optim import OptimizerConfig
from aasp.training.randomness import seed
from aasp.training.run import open_run
from aasp.training.schedules import Schedules, constant, ramp, warmup_cosine

WIDTH = 8
OPTIMIZER = OptimizerConfig(clip=1.0)


class ToyObjective(Objective):
    """Student and teacher; dropout and noise from torch's, numpy's and Python's generators."""

    def __init__(self, noisy: bool, gather: Callable[[Tensor], tuple[Tensor, int]]) -> None:
        super().__init__()
        self.gather = gather
        self.student = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Dropout(0.3 * noisy), nn.Linear(WIDTH, WIDTH)
        )
        self.teacher = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.token = nn.Parameter(torch.zeros(1, WIDTH))
        self.unused = nn.Parameter(torch.zeros(3), requires_grad=not torch.distributed.is_initialized())
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("centre", torch.zeros(WIDTH))
        self.poison: Container[int] = ()
        self.noisy, self.fails_at = noisy, None

    def forward(self, batch: dict[str, Tensor], diagnose: bool) -> dict[str, Any]:
        self.steps += 1
        x = batch["wave"]
        if self.noisy:
            x = x + 0.1 * np.random.randn() + 0.1 * random.gauss(0, 1) + 0.1 * torch.randn(())
        if int(self.steps) in self.poison:
            x = x * float("nan")
        self.centre.lerp_(x.mean(0), 0.1)
        y = self.student(x + self.token)
        error = (y - self.teacher(x)).square().mean()
        spread = self.gather(y)[0].var(0).sqrt().mean()  # of the clips of all processes
        losses = {"square": error, "spread": (spread - 1).square()}
        diagnostics = {"token": self.token.norm()} if diagnose else {}
        return {"loss": sum(losses.values()), "losses": losses, "diagnostics": diagnostics}

    def after_step(self, schedules: Mapping[str, float]) -> None:
        with torch.no_grad():
            self.teacher.weight.lerp_(self.student[0].weight, 1 - schedules["momentum"])

    def gradient_diagnostics(self) -> dict[str, Tensor]:
        return {"token_gradient": self.token.grad.norm()}

    def check_health(self, metrics: dict[str, float]) -> str | None:
        return "the toy is wrong" if self.fails_at is not None and int(self.steps) >= self.fails_at else None


class ToyBatches:
    """Batches drawn from their index; it prepares some ahead, as real pipelines do."""

    def __init__(self, size: int = 4, shard: tuple[int, int] = (0, 1), delay: float = 0.0) -> None:
        self.size, (self.rank, self.world), self.delay = size, shard, delay
        self.taken, self.ahead = 0, []
        self.signals: dict[int, int] = {}  # sent to this process while it waits for that batch

    def __next__(self) -> dict[str, Tensor]:
        while len(self.ahead) < 3:
            draw = torch.Generator().manual_seed(self.taken + len(self.ahead))
            self.ahead.append(torch.randn(self.size * self.world, WIDTH, generator=draw))
        time.sleep(self.delay)
        if self.taken in self.signals:
            os.kill(os.getpid(), self.signals[self.taken])
        self.taken += 1
        wave = self.ahead.pop(0)[self.rank :: self.world]
        return {"wave": wave, "length": torch.full((self.size,), 16_000)}

    def state(self) -> dict[str, Any]:
        return {"taken": self.taken}

    def restore(self, state: dict[str, Any]) -> None:
        self.taken, self.ahead = state["taken"], []


def toy_run(
    out: Path,
    steps: int = 20,
    *,
    resume: str | Path = "auto",
    recipe: dict[str, Any] | None = None,
    poison: Container[int] = (),
    fails_at: int | None = None,
    noisy: bool = True,
    size: int = 4,
    delay: float = 0.0,
    signals: dict[int, int] | None = None,
    shard: bool = False,
    reported: list[int] | None = None,
    **settings: Any,
) -> Result:
    """Train the toy; by default everything is small. `reported` takes the steps of the reported checkpoints."""

    def on_checkpoint(step: int, tensors: Mapping[str, torch.Tensor]) -> None:
        (Path(out) / "exported").write_text(str(tensors["teacher.weight"].shape))
        if reported is not None:
            reported.append(step)

    machine = engine.accelerator()
    recipe = {"toy": 1, "steps": steps, **(recipe or {})}
    seed(7)
    objective = ToyObjective(noisy, engine.gatherer(machine))
    objective.poison, objective.fails_at = poison, fails_at
    if shard:  # as accelerate would on accelerators: it knows no FSDP on CPUs
        fully_shard(objective, mesh=init_device_mesh("cpu", (machine.num_processes,)))
        machine.prepare = lambda *what: what
    batches = ToyBatches(size, (machine.process_index, machine.num_processes), delay)
    batches.signals = signals or {}
    rates = {"learning_rate": warmup_cosine(1e-2, steps, warmup=2), "weight_decay": constant(0.05, steps)}
    schedules = Schedules({**rates, "momentum": ramp(0.9, 0.99, steps, over=steps)})
    with open_run(out, recipe, machine, resume=resume) as (run, start):
        return train(
            objective,
            batches,
            run=run,
            schedules=schedules,
            machine=machine,
            fingerprint=str(recipe),
            settings=Settings(
                **(dict(name="toy", optimizer=OPTIMIZER, log_every=3, checkpoint_every=4, precision="fp32") | settings)
            ),
            measure=lambda batch: (len(batch["length"]), float(batch["length"].sum()) / 16_000),
            start=start,
            on_checkpoint=on_checkpoint,
        )


if __name__ == "__main__":
    folder, steps, delay = sys.argv[1:]
    torch.set_num_threads(1)
    sys.exit(toy_run(Path(folder), int(steps), delay=float(delay)).exit_code)
