"""What methods with a student and a teacher have in common: the teacher is the student's moving average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from torch import Tensor, nn

from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.ema import EMA, EMAConfig
from aasp.pretrain.health import collapse
from aasp.pretrain.methods.contract import Gather, Method, MethodConfig

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe

Network = TypeVar("Network", bound=nn.Module)


class TeacherMethodConfig(MethodConfig):
    """Configuration of such a method, with a field `teacher`."""

    teacher: EMAConfig

    def schedules(self, steps: int, more: int = 0) -> dict[str, np.ndarray]:
        return {"momentum": self.teacher.schedule(steps, more)}


class TeacherMethod(Method, Generic[Network]):
    """A method whose `teacher` is updated after each step, and which is stopped if its outputs become constant.

    Args:
        recipe: model and data.
        gather: see `Gather`.
    """

    student: Network
    teacher: EMA[Network]

    def __init__(self, recipe: Recipe, gather: Gather) -> None:
        super().__init__()
        self.data, self.gather = recipe.data, gather

    def after_step(self, schedules: Mapping[str, float]) -> None:
        self.teacher.update(self.student, schedules["momentum"])

    def gradient_diagnostics(self) -> dict[str, Tensor]:
        encoder = next(part for part in self.student.modules() if isinstance(part, AudioEncoder))
        return encoder.stem.gradient_diagnostics() | {"ema_distance": self.teacher.distance(self.student)}

    def check_health(self, metrics: Mapping[str, float]) -> str | None:
        return collapse(metrics, self.data.batch)
