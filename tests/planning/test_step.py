"""The traced cost of a step is what torch counts of a real one, and what autograd keeps."""

from __future__ import annotations

import functools

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from aasp.config import with_fields
from aasp.planning.step import REST, StepCost, step_cost
from aasp.pretrain import recipes
from aasp.pretrain.masking import draw_masks
from aasp.pretrain.objective import build_objective
from aasp.pretrain.recipe import Recipe
from aasp.stems.conv import ConvConfig
from plain import plain_tiny

SMALL = {
    "model.encoder.width": 32, "model.encoder.depth": 2,
    "model.vector": "none", "model.encoder.heads": 4, "predictor.depth": 2,
    "predictor.width": 16, "predictor.heads": 4, "losses.projector": (64, 16), "data.batch": 3,
}  # fmt: skip
AAPE = {"model.stem.states": 4, "model.stem.encoder_width": 16}
SETTINGS: dict[str, dict[str, object]] = {
    "patch-local": AAPE,
    "convolution": {"model.stem": "conv"},
    "wide taps": AAPE | {"model.stem.taps": 48},
    "wide taps, post-norm, half visible": AAPE
    | {"model.stem.taps": 48, "model.encoder.norm": "post", "masking.keep_ratio": 0.5},
    "deeper Lambda Encoder": AAPE | {"model.stem.encoder_depth": 2, "model.stem.frames_per_token": 4},
    "learned Lambda": {"model.stem.parameters": "learned", "model.stem.states": 4},
    "fixed Lambda": {"model.stem.parameters": "fixed", "model.stem.states": 4},
    "low-pass": {"model.stem": "lowpass"},
    "overlapping convolution": {"model.stem": ConvConfig(taps=32)},
    "AaPE alone": AAPE | {"model.stem.conv": False},
    "AaPE without magnitude": AAPE | {"model.stem.magnitude": False},
    "leaky": AAPE | {"model.stem.taps": 48, "model.stem.leaky": True},
    "self-attention predictor": AAPE | {"predictor.form": "self"},
    # Of one group: torch counts the weight gradient of a grouped convolution as if it had no groups.
    "convolutional predictor": AAPE | {"predictor.form": "conv", "predictor.heads": 1},
    "reconstruction": AAPE | {"teacher.frame": "patches"},
    "layers and patches": AAPE | {"teacher.frame": "layers+patches"},
    "one view": AAPE | {"masking.views": 1},
    "one clip": AAPE | {"data.batch": 1},
    "ten clips": AAPE | {"data.batch": 10, "masking.views": 2},
    "all hidden patches predicted": AAPE | {"masking.predicted": 1.0},
    "post-norm convolution": {"model.stem": "conv", "model.encoder.norm": "post", "model.encoder.mlp_ratio": 3.0},
    "random masks": AAPE | {"masking.scheme": "random"},
    "80 mel bins": {"model.stem": "conv", "model.frontend.mels": 80, "model.frontend.centered": True},
}


def small(name: str) -> Recipe:
    return with_fields(plain_tiny(), SMALL | SETTINGS[name])


@functools.cache
def cost_of(name: str) -> StepCost:
    return step_cost(small(name))


def batch(recipe: Recipe, *shares: float) -> dict[str, torch.Tensor]:
    """Noise that fills these shares of the crop."""
    samples = round(recipe.data.crop_seconds * recipe.model.frontend.rate)
    wave = 0.1 * torch.randn(len(shares), samples, generator=torch.Generator().manual_seed(0))
    length = torch.tensor([round(share * samples) for share in shares])
    return {"wave": wave.masked_fill(torch.arange(samples) >= length[:, None], 0.0), "length": length}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:masking.views is 1", "ignore:data.batch is 1")
@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
@pytest.mark.parametrize("name", SETTINGS)
def test_torch_counts_the_same_flops(name: str, padded: bool) -> None:
    recipe = small(name)
    objective, cost = build_objective(recipe), cost_of(name)
    shares = [1.0, *(0.6 if padded else 1.0 for _ in range(recipe.data.batch - 1))]
    with sdpa_kernel(SDPBackend.MATH):  # the counter does not count the fused kernel
        with FlopCounterMode(display=False) as forward:
            loss = objective(batch(recipe, *shares), False)["loss"]
        with FlopCounterMode(display=False) as backward:
            loss.backward()
    assert forward.get_total_flops() == cost.total.forward
    assert backward.get_total_flops() == cost.total.backward


@pytest.mark.filterwarnings("ignore:masking.views is 1", "ignore:data.batch is 1")
@pytest.mark.parametrize("name", SETTINGS)
def test_parameters_are_counted(name: str) -> None:
    recipe = small(name)
    objective, cost = build_objective(recipe), cost_of(name)
    numbers = lambda module, trained: sum(p.numel() for p in module.parameters() if p.requires_grad == trained)
    assert cost.trained == numbers(objective, True)
    assert cost.averaged == numbers(objective, False) >= numbers(objective.student, True)


def test_each_part_is_counted_where_it_belongs() -> None:
    recipe, parts = small("patch-local"), cost_of("patch-local").parts
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        build_objective(recipe)(batch(recipe, 1.0, 1.0, 1.0))
    counted = {name: sum(flops.values()) for name, flops in counter.get_flop_counts().items()}
    inner = {"teacher": ("teacher.model.stem", "teacher.model.encoder")}  # torch's table counts these in both lines
    for path in set(parts) - {"student", REST}:
        within = sum(parts[name].forward for name in inner.get(path, ()))
        assert counted.get(f"AaSP.{path}", 0) == parts[path].forward + within, path


def test_a_view_of_a_wide_stem_belongs_to_the_stem() -> None:
    """Its `views` is called, not its `forward`; a module's hooks would not notice, backward least of all."""
    parts = cost_of("wide taps").parts
    encoder = parts["student.encoder"]
    assert encoder.backward == 2 * encoder.forward
    assert parts["student.stem"].forward > parts["student.stem"].backward / 2 > 0
    assert parts[REST].backward == 2 * (parts[REST].forward - MASKS - TARGETS)


TARGETS = 4 * 2 * 3 * 6 * 8 * 32
"""FLOPs of the mean and the variance over a clip's 6 x 8 tokens, of 2 layers of 3 clips at width 32."""
MASKS = 2 * 3 * 4 * 6 * 1 * 8
"""FLOPs of painting blocks: 3 clips of 4 views, one block of 6 x 8 patches each, on the host."""


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_autograd_keeps_about_as_many_bytes(norm: str) -> None:
    """Within a tenth, under bf16, and without the weights of plain attention, which a fused one doesn't keep."""
    changes = {"model.encoder.norm": norm, "model.encoder.width": 128, "data.batch": 4, "masking.keep_ratio": 0.5}
    recipe = with_fields(small("convolution"), changes)
    objective = build_objective(recipe)
    weights = {shape for p in objective.parameters() for shape in (tuple(p.shape), tuple(p.shape)[::-1])}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x), torch.autocast("cpu", torch.bfloat16):
        out = objective(batch(recipe, 1.0, 1.0, 1.0, 1.0))
    keys = 1 + draw_masks(recipe.method.masking, (6, 8), torch.tensor([6])).visible.shape[-1]
    attention = lambda x: x.ndim == 3 and x.shape[-1] == keys and x.shape[-2] != recipe.model.encoder.width // 4
    activations = [x for x in kept.values() if tuple(x.shape) not in weights and not attention(x)]
    assert out["loss"].requires_grad
    total = sum(x.untyped_storage().nbytes() for x in activations)
    assert step_cost(recipe).total.kept == pytest.approx(total, rel=0.1)


@pytest.mark.slow
def test_costs_grow_with_the_clips_but_for_shared_maps_and_comparisons() -> None:
    recipe = recipes.get("aasp_base")
    one, four = step_cost(recipe, 12).parts, step_cost(recipe, 48).parts
    other = {name for name in one if four[name].flops != 4 * one[name].flops}
    assert other == {"student.stem", "teacher.model.stem", REST}
    maps = 4 * one["teacher.model.stem"].flops - four["teacher.model.stem"].flops  # done once a step: three times less
    assert maps == 3 * 2 * 768 * (49 * 49 + 768 * 256 + 768 * 49)
    assert four[REST].backward == 16 * one[REST].backward


def test_processes_compare_their_own_views_with_all() -> None:
    recipe = plain_tiny()
    alone, shared = step_cost(recipe, 8), step_cost(recipe, 8, gpus=4)
    views, summaries, count = 8 * 4 * 256 * 2, 8 * 192 * 4, 4  # bf16, as the projector gives; fp32; of valid patches
    assert alone.gathered == views + summaries + count and shared.gathered == 4 * alone.gathered
    assert shared.parts[REST].backward == 4 * alone.parts[REST].backward
    assert {name: cost.flops for name, cost in shared.parts.items() if name != REST} == {
        name: cost.flops for name, cost in alone.parts.items() if name != REST
    }
