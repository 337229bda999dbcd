"""What a trace counts in modules without cost code of their own: FLOPs, bytes, and their owners."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from aasp.errors import AaspError
from aasp.planning.step import REST, objective_cost
from aasp.planning.trace import Cost, on_meta, traced

B, N, D = 4, 10, 16


def cost_of(module: nn.Module, *shape: int, gradient: bool = True) -> Cost:
    """Of a module on an input that needs a gradient."""
    x = torch.empty(*shape, device="meta", requires_grad=gradient)
    module = module.to("meta")
    return traced(module, {}, lambda: module(x).sum() if gradient else module(x) and None).total


class Own(nn.Module):
    """A method of a user's own: its own masks, teacher, attention and loss over all processes."""

    def __init__(self, gather: Callable[[Tensor], tuple[Tensor, int]]) -> None:
        super().__init__()
        self.rates = torch.linspace(0, 0.1, 3).tolist()  # a list of values, which the meta device has not
        self.gather = gather
        self.embed = nn.Linear(8, D)
        self.student = nn.TransformerEncoderLayer(D, 2, 32, batch_first=True, dropout=0.0)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.head = Head()

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        tokens = self.embed(batch["wave"].unflatten(1, (-1, 8)))
        kept = torch.rand(tokens.shape[:2]).argsort(1)[:, : int(batch["length"].max()) // 16]  # drawn on the host
        kept = (kept.pin_memory() if tokens.device.type == "cuda" else kept).to(tokens.device)
        seen = tokens.gather(1, kept[..., None].expand(-1, -1, D))
        with torch.no_grad(), torch.autocast(tokens.device.type, enabled=False):
            target = self.teacher(tokens.float())
        mine = self.head.pooled(self.student(seen))
        everyone, _ = self.gather(mine)
        loss = (mine @ everyone.T).square().mean() + (mine - target.mean(1)).square().mean()
        return {"loss": loss, "losses": {"own": loss}, "diagnostics": {}}


class Head(nn.Module):
    """Called by another method than `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(D, D)

    def pooled(self, x: Tensor) -> Tensor:
        return self.map(x.mean(1))


def own_batch() -> dict[str, Tensor]:
    return {"wave": torch.empty(B, 8 * N, device="meta"), "length": torch.full((B,), 8 * N)}


def layer(tokens: int) -> int:
    """FLOPs forward of the transformer layer on B sequences: four maps of D x D, two of D x 32, scores and sums."""
    return 2 * B * tokens * (4 * D * D + 2 * 32 * D) + 2 * B * 2 * tokens * tokens * D


def test_a_user_defined_method_is_costed_without_extra_code() -> None:
    cost = objective_cost(Own, own_batch(), gpus=3)
    flops = {name: (part.forward, part.backward) for name, part in cost.parts.items()}
    embed, head, compared = 2 * B * N * 8 * D, 2 * B * D * D, 2 * B * 3 * B * D
    assert flops == {
        "embed": (embed, embed),  # the wave needs no gradient
        "student": (layer(N // 2), 2 * layer(N // 2)),
        "teacher": (layer(N), 0),
        "head": (head, 2 * head),
        REST: (compared, 2 * compared),
    }
    assert cost.parts["teacher"].single == layer(N) and cost.parts["student"].single == 0
    assert cost.gathered == 3 * B * D * 2  # bf16, as the head's map gives it
    module = Own(lambda x: (x, 0))
    assert cost.trained == sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert cost.averaged == sum(p.numel() for p in module.teacher.parameters())


def test_a_step_that_reads_values_is_refused_in_one_line() -> None:
    class Looks(Own):
        def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
            return {"loss": self.embed(batch["wave"].unflatten(1, (-1, 8)))[batch["wave"][:, :N] > 0].sum()}

    with pytest.raises(AaspError, match=r"^Looks can't be planned without data \(.*\); .* on the host") as error:
        objective_cost(Looks, own_batch())
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_a_mistake_in_a_step_is_not_hidden() -> None:
    class Wrong(Own):
        def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
            return {"loss": self.embed(batch["wave"]).sum()}

    with pytest.raises(RuntimeError, match=r"reduction dim|size mismatch|shapes"):
        objective_cost(Wrong, own_batch())


def test_tracing_leaves_the_global_state_unchanged() -> None:
    before, state = torch.is_autocast_enabled("cuda"), torch.get_rng_state()
    objective = on_meta(lambda: Own(lambda x: (x, 0)))
    traced(objective, {"head": objective.head}, lambda: objective(own_batch())["loss"])
    assert torch.is_autocast_enabled("cuda") == before and torch.equal(torch.get_rng_state(), state)
    assert not {"forward", "pooled"} & set(vars(objective.head))


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_grouped_convolution_does_a_groups_products(groups: int, transposed: bool) -> None:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    module = kind(16, 32, 3, padding=1, groups=groups, bias=False)
    cost = cost_of(module, 2, 16, 6, 8)
    each = 2 * 2 * 6 * 8 * 9 * 16 * 32 // groups
    assert (cost.forward, cost.backward) == (each, 2 * each)
    with FlopCounterMode(display=False) as counter:  # torch's agrees where there are no groups
        module.to_empty(device="cpu")(torch.zeros(2, 16, 6, 8, requires_grad=True)).sum().backward()
    assert (counter.get_total_flops() == 3 * each) == (groups == 1)


def test_autocast_can_be_left_and_entered_again() -> None:
    class Leaves(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast(x.device.type, enabled=False):
                y = x @ x.mT
                with torch.autocast(x.device.type, dtype=torch.bfloat16):
                    return y.sum() + (x @ x.mT).sum()

    cost, product = cost_of(Leaves(), B, N, D), 2 * B * N * N * D
    assert (cost.forward, cost.backward, cost.single) == (2 * product, 4 * product, 3 * product)


def test_attention_is_fused_and_counted_once() -> None:
    class Attends(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            mask = torch.ones(N, N, dtype=torch.bool, device=x.device)
            return functional.scaled_dot_product_attention(x, key=x, value=x, attn_mask=mask)

    cost = cost_of(Attends(), B, 2, N, D)
    products = 2 * B * 2 * N * N * D
    assert (cost.forward, cost.backward) == (2 * products, 4 * products)
    assert cost.kept == 2 * (3 + 1) * B * 2 * N * D  # three casts of x to bf16, and what comes out; no shares


def test_bytes_kept_are_those_of_autocast() -> None:
    block = nn.Sequential(nn.LayerNorm(D), nn.Linear(D, 64), nn.GELU(), nn.Linear(64, D))
    rows, cost = B * N, cost_of(block, B, N, D)
    statistics = 2 * 4 * rows
    assert cost.kept == 4 * rows * D + statistics + 2 * rows * (D + 64 + 64)
    assert cost.single == 0


def test_a_storage_is_kept_once_and_weights_are_not() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(D, D), nn.Linear(D, D)

        def forward(self, x: Tensor) -> Tensor:
            x = x.bfloat16()
            return self.a(x) + self.b(x.view(-1, D)).view_as(x)

    assert cost_of(Twice(), B, N, D).kept == 2 * B * N * D


def test_the_peak_is_what_is_held_at_once() -> None:
    class Chain(nn.Module):
        def forward(self, x: Tensor) -> None:
            a = x * 2
            b = a * 2
            del a
            c = b * 2
            del b, c
            (x * 2).sum()

    x = torch.empty(1000, device="meta")
    module = Chain()
    assert traced(module, {}, lambda: module(x)).peak == 2 * 4 * 1000


def test_fourier_transforms_and_pointwise_operations_stand_apart() -> None:
    class Spectrum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft(x * 2).real

    cost = cost_of(Spectrum(), 3, 512)
    assert (cost.flops, cost.elementwise) == (0, 3 * 512 + 3 * round(2.5 * 512 * 9))


def test_a_model_that_cannot_be_built_on_meta_is_moved_there() -> None:
    module = on_meta(lambda: Own(lambda x: (x, 0)))
    assert {p.device.type for p in module.parameters()} == {"meta"}
