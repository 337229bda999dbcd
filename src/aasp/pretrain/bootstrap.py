"""Bootstrapping: a network predicts the output of its own exponential moving average for another view of a clip.

Legend: V views, one or several vectors of each, D encoder width, E output width of the heads.
Source: BYOL (Grill et al. 2020): encoder and projector in both networks, a predictor after the trained one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aasp.config import check_range
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.augment import AugmentConfig
from aasp.pretrain.ema import EMA, EMAConfig
from aasp.pretrain.heads import BatchHead
from aasp.pretrain.methods.contract import Gather
from aasp.pretrain.methods.teacher import TeacherMethod, TeacherMethodConfig

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class BootstrapConfig(TeacherMethodConfig):
    """Settings shared by these methods.

    Attributes:
        augment: how views differ from their clip.
        teacher: the target network, an exponential moving average.
        head: hidden and output width of projector and predictor.
    """

    augment: AugmentConfig = field(default_factory=AugmentConfig)
    teacher: EMAConfig = field(default_factory=EMAConfig)
    head: tuple[int, int] = (4096, 256)

    def __post_init__(self) -> None:
        check_range(self, "method", "head", least=1)

    def check(self, recipe: Recipe, processes: int) -> None:
        if recipe.data.batch == 1:
            text = "the heads' batch norm leaves nothing of a clip that is alone"
            raise AaspError(f"data.batch is 1: {text}; give 2 or more")

    def across(self, recipe: Recipe) -> tuple[str, ...]:
        mixed = ("clips are mixed with others",) if self.augment.mixup else ()
        return ("the heads' batch norm and the statistics of views are taken", *mixed)


class Projected(nn.Module):
    """An encoder followed by a projector.

    Args:
        recipe: the model.
        head: hidden and output width of the projector.
        gather: see `Gather`.
    """

    def __init__(self, recipe: Recipe, head: tuple[int, int], gather: Gather) -> None:
        super().__init__()
        self.encoder = AudioEncoder(recipe.model)
        self.projector = BatchHead(recipe.model.encoder.width, *head, gather)


class Bootstrap(TeacherMethod[Projected]):
    """Both networks and the predictor; a method's `forward` defines their inputs and the compared outputs.

    Args:
        config: the method.
        recipe: model and data.
        gather: see `Gather`.
    """

    exported = "student.encoder."

    def __init__(self, config: BootstrapConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__(recipe, gather)
        self.student = Projected(recipe, config.head, gather)
        self.teacher = EMA(self.student)
        self.predictor = BatchHead(config.head[1], *config.head, gather)

    def predict(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """The trained network's output, (..., E), for vectors (..., D)."""
        return self.predictor(self.student.projector(x, valid), valid)

    @torch.no_grad()
    def target(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """The target network's output, (..., E), for its own encoder's vectors (..., D)."""
        return self.teacher.model.projector(x, valid)
