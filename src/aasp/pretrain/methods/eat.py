"""EAT: differently masked clones of a clip predict the averaged layers of an EMA teacher, with a convolutional decoder.

Legend: B clips, V views, N patches, n visible and m hidden patches, D width.
Source: Chen et al. 2024 (EAT), after data2vec 2.0: inverse block masks, a convolutional decoder, the frame loss on all
hidden patches, and the class token, without a head, predicts the mean of the frame target. Losses are means here (see
`eat_base` for the weights equivalent to sums). data2vec 2.0 (Baevski et al. 2023) is the same method with other masks,
layers and weights (`data2vec_base`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from aasp.config import ADDED_LATER, check_range
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.ema import EMA, EMAConfig
from aasp.pretrain.encoding import encode_all, encode_visible, to_logmel
from aasp.pretrain.health import embedding_health
from aasp.pretrain.losses import weighted_sum
from aasp.pretrain.losses.frame import frame_loss
from aasp.pretrain.losses.utterance import utterance_loss
from aasp.pretrain.masking import MaskingConfig, draw_masks
from aasp.pretrain.methods.contract import Gather
from aasp.pretrain.methods.teacher import TeacherMethod, TeacherMethodConfig
from aasp.pretrain.predictors import ConvolutionDecoder, DecoderConfig
from aasp.pretrain.targets import layer_targets
from aasp.stems.contract import gather_patches

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class EATLossesConfig:
    """Weights of the losses, each a mean over tokens (or views) and channels.

    Attributes:
        frame: weight of the frame loss.
        utterance: weight of the utterance loss.
    """

    frame: float = 1.0
    utterance: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, "losses", "frame utterance", least=0)
        if not self.frame + self.utterance:
            raise AaspError("losses: frame and utterance are both 0, nothing would be learned; raise one")

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss by name."""
        return {"frame": self.frame, "utterance": self.utterance}


@dataclass(frozen=True)
class EATConfig(TeacherMethodConfig):
    """EAT.

    Attributes:
        masking: number of clones of a clip, and their masks.
        teacher: the exponential moving average.
        predictor: the decoder.
        losses: weights.
        layers: number of the teacher's last layers that are averaged for the target; all if omitted, as in EAT.
    """

    kind: Literal["eat"] = "eat"
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    teacher: EMAConfig = field(default_factory=EMAConfig)
    predictor: DecoderConfig = field(default_factory=DecoderConfig)
    losses: EATLossesConfig = field(default_factory=EATLossesConfig)
    layers: int | None = field(default=None, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        check_range(self, "method", "layers", least=1)

    def build(self, recipe: Recipe, gather: Gather) -> EAT:
        return EAT(self, recipe, gather)


class EAT(TeacherMethod[AudioEncoder]):
    """Student, teacher, decoder; `forward` is the training step.

    Args:
        config: the method.
        recipe: model and data.
        gather: see `Gather`.
    """

    exported = "student."

    def __init__(self, config: EATConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__(recipe, gather)
        self.config, self.layers = config, config.layers or recipe.model.encoder.depth
        self.student = AudioEncoder(recipe.model)
        self.teacher = EMA(self.student)
        self.predictor = ConvolutionDecoder(config.predictor, recipe.model.encoder.width)

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        clips = to_logmel(self.student, batch, self.data.gain(self.training))
        masks = draw_masks(self.config.masking, clips.grid, clips.columns).to(clips.mel.device)
        with torch.no_grad():
            output = encode_all(self.teacher.model, clips, layers=True)
            target_BND, summary_BD = layer_targets(output, clips, self.layers, instance=True)

        x = encode_visible(self.student, clips, masks.visible, masks.visible_valid)
        cls_BVD = x[:, 0].unflatten(0, masks.visible.shape[:2])
        predicted = self.predictor.predict(x, masks, clips)

        losses = {
            "frame": frame_loss(predicted, gather_patches(target_BND, masks.hidden), masks.hidden_valid, self.gather),
            "utterance": utterance_loss(cls_BVD, summary_BD),
        }
        loss = weighted_sum(losses, self.config.losses.weights)
        health = {}
        if diagnose:
            health = {} if len(cls_BVD) == 1 else {"summary_deviation": summary_BD.std(0, correction=0).mean()}
            health |= self.student.stem.diagnostics(clips.mel) | embedding_health(predicted, target_BND, cls_BVD)
        return {"loss": loss, "losses": losses, "diagnostics": health}
