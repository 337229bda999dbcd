"""AaSP: masked views predict an averaged teacher's layers, and each other.

Legend: B clips, V views, N patches, n visible and m predicted patches, D width.
Source: the paper's three parts (teacher-student masked modelling, cross-attention predictor, multi-mask contrast).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.ema import Average
from aasp.pretrain.heads import projector
from aasp.pretrain.health import collapse, embedding_health
from aasp.pretrain.losses import LossesConfig
from aasp.pretrain.losses.contrastive import contrastive_loss
from aasp.pretrain.losses.frame import frame_loss
from aasp.pretrain.losses.utterance import utterance_loss
from aasp.pretrain.methods.contract import Gather, Method, MethodConfig
from aasp.pretrain.predictors import PredictorConfig, build_predictor
from aasp.pretrain.targets import TeacherConfig, layer_targets, normalised_patches, standardise
from aasp.pretrain.views import Clips, MaskingConfig, draw_masks, listen, see, see_all
from aasp.stems.contract import take
from aasp.stems.health import stem_gradients, stem_health

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class AaSPConfig(MethodConfig):
    """AaSP.

    Attributes:
        masking: masked views.
        teacher: EMA and targets.
        predictor: for hidden patches.
        losses: weights.
    """

    kind: Literal["aasp"] = "aasp"
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    losses: LossesConfig = field(default_factory=LossesConfig)

    def build(self, recipe: Recipe, gather: Gather) -> AaSP:
        return AaSP(self, recipe, gather)

    def schedules(self, steps: int, more: int = 0) -> dict[str, np.ndarray]:
        return {"momentum": self.teacher.schedule(steps, more)}

    def check(self, recipe: Recipe, processes: int) -> None:
        if recipe.data.batch == processes > 1 and self.teacher.utterance == "standardised" and self.losses.utterance:
            told = "a clip for each process, which leaves none to standardise the utterance target over"
            remedy = f"give {2 * processes} or more, or fewer processes"
            raise AaspError(f"data.batch is {recipe.data.batch}: {told}; {remedy}")

    def idle(self, clips: int) -> Iterator[tuple[str, str]]:
        """Losses that have nothing to compare in a step of so many clips, by name, and why."""
        if self.losses.contrastive and self.masking.views == 1:
            told = "masking.views is 1: a single view has nothing to agree with, the contrastive loss stays zero"
            yield "contrastive", told
        elif self.losses.contrastive and clips == 1:
            told = "data.batch is 1: a single clip has none to differ from, the contrastive loss stays zero"
            yield "contrastive", told
        if self.losses.utterance and clips == 1 and self.teacher.utterance == "standardised":
            told = "data.batch is 1: a single clip can't be standardised over clips, the utterance loss stays zero"
            yield "utterance", f"{told} (teacher.utterance=mean needs no others)"


class AaSP(Method):
    """Student, teacher, predictor, projector; `forward` is the step.

    Args:
        config: the method.
        recipe: model and data.
        gather: see `Gather`.
    """

    exported = "teacher.model."

    def __init__(self, config: AaSPConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__()
        self.config, self.recipe, self.gather = config, recipe, gather
        idle = dict(config.idle(recipe.data.batch))
        for told in idle.values():
            warnings.warn(told, stacklevel=2)
        if not any(getattr(config.losses, name) for name in ("frame", "utterance", "contrastive") if name not in idle):
            raise AaspError(f"nothing would be learned: {'; '.join(idle.values())}; weigh losses.frame")
        width = recipe.model.encoder.width
        self.student = AudioEncoder(recipe.model)
        self.teacher = Average(self.student)
        self.predictor = build_predictor(config.predictor, width, config.teacher.target_width(recipe.model))
        self.projector = projector(width, *config.losses.projector)

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        config, student = self.config, self.student
        clips = listen(student, batch, self.recipe.data.gain_db if self.training else None)
        masks = draw_masks(config.masking, clips.grid, clips.columns).to(clips.mel.device)
        target_BND, summary_BD, deviation = self.targets(clips)

        x = see(student, clips, masks.visible, masks.visible_valid)
        cls_BVD = x[:, 0].unflatten(0, masks.visible.shape[:2])
        predicted = self.predictor.hidden(x, masks, clips)
        embedding = self.projector(cls_BVD)

        alone = len(clips.mel) == 1 and config.teacher.utterance == "standardised"  # its target would be zero
        losses = {
            "frame": frame_loss(predicted, take(target_BND, masks.hidden), masks.hidden_valid),
            "utterance": cls_BVD.sum() * 0.0 + 0.0 if alone else utterance_loss(cls_BVD, summary_BD),
            "contrastive": contrastive_loss(embedding, config.losses.temperature, *self.gather(embedding)),
        }
        loss = torch.stack([getattr(config.losses, name) * value for name, value in losses.items()]).sum()
        health = {}
        if diagnose:
            health = {} if len(clips.mel) == 1 else {"summary_deviation": deviation}
            health |= stem_health(student.stem, clips.mel) | embedding_health(predicted, target_BND, cls_BVD)
        return {"loss": loss, "losses": losses, "diagnostics": health}

    @torch.no_grad()
    def targets(self, clips: Clips) -> tuple[Tensor, Tensor, Tensor]:
        """What the teacher, which sees everything, sets.

        Returns:
            The target of every patch, (B, N, `target_width`), the clip's summary, (B, D), and how much summaries differ
            between clips before they are standardised, a 0-d tensor: near zero, they are the same for every clip.
        """
        config, teacher = self.config.teacher, self.teacher.model
        output = see_all(teacher, clips, layers=True)
        frame, summary = layer_targets(output, clips, config.layers, config.utterance == "instance")
        if config.frame != "layers":
            patches = normalised_patches(teacher.stem, clips.mel)
            frame = torch.cat([frame, patches], dim=-1) if config.frame == "layers+patches" else patches
        deviation = summary.std(0, correction=0).mean()
        return frame, standardise(summary) if config.utterance == "standardised" else summary, deviation

    def after_step(self, schedules: Mapping[str, float]) -> None:
        self.update_teacher(schedules["momentum"])

    def update_teacher(self, momentum: float) -> None:
        """Move the teacher towards the student."""
        self.teacher.update(self.student, momentum)

    def gradient_diagnostics(self) -> dict[str, Tensor]:
        return stem_gradients(self.student.stem) | {"ema_distance": self.teacher.distance(self.student)}

    def check_health(self, metrics: Mapping[str, float]) -> str | None:
        return collapse(metrics, self.recipe.data.batch)
