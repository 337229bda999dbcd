"""The cost of pre-training a recipe on given machines: time, data, memory, network, and which of them is the limit.

The parts of a step are assumed to overlap perfectly, so that the slowest of computing, decoding, network and storage
determines its time. Legend: B clips of a step over all GPUs, V views. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from aasp.errors import AaspError
from aasp.planning.machines import (
    AUDIOSET_CLIPS,
    AUDIOSET_SECONDS,
    BIT_RATE,
    FP32_SHARE,
    Machines,
    audio_bytes,
)  # fmt: skip
from aasp.planning.step import OPTIMIZER, StepCost, step_cost
from aasp.planning.trace import Cost
from aasp.pretrain.recipe import Recipe
from aasp.training.activations import check_count
from aasp.training.optim import OptimizerConfig

AGAIN = "blocks, computed again"
"""Name of the part for the recomputation by `optimizer.recompute`."""


@dataclass(frozen=True)
class PretrainingPlan:
    """The plan for one recipe on given machines; in bytes, seconds and FLOPs unless the name gives another unit.

    Attributes:
        flops: FLOPs of a step over all GPUs, forward and backward, by part: the module's path in the objective.
        elementwise_flops: forward FLOPs of a step's pointwise operations and Fourier transforms, in no other figure.
        step_flops: FLOPs of a step over all GPUs.
        clip_flops: FLOPs of a step per clip.
        total_flops: FLOPs of the whole schedule.
        limits: seconds that a step would take if limited by each resource alone.
        bottleneck: the resource with the longest time.
        step_seconds: the time of a step, that of the bottleneck.
        gpu_hours: GPU hours of the whole schedule.
        days: days of the whole schedule.
        clips: clips in the whole schedule.
        audio_hours: hours of audio in the whole schedule.
        epochs: epochs of the set.
        set_bytes: size of the whole set, by storage format.
        read_bytes_per_second: bytes read over all GPUs, in the storage format.
        decoding_cores_per_gpu: cores that decode as fast as a GPU computes.
        parameters: number of trained parameters, and of all parameters including the teacher's.
        reduced_bytes: bytes that each GPU sends per step to average gradients (a ring).
        gathered_bytes: bytes that each GPU sends per step to gather tensors for losses, backward pass included.
        memory: memory of a GPU, by purpose.
        fits: if that exceeds a GPU's memory, settings that make it fit, with the memory that they need.
        checkpoint_bytes: size of one checkpoint.
    """

    recipe: str
    gpus: int
    flops: dict[str, dict[str, int]]
    elementwise_flops: int
    step_flops: int
    clip_flops: float
    total_flops: int
    limits: dict[str, float]
    bottleneck: str
    step_seconds: float
    gpu_hours: float
    days: float
    clips: int
    audio_hours: float
    epochs: float
    set_bytes: dict[str, float]
    read_bytes_per_second: float
    decoding_cores_per_gpu: float
    parameters: dict[str, int]
    reduced_bytes: float
    gathered_bytes: float
    memory: dict[str, float]
    fits: dict[str, float]
    checkpoint_bytes: int


def pretraining_plan(recipe: Recipe, machines: Machines, hours: float | None = None) -> PretrainingPlan:
    """Plan a run.

    Args:
        recipe: the system.
        machines: the machines to run on.
        hours: hours of audio in the set; AudioSet-2M if omitted.

    Raises:
        AaspError: an impossible recipe or number of hours, or a batch that is not a multiple of the GPUs.
    """
    check(recipe, machines.gpus)
    if hours is not None and not 0 < hours < float("inf"):
        raise AaspError(f"--hours-of-audio is {hours:g}; give a positive number")
    gpus, batch = machines.gpus, recipe.data.batch
    count, recomputes = recipe.optimizer.accumulate, recipe.optimizer.recompute
    check_count(batch // gpus, count, gpus)
    own = step_cost(recipe, batch // gpus // count, gpus)
    parts = {name: gpus * (1 if name == OPTIMIZER else count) * cost for name, cost in own.parts.items()}
    again = own.again * count if recomputes else 0
    if again:
        parts[AGAIN] = Cost(backward=gpus * again)
    step_flops = sum(cost.flops for cost in parts.values())
    trained = own.trained
    seconds = recipe.data.crop_seconds if hours else min(recipe.data.crop_seconds, AUDIOSET_SECONDS)
    set_hours = hours or AUDIOSET_CLIPS * AUDIOSET_SECONDS / 3600

    ring = (gpus - 1) / gpus
    reduced = 2 * ring * 4 * trained
    gathered = 3 * ring * own.gathered * count  # an all-gather forward, an all-reduce backward
    single = sum(cost.single for cost in parts.values()) / gpus
    computing = (step_flops / gpus - single + single / FP32_SHARE) / machines.flops_per_second
    decoding = batch / gpus * seconds / machines.decoded_per_core
    read = batch * seconds * BIT_RATE[machines.audio] / 8
    limits = {
        "computing": computing,
        "decoding": decoding / machines.cores,
        "network": (reduced + gathered) / machines.sent_per_second,
        "storage": read / (1e9 * machines.storage),
    }
    bottleneck = max(limits, key=lambda name: limits[name])
    step_seconds, clips = limits[bottleneck], recipe.steps * batch
    frontend = recipe.model.frontend
    cached = set_hours * 3600 * frontend.frame_rate * frontend.bins
    return PretrainingPlan(
        recipe=recipe.name,
        gpus=gpus,
        flops={name: {"forward": cost.forward, "backward": cost.backward} for name, cost in parts.items()},
        elementwise_flops=sum(cost.elementwise for cost in parts.values()),
        step_flops=step_flops,
        clip_flops=step_flops / batch,
        total_flops=recipe.steps * step_flops,
        limits=limits,
        bottleneck=bottleneck,
        step_seconds=step_seconds,
        gpu_hours=gpus * recipe.steps * step_seconds / 3600,
        days=recipe.steps * step_seconds / 86_400,
        clips=clips,
        audio_hours=clips * seconds / 3600,
        epochs=clips * seconds / 3600 / set_hours,
        set_bytes=audio_bytes(set_hours) | {"log-mel, fp16": 2 * cached, "log-mel, int8": cached},
        read_bytes_per_second=read / step_seconds,
        decoding_cores_per_gpu=decoding / computing,
        parameters={"trained": trained, "with the teacher": trained + own.averaged},
        reduced_bytes=reduced,
        gathered_bytes=gathered,
        memory=own.memory(recomputes),
        fits=_fitting(own, batch // gpus, recipe.optimizer, machines),
        checkpoint_bytes=own.checkpoint_bytes,
    )


def check(recipe: Recipe, gpus: int) -> None:
    """Check that the recipe's batch can be divided among the GPUs.

    Raises:
        AaspError: the batch is not a multiple of the GPUs.
    """
    batch = recipe.data.batch
    if batch % gpus:
        fewer = max(number for number in range(1, min(gpus, batch) + 1) if batch % number == 0)
        more = -(-batch // gpus) * gpus
        raise AaspError(
            f"data.batch is {batch}, for {gpus} GPUs; give a multiple of {gpus}, as in --set data.batch={more}, "
            f"or --gpus {fewer}"
        )


def _fitting(own: StepCost, clips: int, optimizer: OptimizerConfig, machines: Machines) -> dict[str, float]:
    """Settings that make a step fit into memory: recomputation of blocks, micro-batches, or, if neither helps, both."""
    taken = lambda recomputes, parts=1.0: sum(own.memory(recomputes, parts).values())
    room, fits = 1e9 * machines.memory, dict[str, float]()
    if taken(optimizer.recompute) <= room:
        return fits
    if taken(True) <= room:
        fits["optimizer.recompute=true"] = taken(True)
    for recomputes in (False, True):
        counts = [count for count in range(1, clips + 1) if clips % count == 0 and count > optimizer.accumulate]
        parts = {count: count / optimizer.accumulate for count in counts}
        count = next((count for count in counts if taken(recomputes, parts[count]) <= room), None)
        if count is not None and not (recomputes and fits):
            both = "optimizer.recompute=true " if recomputes else ""
            fits[f"{both}optimizer.accumulate={count}"] = taken(recomputes, parts[count])
    return fits
