"""`aasp plan`: the cost of pre-training a recipe, or embedding with it, on a number of GPUs, without running it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import tyro

from aasp.cli.arguments import Settings, parse, settings
from aasp.cli.facts import facts
from aasp.formats import duration_text

if TYPE_CHECKING:
    from aasp.planning.embedding import EmbeddingPlan
    from aasp.planning.machines import Machines
    from aasp.planning.pretraining import PretrainingPlan

PREFIXES = {-3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P", 6: "E", 7: "Z"}


@dataclass(frozen=True)
class Plan:
    """Estimate the cost of a recipe: FLOPs by part, GPU-hours, data, memory, network, and the bottleneck.

    Nothing is computed: the step of any method is traced without values, and rates are given by the options. Machines
    are H100 servers unless set otherwise.
    """

    recipe: tyro.conf.Positional[str]
    """Name of a recipe (`aasp recipes` lists them)."""
    gpus: int
    """Number of GPUs."""
    utilisation: float
    """Share of peak FLOP/s that the matrix products reach, 0.4 for 40 %."""
    set: Settings = ()
    """Recipe fields to change (`aasp recipes NAME` shows them all)."""
    hours_of_audio: float | None = None
    """Hours of audio in the data set, AudioSet-2M's by default."""
    embed_hours: float | None = None
    """Plan to embed this many hours instead of pre-training."""
    audio: Literal["wav", "flac", "opus"] = "flac"
    """How the audio is stored, at 16 kHz mono."""
    decoded: float | None = None
    """Hours of audio that a core decodes per second; by default as measured for the format."""
    cores: float | None = None
    """CPU cores that decode for each GPU, 14 by default."""
    peak: float | None = None
    """Peak TFLOP/s of a GPU, dense bf16; 989 by default."""
    memory: float | None = None
    """Memory of a GPU in GB, 80 by default."""
    network: float | None = None
    """GB/s that a GPU sends in a ring of all GPUs; by default 450 inside a machine of eight, else 400."""
    storage: float | None = None
    """GB/s that all GPUs together can read, 10 by default."""
    json: bool = False
    """Print one JSON object, in bytes, seconds and FLOPs."""


def run(argv: list[str]) -> int:
    arguments = parse(Plan, argv, prog="aasp plan")
    from aasp.config import with_fields
    from aasp.planning.embedding import EmbeddingPlan, embedding_plan
    from aasp.planning.machines import Machines
    from aasp.planning.pretraining import pretraining_plan
    from aasp.pretrain import recipes

    names = ("peak", "memory", "cores", "network", "storage", "decoded")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    machines = Machines(arguments.gpus, arguments.utilisation, audio=arguments.audio, **given)
    recipe = with_fields(recipes.get(arguments.recipe), settings(arguments.set))
    plan: PretrainingPlan | EmbeddingPlan
    if arguments.embed_hours is not None:
        plan = embedding_plan(recipe.model, machines, arguments.embed_hours)
    else:
        plan = pretraining_plan(recipe, machines, arguments.hours_of_audio)
    if arguments.json:
        print(json.dumps({"machines": asdict(machines)} | asdict(plan)))
        return 0
    gpus = f"{machines.gpus} GPU{'s' * (machines.gpus > 1)}"
    print(
        f"{recipe.name} on {gpus} at {machines.utilisation:.0%} of {machines.peak:g} TFLOP/s, "
        f"{machines.cores:g} cores a GPU, {machines.audio}: estimated, not measured"
    )
    if isinstance(plan, EmbeddingPlan):
        _show_embedding(plan, machines)
    else:
        _show_pretraining(plan, machines, recipe.method.across(recipe))
    return 0


def _show_pretraining(plan: PretrainingPlan, machines: Machines, across: Sequence[str]) -> None:
    part = lambda f: f"{si(f['forward'] + f['backward'], 'FLOP')}, {sum(f.values()) / plan.step_flops:.2%}"
    facts(
        "a step, forward and backward", {name: part(flops) for name, flops in plan.flops.items() if any(flops.values())}
    )
    facts(
        "FLOPs",
        {
            "a step": si(plan.step_flops, "FLOP"),
            "a clip": si(plan.clip_flops, "FLOP"),
            "the schedule": si(plan.total_flops, "FLOP"),
            "elementwise, a step forward": f"{si(plan.elementwise_flops, 'FLOP')}, in no other line",
        },
    )
    facts("a step takes, by each alone", _limits(plan.limits, plan.bottleneck, lambda s: si(s, "s")))
    facts(
        "the schedule",
        {
            "GPU-hours": f"{plan.gpu_hours:,.4g}",
            "time": duration_text(86_400 * plan.days),
            "clips": f"{plan.clips:,}",
            "hours of audio": f"{plan.audio_hours:,.0f}",
            "epochs": f"{plan.epochs:.3g}",
        },
    )
    facts(
        "data",
        {
            "decoding cores a GPU": f"{plan.decoding_cores_per_gpu:.3g} to keep up, of {machines.cores:g}",
            "read": f"{si(plan.read_bytes_per_second, 'B/s')} in all",
        }
        | _sizes(plan.set_bytes),
    )
    facts(
        "network, sent by each GPU a step",
        {"gradients": si(plan.reduced_bytes, "B"), "what losses compare": si(plan.gathered_bytes, "B")},
    )
    facts(
        f"memory of a GPU, about {si(sum(plan.memory.values()), 'B')}",
        {name: si(value, "B") for name, value in plan.memory.items()},
    )
    if sum(plan.memory.values()) > 1e9 * machines.memory:
        ways = {f"--set {name}": si(value, "B") for name, value in plan.fits.items()}
        facts(
            f"more than its {machines.memory:g} GB; what fits",
            ways or {"nothing": "use more GPUs, or a smaller model"},
        )
        if across:
            print(f"  accumulated, {' and '.join(across)} within a micro-batch only")
    facts(
        "model",
        {f"parameters, {name}": f"{count:,}" for name, count in plan.parameters.items()}
        | {"a checkpoint": si(plan.checkpoint_bytes, "B")},
    )


def _show_embedding(plan: EmbeddingPlan, machines: Machines) -> None:
    facts(
        f"{plan.hours:,.0f} hours",
        {
            f"a window of {plan.window_seconds:g} s": si(plan.window_flops, "FLOP"),
            **{f"GPU-hours, {name}": f"{value:,.4g}" for name, value in plan.gpu_hours.items()},
            **{f"time, {name}": duration_text(86_400 * days) for name, days in plan.days.items()},
        },
    )
    facts(
        "clips of one window take, by each alone",
        _limits(plan.limits, plan.bottleneck, lambda days: duration_text(86_400 * days)),
    )
    facts(
        "data",
        {
            "decoding": f"{plan.decoding_core_hours:,.4g} core-hours",
            **{
                f"decoding cores a GPU, {name}": f"{cores:.3g} to keep up, of {machines.cores:g}"
                for name, cores in plan.decoding_cores_per_gpu.items()
            },
            "embeddings, fp32, one a window": si(plan.embedding_bytes, "B"),
        }
        | _sizes(plan.set_bytes),
    )


def _limits(limits: Mapping[str, float], bottleneck: str, shown: Callable[[float], str]) -> dict[str, str]:
    return {name: shown(value) + (", the bottleneck" if name == bottleneck else "") for name, value in limits.items()}


def _sizes(set_bytes: Mapping[str, float]) -> dict[str, str]:
    return {f"the set as {name}": si(size, "B") for name, size in set_bytes.items()}


def si(value: float, unit: str) -> str:
    """A quantity with three digits and a suitable SI prefix: 56.1 TFLOP, 434 MB, 17.7 ms."""
    if value == 0:
        return f"0 {unit}"
    power = min(max(math.floor(math.log10(value * (1 + 5e-4)) / 3), -3), 7)
    return f"{value / 1000**power:.3g} {PREFIXES[power]}{unit}"
