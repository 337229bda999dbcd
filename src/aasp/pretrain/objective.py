"""One step of AaSP pre-training, as in the paper's figure.

Legend: B clips, V views, S samples, T frames, M mel bins, N patches, n visible and m predicted patches, D width.
Source: the paper's three parts (teacher-student masked modelling, cross-attention predictor, multi-mask contrast).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aasp.audio.augment import random_gain
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.health import collapse, embedding_health
from aasp.pretrain.losses.contrastive import contrastive_loss
from aasp.pretrain.losses.frame import frame_loss
from aasp.pretrain.losses.utterance import utterance_loss
from aasp.pretrain.masking import draw_masks
from aasp.pretrain.predictor import Predictor
from aasp.pretrain.recipe import Recipe
from aasp.pretrain.teacher import Teacher
from aasp.stems.contract import take

Gather = Callable[[Tensor], tuple[Tensor, int]]


class PretrainObjective(nn.Module):
    """Student, teacher, predictor and losses; `forward` is the step.

    Args:
        recipe: the system.
        gather: joins a tensor over processes along its first dimension, differentiably, and tells where in it this
            process's own begins; its backward sums the gradients of all processes. For one process: itself, and 0.
    """

    def __init__(self, recipe: Recipe, gather: Gather = lambda x: (x, 0)) -> None:
        super().__init__()
        self.recipe, self.gather = recipe, gather
        idle, losses = dict(_idle(recipe)), recipe.losses
        for told in idle.values():
            warnings.warn(told, stacklevel=2)
        if not any(getattr(losses, name) for name in ("frame", "utterance", "contrastive") if name not in idle):
            raise AaspError(f"nothing would be learned: {'; '.join(idle.values())}; weigh losses.frame")
        width = recipe.model.encoder.width
        self.student = AudioEncoder(recipe.model)
        self.teacher = Teacher(self.student, recipe.teacher)
        self.predictor = Predictor(recipe.predictor, width, recipe.teacher.target_width(recipe.model))
        hidden, embedding = recipe.losses.projector
        self.projector = nn.Sequential(
            nn.Linear(width, hidden, bias=False), nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, embedding)
        )

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        """Losses of one batch.

        Args:
            batch: "wave", shape (B, S), zero beyond each clip's end; "length", valid samples, shape (B,), on the host.
            diagnose: also measure the health of the step.

        Returns:
            "loss", the weighted sum; "losses", each by name; "diagnostics", the health of the step; all 0-d tensors.
        """
        recipe, student = self.recipe, self.student
        with torch.no_grad():
            wave_BS = random_gain(batch["wave"], recipe.data.gain_db) if self.training else batch["wave"]
            mel_BTM, frames_B = student.frontend(wave_BS, batch["length"])
        grid = student.stem.grid(mel_BTM.shape[1])
        full = bool((frames_B == mel_BTM.shape[1]).all())  # lengths live on the host: no synchronisation
        valid_BN = None if full else student.stem.valid_patches(frames_B, mel_BTM.shape[1]).to(mel_BTM.device)
        masks = draw_masks(recipe.masking, grid, -(-frames_B // student.stem.patch[0])).to(mel_BTM.device)
        visible_valid = None if full else masks.visible_valid.flatten(0, 1)

        target_BND, summary_BD, summary_deviation = self.teacher(mel_BTM, valid_BN)

        tokens = student.stem.views(mel_BTM, masks.visible, valid_BN).flatten(0, 1)
        places = student.places(mel_BTM, masks.visible.flatten(0, 1))
        x = student.encoder(tokens, places, visible_valid).last  # (B * V, 1 + n, D), the class token first
        cls_BVD = x[:, 0].unflatten(0, masks.visible.shape[:2])

        asked = masks.hidden.flatten(0, 1)
        asked_valid = None if full else masks.hidden_valid.flatten(0, 1)
        predicted = self.predictor(x, masks.visible.flatten(0, 1), asked, grid, visible_valid, asked_valid)
        predicted = predicted.unflatten(0, masks.hidden.shape[:2])

        embedding = self.projector(cls_BVD)
        losses = {
            "frame": frame_loss(predicted, take(target_BND, masks.hidden), masks.hidden_valid),
            "utterance": cls_BVD.sum() * 0.0 + 0.0 if self._alone(mel_BTM) else utterance_loss(cls_BVD, summary_BD),
            "contrastive": contrastive_loss(embedding, recipe.losses.temperature, *self.gather(embedding)),
        }
        loss = torch.stack([getattr(recipe.losses, name) * value for name, value in losses.items()]).sum()
        diagnostics = {}
        if diagnose:
            diagnostics = {} if len(mel_BTM) == 1 else {"summary_deviation": summary_deviation}
            diagnostics |= student.stem.diagnostics(mel_BTM)
            diagnostics |= embedding_health(predicted, target_BND, cls_BVD)
        return {"loss": loss, "losses": losses, "diagnostics": diagnostics}

    def _alone(self, mel_BTM: Tensor) -> bool:
        """Whether there is one clip only, and nothing to standardise its summary over: it would be zero, a constant."""
        return len(mel_BTM) == 1 and self.recipe.teacher.utterance == "standardised"

    def update_teacher(self, momentum: float) -> None:
        """Move the teacher towards the student."""
        self.teacher.update(self.student, momentum)

    def gradient_diagnostics(self) -> dict[str, Tensor]:
        """What can be read between backward and the optimizer's step."""
        return self.student.stem.gradient_diagnostics() | {"ema_distance": self.teacher.distance(self.student)}

    def check_health(self, metrics: Mapping[str, float]) -> str | None:
        """Why training should stop, in a few words, or None."""
        return collapse(metrics, self.recipe.data.batch)


def _idle(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Losses of a recipe that have nothing to compare, by name, and why."""
    losses, alone = recipe.losses, recipe.data.batch == 1
    if losses.contrastive and recipe.masking.views == 1:
        told = "masking.views is 1: a single view has nothing to agree with, the contrastive loss stays zero"
        yield "contrastive", told
    elif losses.contrastive and alone:
        yield "contrastive", "data.batch is 1: a single clip has none to differ from, the contrastive loss stays zero"
    if losses.utterance and alone and recipe.teacher.utterance == "standardised":
        told = "data.batch is 1: a single clip can't be standardised over clips, the utterance loss stays zero"
        yield "utterance", f"{told} (teacher.utterance=mean needs no others)"
