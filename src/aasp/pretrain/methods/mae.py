"""Masked autoencoders: hidden patches are reconstructed from visible ones.

Legend: B clips, V views, n visible and m hidden patches, P values of a patch, D width.
Source: one method with the settings of four systems. Audio-MAE (Huang et al. 2022): standardised patches, a decoder
with shifted windows. MaskSpec (Chong et al. 2022): the same with global attention. MAE-AST (Baade et al. 2022): plain
patches, their squared error with weight 10 and SSAST's discriminative loss with weight 1, from separate linear heads.
CrossMAE (Fu et al. 2024): a part of the hidden patches, each predicted independently from a mixture of the encoder's
layers. Losses are means over hidden patches and values; several views of a clip are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.encoding import encode_visible, encode_visible_layers, to_logmel
from aasp.pretrain.health import embedding_health
from aasp.pretrain.losses import weighted_sum
from aasp.pretrain.losses.frame import frame_loss
from aasp.pretrain.losses.patches import PatchLossesConfig, discriminative_loss
from aasp.pretrain.masking import MaskingConfig, draw_masks
from aasp.pretrain.methods.contract import Gather, Method, MethodConfig
from aasp.pretrain.predictors import PredictorConfig, build_predictor
from aasp.pretrain.targets import standardised_patches
from aasp.stems.contract import gather_patches

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class MAEConfig(MethodConfig):
    """A masked autoencoder.

    Attributes:
        masking: masking of the encoder's input.
        predictor: the decoder.
        losses: weights.
        target: "standardised" patches, each to mean 0 and deviation 1 (MAE), or "plain", the front end's output.
    """

    kind: Literal["mae"] = "mae"
    masking: MaskingConfig = field(default_factory=lambda: MaskingConfig(views=1, keep_ratio=0.2, scheme="random"))
    predictor: PredictorConfig = field(default_factory=lambda: PredictorConfig("window", 16, 512, 16))
    losses: PatchLossesConfig = field(default_factory=PatchLossesConfig)
    target: Literal["standardised", "plain"] = "standardised"

    def build(self, recipe: Recipe, gather: Gather) -> MAE:
        return MAE(self, recipe, gather)


class MAE(Method):
    """Encoder and decoder; `forward` is the training step.

    Args:
        config: the method.
        recipe: model and data.
        gather: see `Gather`.
    """

    def __init__(self, config: MAEConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__()
        self.config, self.gather, self.data, model = config, gather, recipe.data, recipe.model
        values = model.stem.patch[0] * model.stem.patch[1]
        self.outputs = tuple(values if weight else 0 for weight in config.losses.weights.values())
        self.student = AudioEncoder(model)
        self.predictor = build_predictor(
            config.predictor, model.encoder.width, sum(self.outputs), layers=model.encoder.depth + 1
        )

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        student, weights = self.student, self.config.losses.weights
        clips = to_logmel(student, batch, self.data.gain(self.training))
        masks = draw_masks(self.config.masking, clips.grid, clips.columns).to(clips.mel.device)

        encode = encode_visible_layers if self.config.predictor.form == "weighted" else encode_visible
        x = encode(student, clips, masks.visible, masks.visible_valid)
        generated, compared = self.predictor.predict(x, masks, clips).split(self.outputs, dim=-1)

        plain_BNP = student.stem.cut(clips.mel.detach()).flatten(1, 2).flatten(2)
        target_BNP = plain_BNP if self.config.target == "plain" else standardised_patches(student.stem, clips.mel)
        target_BVmP = gather_patches(target_BNP, masks.hidden)
        losses = {}
        if weights["generative"]:
            losses["generative"] = frame_loss(generated, target_BVmP, masks.hidden_valid, self.gather)
        if weights["discriminative"]:
            plain_BVmP = gather_patches(plain_BNP, masks.hidden)
            losses["discriminative"] = discriminative_loss(compared, plain_BVmP, masks.hidden_valid, self.gather)
        loss = weighted_sum(losses, weights)
        health = {}
        if diagnose:
            last = x[:, :, -1] if x.ndim == 4 else x
            cls_BVD = last[:, 0].unflatten(0, masks.visible.shape[:2])
            predicted = generated if weights["generative"] else compared
            health = student.stem.diagnostics(clips.mel) | embedding_health(predicted, target_BNP, cls_BVD)
        return {"loss": loss, "losses": losses, "diagnostics": health}

    def gradient_diagnostics(self) -> dict[str, Tensor]:
        return self.student.stem.gradient_diagnostics()
