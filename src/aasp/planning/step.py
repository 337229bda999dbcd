"""The cost of a pre-training step of any method, by part: its objective is built on the meta device and run once.

Legend: B clips of a process. Source: the objective's own `forward` and backward pass, at a step that is not logged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aasp.model.audio_encoder import AudioEncoder
from aasp.planning.trace import Cost, on_meta, traced
from aasp.pretrain.methods import Gather
from aasp.pretrain.objective import build_objective
from aasp.pretrain.recipe import Recipe
from aasp.training.activations import blocks_of
from aasp.training.matrices import ADAMW, AdamWConfig, MatricesConfig

OPTIMIZER = "optimizer"
"""Name of the part for the update rule of matrices, if it computes matrix products."""
REST = "the rest"
"""Name of the part for computations of the objective outside its modules: losses, masks."""


@dataclass(frozen=True)
class StepCost:
    """The cost of one step of one process.

    Attributes:
        clips: clips of the step.
        parts: costs by the module's path in the objective, in the objective's order, then `REST` and `OPTIMIZER`; work
            of shared modules, such as a stem called by its student's views, counts for the part that calls it.
        trained: number of trained parameters.
        moments: number of values in the optimizer's state for them.
        averaged: number of parameters that are not trained (a teacher's).
        peak: largest number of bytes of activations held at one time.
        gathered: bytes gathered from all processes, in total.
        recomputed: bytes of `peak` that are not held if blocks are recomputed in the backward pass.
        again: FLOPs of that recomputation.
    """

    clips: int
    parts: dict[str, Cost]
    trained: int
    moments: int
    averaged: int
    peak: int
    gathered: int
    recomputed: int
    again: int

    @property
    def total(self) -> Cost:
        """The cost of all parts."""
        return sum(self.parts.values(), Cost())

    def memory(self, recomputes: bool = False, parts: float = 1.0) -> dict[str, float]:
        """Bytes of one GPU under DDP: fp32 masters, gradients and their buckets, bf16 copies for the forward pass.

        Args:
            recomputes: whether blocks are recomputed in the backward pass.
            parts: number of parts into which each micro-batch of the step is divided.
        """
        return {
            "weights and moments": 4 * (self.trained + self.moments),
            "gradients": 8 * self.trained,
            "teacher": 4 * self.averaged,
            "bf16 copies": 2 * (self.trained + self.averaged),
            "activations": (self.total.kept - recomputes * self.recomputed) / parts,
            "beside them at the peak": (self.peak - self.total.kept) / parts,
        }

    @property
    def checkpoint_bytes(self) -> int:
        """Size of one checkpoint: weights and the optimizer's moments in fp32."""
        return 4 * (self.trained + self.moments + self.averaged)


def step_cost(recipe: Recipe, clips: int | None = None, gpus: int = 1) -> StepCost:
    """The cost of a step of a recipe, on clips of the full crop length.

    Args:
        recipe: the system.
        clips: clips per process; the recipe's batch if omitted.
        gpus: number of processes, each with `clips` clips.

    Raises:
        AaspError: the recipe can't be built, or the step reads values on the device.
    """
    clips = recipe.data.batch if clips is None else clips
    samples = round(recipe.data.crop_seconds * recipe.model.frontend.rate)
    batch = {"wave": torch.empty(clips, samples, device="meta"), "length": torch.full((clips,), samples)}
    return objective_cost(lambda gather: build_objective(recipe, gather), batch, gpus, recipe.optimizer.matrices)


def objective_cost(
    build: Callable[[Gather], nn.Module],
    batch: Mapping[str, Tensor],
    gpus: int = 1,
    rule: MatricesConfig | None = None,
) -> StepCost:
    """The cost of a step of any objective.

    Args:
        build: builds the objective, given `gather`.
        batch: its input; tensors that belong on the device are on the meta device.
        gpus: number of processes, each with such a batch.
        rule: update rule of matrices; AdamW if omitted.

    Raises:
        AaspError: the step reads values on the device.
    """
    joined: list[int] = []

    def gather(tensor: Tensor) -> tuple[Tensor, int]:
        everyone = tensor if gpus == 1 else torch.cat([tensor] * gpus)
        joined.append(everyone.untyped_storage().nbytes())
        return everyone, 0

    objective = on_meta(lambda: build(gather)).train()
    parts, blocks, inputs = parts_of(objective), blocks_of(objective), dict[int, int]()
    for block in blocks.values():
        block.register_forward_pre_hook(lambda _, given: inputs.update(_sizes(given)))
    trace = traced(objective, parts | blocks, lambda: objective(batch, False)["loss"])
    costs = dict(trace.costs)
    inner = {name: costs.pop(name) for name in blocks}
    for name, cost in inner.items():  # a block's cost counts for the part that contains it
        owner = max((part for part in parts if name.startswith(f"{part}.")), key=len)
        costs[owner] += cost
    kept = [cost.kept for cost in inner.values()] or [0]
    recomputed = max(0, sum(kept) - max(kept) - sum(inputs.values()))
    rest = costs.pop("")
    done = {name: cost for name, cost in costs.items() if cost != Cost()} | {REST: rest}
    count = lambda wanted: sum(p.numel() for p in objective.parameters() if p.requires_grad == wanted)
    trained = {name: p for name, p in objective.named_parameters() if p.requires_grad}
    rule = rule or AdamWConfig()
    taken = {name for name, p in trained.items() if rule.takes(name, p)}
    moments = sum(p.numel() * len(rule.moments if name in taken else ADAMW) for name, p in trained.items())
    if work := sum(rule.products(trained[name]) for name in taken):
        done[OPTIMIZER] = Cost(forward=work, single=work)
    again = sum(cost.forward for cost in inner.values())
    found = (count(True), moments, count(False), trace.peak, sum(joined), recomputed, again)
    return StepCost(len(batch["length"]), done, *found)


def parts_of(objective: nn.Module) -> dict[str, nn.Module]:
    """The direct submodules of an objective, and front end, stem and encoder of every AudioEncoder in it, by path."""
    modules = dict(objective.named_modules())
    inside = lambda path: isinstance(modules[path.rpartition(".")[0]], AudioEncoder)
    return {path: module for path, module in modules.items() if path and ("." not in path or inside(path))}


def _sizes(given: tuple) -> dict[int, int]:
    """Bytes of a block's input tensors that require gradients, by storage."""
    tensors = [one for one in given if isinstance(one, Tensor) and one.requires_grad]
    return {id(one.untyped_storage()): one.untyped_storage().nbytes() for one in tensors}
