"""Update rules for the weight matrices of transformer blocks: AdamW, as for all other parameters, or Muon."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from aasp.config import check_range
from aasp.parts import Parts
from aasp.training.activations import BLOCKS
from aasp.training.muon import Muon, products

ADAMW = ("exp_avg", "exp_avg_sq")
"""State tensors of AdamW, besides its step count."""


class MatricesConfig(ABC):
    """Base class of the configuration of an update rule, a frozen dataclass.

    Attributes:
        moments: names of the state tensors that the rule keeps per parameter, each of the parameter's shape.
    """

    moments: ClassVar[tuple[str, ...]]

    @abstractmethod
    def takes(self, name: str, parameter: Tensor) -> bool:
        """Whether the rule, and not AdamW, updates the parameter of this name."""

    def products(self, parameter: Tensor) -> int:
        """FLOPs of the matrix products in one update of a parameter that the rule takes."""
        return 0

    @abstractmethod
    def settings(self, lr: float, share: float) -> dict[str, Any]:
        """Additional entries of such a parameter group, for the optimizer and for `aasp.training.optim.set_step`.

        Args:
            lr: peak learning rate of all other parameters.
            share: the group's learning-rate factor.
        """

    @abstractmethod
    def build(self, groups: list[dict[str, Any]], betas: tuple[float, float]) -> torch.optim.Optimizer:
        """The optimizer for all parameter groups."""


@dataclass(frozen=True)
class AdamWConfig(MatricesConfig):
    """AdamW also for the matrices of transformer blocks.

    Attributes:
        kind: the name of this rule in recipes; JSON files omit it, because it was once the only rule.
    """

    kind: ClassVar[str] = "adamw"
    moments: ClassVar[tuple[str, ...]] = ADAMW

    def takes(self, name: str, parameter: Tensor) -> bool:
        return False

    def settings(self, lr: float, share: float) -> dict[str, Any]:
        return {}

    def build(self, groups: list[dict[str, Any]], betas: tuple[float, float]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(groups, lr=0.0, weight_decay=0.0, betas=betas, fused=True)


@dataclass(frozen=True)
class MuonConfig(MatricesConfig):
    """Muon for the matrices of transformer blocks.

    Attributes:
        kind: the name of this rule in recipes.
        lr: peak learning rate of these matrices; it follows the schedule of the other parameters.
        momentum: momentum of their gradients.
        weight_decay: weight decay of these matrices.
    """

    moments: ClassVar[tuple[str, ...]] = ("momentum",)
    kind: Literal["muon"] = "muon"
    lr: float = 0.02
    momentum: float = 0.95
    weight_decay: float = 0.005

    def __post_init__(self) -> None:
        check_range(self, "optimizer.matrices", "lr")
        check_range(self, "optimizer.matrices", "momentum", least=0, below=1)
        check_range(self, "optimizer.matrices", "weight_decay", least=0)

    def takes(self, name: str, parameter: Tensor) -> bool:
        within = f".{name}".rpartition(".")[0]
        return any(f".{blocks}." in within for blocks in BLOCKS) and parameter.ndim == 2 and name.endswith("weight")

    def products(self, parameter: Tensor) -> int:
        return products(*parameter.shape)

    def settings(self, lr: float, share: float) -> dict[str, Any]:
        return {"share": share * self.lr / lr, "decay": self.weight_decay, "momentum": self.momentum}

    def build(self, groups: list[dict[str, Any]], betas: tuple[float, float]) -> torch.optim.Optimizer:
        return Muon(groups, lr=0.0, weight_decay=0.0, betas=betas, fused=True)


MATRICES: Parts[MatricesConfig] = Parts(
    "rule for matrices",
    MatricesConfig,  # type: ignore[type-abstract]
    {"adamw": "aasp.training.matrices:AdamWConfig", "muon": "aasp.training.matrices:MuonConfig"},
    unnamed="adamw",
)
