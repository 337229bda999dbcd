"""Self-distillation: a student learns a teacher's centred and sharpened distribution over prototypes.

Legend: K prototypes. Source: DINO (Caron et al. 2021) for class tokens; iBOT (Zhou et al. 2022) and MATPAC for patches.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from aasp.pretrain.losses.valid import Gather, alone, valid_mean


def distillation_loss(
    student: Tensor,
    teacher: Tensor,
    temperatures: tuple[float, float | Tensor],
    valid: Tensor | None = None,
    gather: Gather = alone,
) -> Tensor:
    """Cross-entropy of the student's distribution under the teacher's, a mean over valid vectors.

    Args:
        student: logits, shape (..., K).
        teacher: centred logits of the same shape.
        temperatures: temperatures of the student and of the teacher, divisors of their logits.
        valid: which vectors are valid, boolean, shape (...); all if omitted.
        gather: concatenates a tensor over processes; for one process if omitted.
    """
    target = (teacher.float() / temperatures[1]).softmax(-1)
    terms = -(target * functional.log_softmax(student.float() / temperatures[0], dim=-1)).sum(-1)
    if valid is None:
        return terms.mean()
    return valid_mean(terms, valid, gather)
