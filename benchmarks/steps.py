"""One whole pre-training step of a recipe, as in the training loop, for benchmarks to time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from aasp.pretrain import recipes
from aasp.pretrain.objective import build_objective
from aasp.pretrain.recipe import Recipe
from aasp.pretrain.run import schedules_of
from aasp.training import engine, optim
from aasp.training.precision import Precision, autocast

CLIPS = {"aasp_base": 2}
"""Clips per step if the recipe's own number is too much for a CPU; the FLOPs per clip are the same."""


def sized(name: str, clips: int | None) -> Recipe:
    """A recipe with the given number of clips per step."""
    recipe = recipes.get(name)
    batch = clips or CLIPS.get(name, recipe.data.batch)
    return replace(recipe, data=replace(recipe.data, batch=batch))


def synthetic_batch(recipe: Recipe, seed: int = 0) -> dict[str, Tensor]:
    """A batch of noise of the recipe's size and length."""
    clips, samples = recipe.data.batch, round(recipe.data.crop_seconds * recipe.model.frontend.rate)
    wave = 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(seed))
    return {"wave": wave, "length": torch.full((clips,), samples)}


def stepper(recipe: Recipe, precision: Precision, device: torch.device) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """A function that takes one step of `aasp.training.loop` on a batch and returns its loss."""
    torch.manual_seed(recipe.seed)
    objective = build_objective(recipe).to(device).train()
    optimizer = optim.build(objective, recipe.optimizer)
    trainable = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    context, now = autocast(precision, device), schedules_of(recipe).at(0)

    def step(batch: Mapping[str, Tensor]) -> Tensor:
        optim.set_step(optimizer, recipe.optimizer.lr, recipe.optimizer.weight_decay)
        with context:
            output = objective(engine.to_device(batch, device), False)
        output["loss"].backward()
        norm = torch.nn.utils.clip_grad_norm_(trainable, recipe.optimizer.clip)
        optim.step_unless(optimizer, ~torch.isfinite(norm))
        optimizer.zero_grad()
        objective.after_step(now)
        return output["loss"].detach()

    return step


def library_step(recipe: Recipe, precision: Precision, device: torch.device) -> Callable[[], Tensor]:
    """The same on noise."""
    return functools.partial(stepper(recipe, precision, device), synthetic_batch(recipe))
