"""Prototype loss: a student's distribution over prototypes against a teacher's, centred and sharpened.

    p = softmax((t - c) / tau_t),   q = softmax(s / tau_s),   loss = -sum p log q,   c <- d c + (1 - d) mean t

Legend: B clips, V views, m hidden patches, K prototypes.
Source: DINO (Caron et al. 2021), eq. 2 and 4; MATPAC has a distribution for each hidden patch. Centring keeps one
prototype from taking all, sharpening keeps all from being equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aasp.config import check_range
from aasp.pretrain.methods.contract import Gather
from aasp.training.schedules import constant, ramp


@dataclass(frozen=True)
class PrototypesConfig:
    """The classification of hidden patches.

    Attributes:
        count: prototypes K.
        hidden: width of the head's hidden layers.
        bottleneck: width of the vector that is compared with prototypes.
        temperature: of the student.
        teacher_temperature: of the teacher, at the start and from the end of its ramp on.
        ramp: share of all steps over which the teacher's temperature rises linearly.
        centring: momentum of the centre.
        momentum: of the target network's head, at the start and at the end.
        weight: of the classification loss; the prediction loss has the rest of 1.
    """

    count: int = 2048
    hidden: int = 2048
    bottleneck: int = 256
    temperature: float = 0.1
    teacher_temperature: tuple[float, float] = (0.04, 0.07)
    ramp: float = 9_827 / 294_816
    centring: float = 0.9
    momentum: tuple[float, float] = (0.998, 1.0)
    weight: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "prototypes", "count", least=2)
        check_range(self, "prototypes", "hidden bottleneck", least=1)
        check_range(self, "prototypes", "temperature teacher_temperature")
        check_range(self, "prototypes", "ramp centring momentum weight", least=0, most=1)

    def schedules(self, steps: int, more: int) -> dict[str, np.ndarray]:
        """The head's momentum and the teacher's temperature of each step, each of shape (steps + more,)."""

        def rising(ends: tuple[float, float], over: int) -> np.ndarray:
            return np.concatenate([ramp(ends[0], ends[1], steps, over=over), constant(ends[1], more)])

        temperature = rising(self.teacher_temperature, round(self.ramp * steps))
        return {"head_momentum": rising(self.momentum, steps), "teacher_temperature": temperature}


def prototype_loss(
    student_BVmK: Tensor,
    teacher_BVmK: Tensor,
    valid_BVm: Tensor,
    centre_K: Tensor,
    student_temperature: float,
    teacher_temperature: Tensor | float,
) -> Tensor:
    """Cross-entropy of distributions over prototypes, a mean over patches that count.

    Args:
        student_BVmK: similarities of what is predicted, shape (B, V, m, K).
        teacher_BVmK: those of the targets.
        valid_BVm: which of them count, boolean, shape (B, V, m).
        centre_K: what is subtracted from the teacher's.
        student_temperature: divisor of the student's.
        teacher_temperature: divisor of the teacher's, the smaller the sharper.
    """
    target = torch.softmax((teacher_BVmK.float() - centre_K) / teacher_temperature, dim=-1)
    terms_BVm = -(target * torch.log_softmax(student_BVmK.float() / student_temperature, dim=-1)).sum(-1)
    weight = valid_BVm.to(terms_BVm.dtype)
    return (terms_BVm * weight).sum() / weight.sum()


@torch.no_grad()
def move_centre(centre_K: Tensor, teacher_BVmK: Tensor, valid_BVm: Tensor, momentum: float, gather: Gather) -> None:
    """Move the centre, in place, towards the mean of the teacher's similarities that count, of all processes."""
    weight = valid_BVm.float()[..., None]
    sums = torch.cat([(teacher_BVmK.float() * weight).sum((0, 1, 2)), weight.sum().reshape(1)])
    total = gather(sums[None])[0].sum(0)
    centre_K.lerp_(total[:-1] / total[-1], 1 - momentum)
