"""Every method's step, and two fine-tunings', in one process or in one of two; the script is the latter.

Draws are the same for every clip, so that they don't depend on the division of clips, and a clip is mixed with clips of
its own process: the mixtures of a process are made of its own clips.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode

from aasp.config import with_fields
from aasp.evaluate.finetune.objective import FinetuneObjective
from aasp.evaluate.finetune.recipes import tiny
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.pretrain import recipes
from aasp.pretrain.methods import METHODS
from aasp.pretrain.objective import build_objective
from aasp.pretrain.recipe import Recipe
from aasp.training import engine

OWN, CLIPS = 3, 6  # clips of a step: two processes have three each
SAMPLES = 20_480
SHORT = (1.0, 0.55, 0.9, 1.0, 1.0, 0.8)  # share of its crop that each clip fills
MODEL = {"width": 32, "depth": 2, "heads": 2}
SMALL: dict[str, Any] = {"augment.mixup": 0.0, "seconds": 0.64, "predictor.width": 16, "predictor.heads": 2}
HEADS = {"byol_a": (32, 16), "atst_frame": (32, 16), "atst_clip": (32, 16), "lejepa": (32, 8), "asit": (32, 16, 32)}
TASKS = ("finetune layer", "finetune batch")
DOUBLE = ("byol_a", "atst_clip", "cola")
"""Computed in float64: similar clips are normalised over the batch, or compared, which amplifies rounding."""
METHOD_NAMES = (*METHODS.ours(), "aasp mixed", "aasp spectrum", "aasp wide")


class SameDraws(TorchFunctionMode):
    """Draws what one clip would draw, for every clip of a batch; a partner is the next clip of the same process."""

    DRAWS = (torch.rand, torch.randn, torch.randn_like, torch.randint, torch.multinomial)

    def __init__(self, clips: int) -> None:
        super().__init__()
        self.clips, self.drawn = clips, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in self.DRAWS:
            return func(*args, **(kwargs or {}))
        self.drawn += 1
        source = torch.Generator().manual_seed(self.drawn)
        if func is torch.multinomial:  # of the vectors of the first process's clips
            return torch.multinomial(args[0][: len(args[0]) * OWN // self.clips], args[1], True, generator=source)
        shape = list((args[0] if func is torch.randn_like else func(*args, **(kwargs or {}))).shape)
        pair = shape[:1] == [2] and len(shape) > 1 and shape[1] % self.clips == 0
        if pair and len(shape) == 2:  # a coin, and by how much one continues from the next clip to a partner
            own = torch.arange(self.clips)
            on = (next_of(own, OWN) - own - 1) % self.clips
            which = ((on + 0.5) / (self.clips - 1)).repeat_interleave(shape[1] // self.clips)  # each of its segments
            return torch.stack([torch.full((shape[1],), 0.7), which])
        rows = int(pair) if pair or (shape and shape[0] % self.clips == 0) else None
        one = [1 if number == rows else size for number, size in enumerate(shape)]
        if func is torch.randint:
            low, high = args[:2] if len(args) > 2 else (0, args[0])
            return torch.randint(low, high, one, generator=source).expand(shape).clone()
        return (torch.rand if func is torch.rand else torch.randn)(one, generator=source).expand(shape).clone()


def next_of(index: Tensor, count: int) -> Tensor:
    """The next of so many that a process has; after the last comes the first."""
    return index // count * count + (index + 1) % count


def recipe_of(name: str) -> Recipe:
    """A method, small; "mixed": with mixtures; "spectrum": with its loss; "wide": windows longer than a patch."""
    name, _, variant = name.partition(" ")
    config = METHODS.ours()[name]
    fields = {"method": name, **{f"model.encoder.{field}": value for field, value in MODEL.items()}}
    fields |= {"data.batch": CLIPS, "data.crop_seconds": SAMPLES / 16_000}
    fields |= {"model.stem": "aape" if name == "aasp" else "conv", "model.vector": "none"}
    fields |= (
        {"model.stem.patch": "8,32", "model.stem.taps": 16} if variant == "wide" else {"model.stem.patch": "16,16"}
    )
    own = {field.name for field in dataclasses.fields(config)}
    for field, value in SMALL.items():
        part, _, inner = field.partition(".")
        whole = getattr(config(), part, None)
        if part in own and (not inner or inner in {f.name for f in dataclasses.fields(whole)}):
            fields[f"method.{field}"] = value
    if name in HEADS:
        fields["method.head"] = HEADS[name]
    if variant == "mixed":
        fields["losses.retention"] = 1.0
    if variant == "spectrum":
        fields["losses.spectrum"] = 1.0
    if "prototypes" in own:
        fields |= {"prototypes.count": 32, "prototypes.hidden": 32, "prototypes.bottleneck": 16}
    return with_fields(recipes.get("aasp_tiny"), fields)


def across(name: str) -> tuple[str, ...]:
    """What of its step depends on the other clips of a micro-batch."""
    recipe = recipe_of(name)
    return recipe.method.across(recipe)


def pretraining(name: str, gather: Callable | None = None) -> nn.Module:
    """A method with weights that are not quite those that it begins with."""
    torch.manual_seed(1)
    return stirred(build_objective(recipe_of(name), *([gather] if gather else [])))


def finetuning(norm: str, gather: Callable | None = None) -> nn.Module:
    torch.manual_seed(1)
    encoder = with_fields(
        recipes.get("aasp_tiny").model,
        {"stem": "conv", "vector": "none", **{f"encoder.{k}": v for k, v in MODEL.items()}},
    )
    classifier = AudioClassifier(AudioClassifierConfig(("a", "b", "c"), norm=norm, encoder=encoder))
    return stirred(FinetuneObjective(classifier, with_fields(tiny(), {"norm": norm}), gather))


@torch.no_grad()
def stirred(objective: nn.Module) -> nn.Module:
    draws = torch.Generator().manual_seed(2)
    for parameter in objective.parameters():
        parameter.add_(0.02 * torch.randn(parameter.shape, generator=draws))
    return objective.train()


def made(name: str, gather: Callable | None = None) -> nn.Module:
    objective = finetuning(name.split()[1], gather) if name in TASKS else pretraining(name, gather)
    return objective.double() if name in DOUBLE else objective


def batch(short: bool = True) -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(3)
    lengths = (torch.tensor(SHORT if short else [1.0] * CLIPS) * SAMPLES).long()
    wave = 0.1 * torch.randn(CLIPS, SAMPLES, generator=draws) * torch.linspace(0.3, 1.5, CLIPS)[:, None]
    wave = wave * (torch.arange(SAMPLES) < lengths[:, None])
    return {"wave": wave, "length": lengths, "target": torch.eye(3)[torch.arange(CLIPS) % 3]}


@contextmanager
def same_draws(clips: int) -> Iterator[None]:
    """For a batch of so many clips."""
    from aasp.pretrain.methods import aasp, sslam

    neighbour = next_of(torch.arange(clips), OWN)
    with (
        mock.patch.object(aasp, "drawn_partners", lambda count: neighbour),
        mock.patch.object(sslam, "drawn_partners", lambda count: neighbour),
        SameDraws(clips),
    ):
        yield


def step(model: nn.Module, objective: nn.Module, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Loss, gradients and buffers after a step, by name; whole, where they are spread over processes."""
    from aasp.training.fsdp import whole

    wave = given["wave"].to(next(objective.parameters()).dtype)
    with same_draws(len(given["length"])):
        output = model({**given, "wave": wave}, False)
    output["loss"].backward()
    found = {f"gradient/{name}": whole(p.grad) for name, p in objective.named_parameters() if p.grad is not None}
    found |= {f"buffer/{name}": whole(b) for name, b in objective.named_buffers() if b.is_floating_point()}
    return {"loss": output["loss"].detach(), **{name: tensor.detach().clone() for name, tensor in found.items()}}


def main(out: Path) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    machine = engine.accelerator("cpu")
    rank, world = machine.process_index, machine.num_processes
    own = {name: value.chunk(world)[rank] for name, value in batch().items()}
    mesh = init_device_mesh("cpu", (world,))
    for name in (*METHOD_NAMES, *TASKS):
        for layout in ("ddp", "fsdp"):
            objective = made(name, engine.gatherer(machine))
            if layout == "ddp":
                model: nn.Module = DistributedDataParallel(objective)
            else:  # accelerate's FSDP plugin knows no processors
                model = fully_shard(objective, mesh=mesh)
            found = step(model, objective, own)
            found["loss"] = machine.reduce(found["loss"], "mean")
            if machine.is_main_process:
                save_file({key: value.contiguous() for key, value in found.items()}, out / f"{name}.{layout}")
    machine.wait_for_everyone()
    engine.leave()
    sys.stdout.flush()
    os._exit(0)  # DTensor's caches keep the mesh, whose threads may abort an interpreter that goes down


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
