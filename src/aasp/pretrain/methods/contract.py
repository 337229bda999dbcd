"""Interface of methods: a configuration builds one module, whose `forward` is the training step.

Legend: B clips, S samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from aasp.pretrain.losses.valid import Gather
from aasp.stems.contract import Stem
from aasp.training.objective import Objective

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe

__all__ = ["Gather", "Method", "MethodConfig"]


class MethodConfig(ABC):
    """Base class of a method's configuration, a frozen dataclass."""

    @abstractmethod
    def build(self, recipe: Recipe, gather: Gather) -> Method:
        """Build the method, with random weights.

        Args:
            recipe: model, data and steps; its `method` is this configuration.
            gather: see `Gather`.

        Raises:
            AaspError: with this recipe nothing would be learned.
        """

    def schedules(self, steps: int, more: int = 0) -> dict[str, np.ndarray]:
        """Schedules in addition to the optimizer's, by name, each of shape (steps + more,).

        Args:
            steps: steps of the recipe.
            more: steps by which a finished run was extended.
        """
        return {}

    def check(self, recipe: Recipe, processes: int) -> None:
        """Check that the recipe's batch has enough clips for this number of processes.

        Raises:
            AaspError: a process would have too few clips.
        """
        return None

    def across(self, recipe: Recipe) -> tuple[str, ...]:
        """Short descriptions of the parts of a step that depend on the other clips of the batch.

        With gradient accumulation, these are the other clips of the micro-batch.
        """
        return ()


class Method(Objective):
    """A pre-training method, with its predictor, teacher and losses.

    Attributes:
        exported: prefix, in its state dict, of the `AudioEncoder` that is saved as the model: the one that its
            authors use, the student or the teacher.
        fresh: prefixes of tensors that `--from` a run of another method does not bring, even under the same names.
    """

    exported: str = "student."
    fresh: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        """Losses of one batch.

        Args:
            batch: "wave", shape (B, S), zero beyond each clip's end; "length", valid samples, shape (B,), on the host.
            diagnose: also compute diagnostics.

        Returns:
            "loss", the weighted sum to be minimised; "losses", each loss by name; "diagnostics" by name; all 0-d
            tensors.
        """

    def learning_rate_share(self, name: str) -> float:
        """The learning-rate factor of the parameter of this name: the value from its stem, or else 1."""
        for path, stem in self.named_modules():
            if isinstance(stem, Stem) and name.startswith(f"{path}."):
                return stem.learning_rate_share(name.removeprefix(f"{path}."))
        return 1.0
