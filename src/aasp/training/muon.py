"""Muon: orthogonalised momentum updates for the matrices of transformer blocks, AdamW for all other parameters.

    M ← μ M + (1 − μ) ∇W                                  momentum
    G = μ M + (1 − μ) ∇W                                  Nesterov
    O ≈ U Vᵀ of G = U S Vᵀ                                five Newton-Schulz iterations
    W ← (1 − lr · decay) W − lr · √max(1, rows / columns) · O

Source: Jordan et al. 2024 ("Muon: an optimizer for hidden layers in neural networks"), with its coefficients and scale.
torch.optim.Muon rounds to bf16, in which CPUs without bf16 instructions are fifty times slower than in fp32. The form
of the iteration is ours: every factor is a polynomial in G Gᵀ, so that only two products have the width of G.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from aasp.training.fsdp import laid_out_as, whole

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


_STEP = inspect.unwrap(torch.optim.AdamW.step)
"""Without hooks, which torch calls around the step of every optimizer, also of one inside another."""


class Muon(torch.optim.AdamW):
    """AdamW, except that parameter groups with a `momentum` entry hold matrices and are updated by Muon."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step; if `found_inf` is set and not zero, weights and momentum do not change."""
        assert closure is None, "nothing here evaluates the loss again"
        groups = self.param_groups
        try:
            self.param_groups = [group for group in groups if "momentum" not in group]
            _STEP(self)
        finally:
            self.param_groups = groups
        for group in groups:
            if "momentum" in group:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        rates = (group[name] for name in ("lr", "weight_decay", "momentum"))
                        self._move(parameter, parameter.grad, *rates)

    def _move(self, parameter: Tensor, gradient: Tensor, rate: float, decay: float, mu: float) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"].lerp(gradient, 1 - mu)
        change = orthogonalised(whole(torch.lerp(gradient, momentum, mu)))
        scale = max(1.0, parameter.shape[0] / parameter.shape[1]) ** 0.5
        moved = parameter * (1 - rate * decay) - laid_out_as(parameter, change) * (rate * scale)
        veto = getattr(self, "found_inf", None)
        if veto is not None:  # `where`, because zero times a non-finite gradient is not zero
            momentum = torch.where(veto != 0, state["momentum"], momentum)
            moved = torch.where(veto != 0, parameter, moved)
        state["momentum"].copy_(momentum)
        parameter.copy_(moved)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Approximately the nearest matrix with orthonormal rows or columns: its singular values are in [0.7, 1.2].

    Args:
        matrix: shape (rows, columns), of any scale.
    """
    a, b, c = COEFFICIENTS
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    square, product = x @ x.T, None
    for number in range(ITERATIONS):
        factor = torch.addmm(square, square, square, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor if product is None else factor @ product
        if number < ITERATIONS - 1:
            square = factor @ (factor @ square)
    assert product is not None
    x = product @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def products(rows: int, columns: int) -> int:
    """FLOPs of the products in `orthogonalised`: two have the matrix's longer side, the rest are short × short."""
    short, long = sorted((rows, columns))
    narrow = ITERATIONS + (ITERATIONS - 1) + 2 * (ITERATIONS - 1)  # factors, their running product, squares
    return 2 * short**2 * (2 * long + narrow * short)
