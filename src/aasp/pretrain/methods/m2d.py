"""M2D: from the visible patches, the online network predicts the target network's tokens of the hidden patches.

Legend: B clips, V views, n visible and m hidden patches, D width.
Source: Niizumi et al. 2023 (Masked Modeling Duo): the target network, a moving average of the online one, encodes only
the hidden patches; its tokens are standardised, and the loss is the squared distance of unit vectors. Targets are
standardised over each token's channels, like MAE's patches; several views of a clip are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.ema import EMA, EMAConfig
from aasp.pretrain.encoding import encode_visible, to_logmel
from aasp.pretrain.health import embedding_health
from aasp.pretrain.losses.cosine import cosine_loss
from aasp.pretrain.masking import MaskingConfig, draw_masks
from aasp.pretrain.methods.contract import Gather
from aasp.pretrain.methods.teacher import TeacherMethod, TeacherMethodConfig
from aasp.pretrain.predictors import PredictorConfig, build_predictor
from aasp.pretrain.targets import standardised_tokens

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class M2DConfig(TeacherMethodConfig):
    """M2D.

    Attributes:
        masking: masking of the online network's input; the target network encodes the hidden patches.
        teacher: the target network, an exponential moving average.
        predictor: predictor of the target network's tokens.
    """

    kind: Literal["m2d"] = "m2d"
    masking: MaskingConfig = field(default_factory=lambda: MaskingConfig(views=1, keep_ratio=0.3, scheme="random"))
    teacher: EMAConfig = field(default_factory=lambda: EMAConfig(0.99995, 0.99999, ramp=1.0))
    predictor: PredictorConfig = field(default_factory=lambda: PredictorConfig("self", 8, 512, 16))

    def __post_init__(self) -> None:
        check_masking(self.masking)

    def build(self, recipe: Recipe, gather: Gather) -> M2D:
        return M2D(self, recipe, gather)


class M2D(TeacherMethod[AudioEncoder]):
    """Online network, target network, predictor; `forward` is the training step.

    Args:
        config: the method.
        recipe: model and data.
        gather: see `Gather`.
    """

    exported = "student."

    def __init__(self, config: M2DConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__(recipe, gather)
        self.config, width = config, recipe.model.encoder.width
        self.student = AudioEncoder(recipe.model)
        self.teacher = EMA(self.student)
        self.predictor = build_predictor(config.predictor, width, width)

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        clips = to_logmel(self.student, batch, self.data.gain(self.training))
        masks = draw_masks(self.config.masking, clips.grid, clips.columns).to(clips.mel.device)

        x = encode_visible(self.student, clips, masks.visible, masks.visible_valid)
        predicted_BVmD = self.predictor.predict(x, masks, clips)
        with torch.no_grad():
            hidden = encode_visible(self.teacher.model, clips, masks.hidden, masks.hidden_valid)[:, 1:]
            target_BVmD = standardised_tokens(hidden.unflatten(0, masks.hidden.shape[:2]))

        loss = cosine_loss(predicted_BVmD, target_BVmD, masks.hidden_valid, self.gather)
        health = {}
        if diagnose:
            cls_BVD = x[:, 0].unflatten(0, masks.visible.shape[:2])
            health = self.student.stem.diagnostics(clips.mel)
            health |= embedding_health(predicted_BVmD, target_BVmD.flatten(0, 1), cls_BVD)
        return {"loss": loss, "losses": {"frame": loss}, "diagnostics": health}


def check_masking(masking: MaskingConfig) -> None:
    """Check that all hidden patches are predicted.

    Raises:
        AaspError: only a part of them is.
    """
    if masking.predicted != 1:
        text = "the target network sees what is predicted, which is all that is hidden"
        raise AaspError(f"masking: predicted is {masking.predicted:g}: {text}; leave it at 1")
