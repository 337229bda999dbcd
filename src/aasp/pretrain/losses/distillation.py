"""Self-distillation: a student's distribution over prototypes is that of a teacher, which is centred and sharpened.

Legend: K prototypes. Source: DINO (Caron et al. 2021), of class tokens; iBOT (Zhou et al. 2022) and MATPAC, of patches.
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
    """Cross-entropy of the student's distribution under the teacher's, a mean over those that are valid.

    Args:
        student: logits, shape (..., K).
        teacher: centred logits, of the same shape.
        temperatures: of the student and of the teacher: divisors of their logits.
        valid: which count, boolean, shape (...); all if omitted.
        gather: joins a tensor over processes; for one process if omitted.
    """
    target = (teacher.float() / temperatures[1]).softmax(-1)
    terms = -(target * functional.log_softmax(student.float() / temperatures[0], dim=-1)).sum(-1)
    if valid is None:
        return terms.mean()
    return valid_mean(terms, valid, gather)
