"""MATPAC: hidden patches are predicted in latent space, and classified to match the target network's classification.

Legend: B clips, V views, n visible and m hidden patches, D width, K prototypes.
Source: Quelennec et al. 2025 (Masked latent Prediction And Classification): M2D's two networks and predictor; the
prediction loss is 2 - 2 cos with the target network's unnormalised tokens; heads over K prototypes for predicted and
target tokens, the target's a moving average of the online one; each loss has weight 1/2. Heads, temperatures and
momenta are those of its published configuration. The centre is the mean of the teacher's similarities, as in DINO
(their code uses the mean of its probabilities); a step's temperature is set after the previous step; several views of a
clip are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.ema import EMA, EMAConfig
from aasp.pretrain.encoding import encode_visible, to_logmel
from aasp.pretrain.health import embedding_health
from aasp.pretrain.losses.cosine import cosine_loss
from aasp.pretrain.losses.distillation import distillation_loss
from aasp.pretrain.masking import MaskingConfig, draw_masks
from aasp.pretrain.methods.contract import Gather
from aasp.pretrain.methods.m2d import check_masking
from aasp.pretrain.methods.teacher import TeacherMethod, TeacherMethodConfig
from aasp.pretrain.predictors import PredictorConfig, build_predictor
from aasp.pretrain.prototypes import Centre, PrototypeHead, PrototypesConfig

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class MATPACConfig(TeacherMethodConfig):
    """MATPAC.

    Attributes:
        masking: masking of the online network's input; the target network encodes the hidden patches.
        teacher: the target network, an exponential moving average.
        predictor: predictor of the target network's tokens.
        prototypes: the classification.
    """

    kind: Literal["matpac"] = "matpac"
    masking: MaskingConfig = field(default_factory=lambda: MaskingConfig(views=1, keep_ratio=0.3, scheme="random"))
    teacher: EMAConfig = field(default_factory=lambda: EMAConfig(0.99995, 0.99999, ramp=1.0))
    predictor: PredictorConfig = field(default_factory=lambda: PredictorConfig("self", 8, 512, 16))
    prototypes: PrototypesConfig = field(default_factory=PrototypesConfig)

    def __post_init__(self) -> None:
        check_masking(self.masking)

    def build(self, recipe: Recipe, gather: Gather) -> MATPAC:
        return MATPAC(self, recipe, gather)

    def across(self, recipe: Recipe) -> tuple[str, ...]:
        return ("the teacher's centre is moved",)

    def schedules(self, steps: int, more: int = 0) -> dict[str, np.ndarray]:
        return super().schedules(steps, more) | self.prototypes.schedules(steps, more)


class MATPAC(TeacherMethod[AudioEncoder]):
    """Online network, target network, predictor, heads; `forward` is the training step."""

    exported = "student."
    temperature: Tensor

    def __init__(self, config: MATPACConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__(recipe, gather)
        self.config = config
        width, own = recipe.model.encoder.width, config.prototypes
        self.student = AudioEncoder(recipe.model)
        self.teacher = EMA(self.student)
        self.predictor = build_predictor(config.predictor, width, width)
        self.head = PrototypeHead(width, own.hidden, own.bottleneck, own.count, gains=True)
        self.teacher_head = EMA(self.head)
        self.centre = Centre(own.count, own.centring, gather)
        self.register_buffer("temperature", torch.tensor(own.teacher_temperature[0]))

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        own = self.config.prototypes
        clips = to_logmel(self.student, batch, self.data.gain(self.training))
        masks = draw_masks(self.config.masking, clips.grid, clips.columns).to(clips.mel.device)

        x = encode_visible(self.student, clips, masks.visible, masks.visible_valid)
        predicted_BVmD = self.predictor.predict(x, masks, clips)
        with torch.no_grad():
            hidden = encode_visible(self.teacher.model, clips, masks.hidden, masks.hidden_valid)[:, 1:]
            target_BVmD = hidden.unflatten(0, masks.hidden.shape[:2]).float()
            classes_BVmK = self.centre(self.teacher_head.model(target_BVmD), masks.hidden_valid)

        there, temperatures = masks.hidden_valid, (own.temperature, self.temperature)
        losses = {
            "frame": cosine_loss(predicted_BVmD, target_BVmD, there, self.gather),
            "prototypes": distillation_loss(self.head(predicted_BVmD), classes_BVmK, temperatures, there, self.gather),
        }
        loss = (1 - own.weight) * losses["frame"] + own.weight * losses["prototypes"]
        health = {}
        if diagnose:
            cls_BVD = x[:, 0].unflatten(0, masks.visible.shape[:2])
            health = self.student.stem.diagnostics(clips.mel)
            health |= embedding_health(predicted_BVmD, target_BVmD.flatten(0, 1), cls_BVD)
        return {"loss": loss, "losses": losses, "diagnostics": health}

    def after_step(self, schedules: Mapping[str, float]) -> None:
        super().after_step(schedules)
        self.teacher_head.update(self.head, schedules["head_momentum"])
        self.temperature.fill_(schedules["teacher_temperature"])
