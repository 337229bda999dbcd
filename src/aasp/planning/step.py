"""What a pre-training step of any method costs, part by part: its objective is built without weights and run once.

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
"""The part of the rule that moves matrices, where it takes products."""
REST = "the rest"
"""The part of what the objective does itself, in no module of its own: losses, masks."""


@dataclass(frozen=True)
class StepCost:
    """Of one step of one process.

    Attributes:
        clips: of the step.
        parts: by the module's path in the objective, in the order in which it holds them, then `REST` and `OPTIMIZER`;
            what is used twice, such as a stem by its student's views, stands where it was called.
        trained: numbers that are trained.
        moments: numbers that the optimizer keeps of them.
        averaged: numbers that are held beside them and not trained: a teacher's.
        peak: bytes of activations that are held at most at one time.
        gathered: bytes that are joined from all processes, all of them together.
        recomputed: bytes of `peak` that are not held where blocks are computed again in the backward pass.
        again: FLOPs of computing them again.
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
        """Of all parts."""
        return sum(self.parts.values(), Cost())

    def memory(self, recomputes: bool = False, parts: float = 1.0) -> dict[str, float]:
        """Bytes of one GPU under DDP: fp32 masters, gradients and their buckets, bf16 copies for the forward pass.

        Args:
            recomputes: whether blocks are computed again in the backward pass.
            parts: micro-batches that each of the step's own is cut into.
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
        """Of one checkpoint: weights and the optimizer's moments in fp32."""
        return 4 * (self.trained + self.moments + self.averaged)


def step_cost(recipe: Recipe, clips: int | None = None, gpus: int = 1) -> StepCost:
    """The cost of a recipe's step on clips of its full length.

    Args:
        recipe: the system.
        clips: of one process; the recipe's batch if omitted.
        gpus: processes, of so many clips each.

    Raises:
        AaspError: the recipe can't be built, or the step looks at values on the device.
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
        build: makes it, given `gather`.
        batch: what it takes, what belongs on the device on the meta device.
        gpus: processes, each with such a batch.
        rule: what moves matrices; AdamW if omitted.

    Raises:
        AaspError: the step looks at values on the device.
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
    for name, cost in inner.items():  # a block's cost is that of the part it is in
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
    """The modules that an objective holds, by path; of an AudioEncoder anywhere in it, front end, stem and encoder."""
    modules = dict(objective.named_modules())
    inside = lambda path: isinstance(modules[path.rpartition(".")[0]], AudioEncoder)
    return {path: module for path, module in modules.items() if path and ("." not in path or inside(path))}


def _sizes(given: tuple) -> dict[int, int]:
    """Bytes of the tensors that a block is given to learn from, by their storage."""
    tensors = [one for one in given if isinstance(one, Tensor) and one.requires_grad]
    return {id(one.untyped_storage()): one.untyped_storage().nbytes() for one in tensors}
