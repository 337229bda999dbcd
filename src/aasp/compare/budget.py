"""An equal budget for different recipes: steps, minutes of steps on this machine, or FLOPs as counted by `aasp plan`.

In any unit, the budget is converted to a number of steps before the first training begins, so that the schedules of
learning rate and momentum span all of it. Minutes count only the steps: forward, backward, optimizer and teacher, timed
on noise; they exclude reading sound, checkpoints and measuring. Source: ours.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from aasp.compare.supervised import Supervised
from aasp.devices import device_of
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.planning.machines import Machines
from aasp.planning.pretraining import pretraining_plan
from aasp.pretrain.objective import build_objective
from aasp.pretrain.recipe import Recipe
from aasp.pretrain.run import schedules_of
from aasp.training import activations, engine, optim
from aasp.training.precision import Precision, autocast
from aasp.training.schedules import Schedules, cosine_schedules

WARM_UP, MIN_STEPS, MAX_STEPS, LONG_ENOUGH = 2, 3, 20, 4.0
"""Steps that are not timed, the fewest and most timed steps, and seconds of timed steps after which timing stops."""
CLIPS, SECONDS = 8, 2.5
"""Clips, and seconds of each, embedded to measure the speed."""
Trainable = Recipe | Supervised
UNITS = {"steps": 1.0, "minutes": 60.0, "flops": 1.0}


@dataclass(frozen=True)
class Budget:
    """The budget of a training.

    Attributes:
        unit: of `amount`.
        amount: how much.
    """

    unit: Literal["steps", "minutes", "flops"]
    amount: float

    def __post_init__(self) -> None:
        if not 0 < self.amount < float("inf"):
            raise AaspError(f"--{self.unit} is {self.amount:g}; give a positive number")

    def __str__(self) -> str:
        return f"{self.amount:,.0f} steps" if self.unit == "steps" else f"{self.amount:g} {self.unit}"


@dataclass(frozen=True)
class Costs:
    """The cost of a recipe's steps.

    Attributes:
        steps: number of steps in the budget.
        seconds: of a step, measured on the machine that started the comparison.
        flops: of a step, forward and backward.
        memory: bytes on a GPU, as counted by `aasp plan`.
        parameters: number of trained parameters.
        checkpoint: bytes of a checkpoint.
    """

    steps: int
    seconds: float
    flops: int
    memory: float
    parameters: int
    checkpoint: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def costs(name: str, recipe: Trainable, budget: Budget, precision: Precision, device: str) -> Costs:
    """Measure the cost of a recipe's steps, and how many the budget allows.

    Args:
        name: of the recipe, for messages.
        recipe: the recipe, or an architecture that is trained with labels.
        budget: of one training.
        precision, device: of the training.

    Raises:
        AaspError: the recipe can't be trained, or the budget is less than a step.
    """
    seconds = seconds_per_step(recipe, precision, device)
    if isinstance(recipe, Supervised):
        own = recipe.step_cost()
        flops, memory, trained, checkpoint = own.total.flops, own.memory(), own.trained, own.checkpoint_bytes
    else:
        plan = pretraining_plan(recipe, Machines(1, 1.0))
        flops, memory, checkpoint = plan.step_flops, plan.memory, plan.checkpoint_bytes
        trained = plan.parameters["trained"]
    each = {"steps": 1.0, "minutes": seconds, "flops": float(flops)}[budget.unit]
    steps = int(budget.amount * UNITS[budget.unit] / each)
    if steps < 1:
        one = {"minutes": f"{seconds / 60:.2g} minutes", "flops": f"{each:.3g} FLOPs"}.get(budget.unit, "1 step")
        raise AaspError(f"--{budget.unit} {budget.amount:g}: a step of {name} takes {one}; give more")
    return Costs(steps, seconds, flops, sum(memory.values()), trained, checkpoint)


def seconds_per_step(recipe: Trainable, precision: Precision = "auto", device: str = "auto") -> float:
    """Seconds of a training step on noise: the fastest of several, after a warm-up. The random state is restored."""
    place = device_of(device)
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        if isinstance(recipe, Supervised):
            supervised, batch = recipe.objective(), recipe.batch("cpu")
            how = recipe.how()
            schedules = cosine_schedules(how.optimizer, how.steps, {})
            return _timed(supervised, batch, how.optimizer, schedules, precision, place, supervised.learning_rate_share)
        samples, clips = round(recipe.data.crop_seconds * recipe.model.frontend.rate), recipe.data.batch
        batch = {"wave": 0.1 * torch.randn(clips, samples), "length": torch.full((clips,), samples)}
        objective = build_objective(recipe)
        return _timed(objective, batch, recipe.optimizer, schedules_of(recipe), precision, place)


def _timed(
    objective: Any,
    batch: dict[str, Tensor],
    config: optim.OptimizerConfig,
    schedules: Schedules,
    precision: Precision,
    place: torch.device,
    rate_of: optim.RateOf = lambda name: 1.0,
) -> float:
    """Seconds of the fastest step of an objective on a batch, with the operations of the training loop."""
    objective = objective.to(place).train()
    activations.check_count(len(batch["length"]), config.accumulate)
    if config.recompute:
        activations.recompute(objective)
    optimizer, now = optim.build(objective, config, rate_of), schedules.at(0)
    trainable = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    took: list[float] = []
    while len(took) < WARM_UP + MIN_STEPS or (sum(took[WARM_UP:]) < LONG_ENOUGH and len(took) < WARM_UP + MAX_STEPS):
        began = _now(place)
        optim.set_step(optimizer, now["learning_rate"], now["weight_decay"])
        for part in activations.micro_batches(batch, config.accumulate):
            with autocast(precision, place):
                loss = objective(engine.to_device(part, place), False)["loss"]
            (loss / config.accumulate).backward()
        norm = torch.nn.utils.clip_grad_norm_(trainable, config.clip)
        optim.step_unless(optimizer, ~torch.isfinite(norm))
        optimizer.zero_grad()
        objective.after_step(now)
        took.append(_now(place) - began)
    return min(took[WARM_UP:])


def embedding_speed(recipe: Recipe, device: str = "auto") -> float:
    """Seconds of sound per second that a recipe's encoder embeds, measured on noise."""
    place = device_of(device)
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        encoder = AudioEncoder(recipe.model).to(place).eval()
        wave = 0.1 * torch.randn(CLIPS, round(SECONDS * recipe.model.frontend.rate), device=place)
        took = []
        for _ in range(2):  # the first is slower
            began = _now(place)
            encoder(wave)
            took.append(_now(place) - began)
    return CLIPS * SECONDS / min(took)


def _now(place: torch.device) -> float:
    """The time in seconds, from an arbitrary start, after all work on the device has finished.

    With a single CPU thread it is the CPU time, so that other processes, which may slow one recipe more than another,
    do not count.
    """
    if place.type != "cpu":
        torch.accelerator.synchronize(place)
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()
