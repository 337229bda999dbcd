"""SSLAM: EAT continued on mixtures, with the mean of the sources' targets as a mixture's target.

Legend: B clips, 2B clips and their mixtures, V views, T frames, M mel bins, N patches, n visible and m hidden patches,
D width.
Source: Alex et al. 2025, second stage, which starts from EAT's weights (`--from`). Each clip is mixed with another of
the batch by the maximum of the two log-mels, except in gaps, where it is not mixed. EAT's student and teacher encode
both clips and mixtures. Frame and utterance loss are on both, the latter with the teacher's last layer as target;
source retention compares the hidden patches of a mixture with the mean of the teacher's targets for its two sources,
the clip and the mixed patches of its partner. Means replace sums: retention has weight 2 there, since its tokens are
half of all. Ours: a mixture has masks of its own (in its code those of its clip), and each clip its own gaps (one pair
for a batch).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from aasp.config import check_range
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.ema import EMA, EMAConfig
from aasp.pretrain.encoding import encode_all, encode_visible, to_logmel
from aasp.pretrain.health import embedding_health
from aasp.pretrain.losses import weighted_sum
from aasp.pretrain.losses.frame import frame_loss
from aasp.pretrain.losses.retention import retention_loss
from aasp.pretrain.losses.utterance import utterance_loss
from aasp.pretrain.masking import MaskingConfig, draw_masks
from aasp.pretrain.methods.contract import Gather
from aasp.pretrain.methods.teacher import TeacherMethod, TeacherMethodConfig
from aasp.pretrain.mixtures import MixingConfig, check_partners, drawn_partners, mixed_parts, mixed_with
from aasp.pretrain.predictors import ConvolutionDecoder, DecoderConfig
from aasp.pretrain.targets import layer_targets
from aasp.stems.contract import gather_patches

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class SSLAMLossesConfig:
    """Weights of the losses, each a mean over tokens (or views) and channels.

    Attributes:
        frame: weight of the frame loss, on clips and mixtures.
        utterance: weight of the utterance loss, on clips and mixtures.
        retention: weight of the source retention loss, on mixtures.
    """

    frame: float = 1.0
    utterance: float = 1.0
    retention: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, "losses", "frame utterance retention", least=0)
        if not self.frame + self.utterance + self.retention:
            raise AaspError("losses: frame, utterance and retention are all 0, nothing would be learned; raise one")

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss by name."""
        return {"frame": self.frame, "utterance": self.utterance, "retention": self.retention}


@dataclass(frozen=True)
class SSLAMConfig(TeacherMethodConfig):
    """SSLAM.

    Attributes:
        masking: number of views of each clip and mixture, and their masks.
        teacher: the exponential moving average.
        predictor: the decoder.
        losses: weights.
        mixing: how clips are mixed.
    """

    kind: Literal["sslam"] = "sslam"
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    teacher: EMAConfig = field(default_factory=EMAConfig)
    predictor: DecoderConfig = field(default_factory=DecoderConfig)
    losses: SSLAMLossesConfig = field(default_factory=SSLAMLossesConfig)
    mixing: MixingConfig = field(default_factory=MixingConfig)

    def build(self, recipe: Recipe, gather: Gather) -> SSLAM:
        return SSLAM(self, recipe, gather)

    def across(self, recipe: Recipe) -> tuple[str, ...]:
        return ("clips are mixed with others",)

    def check(self, recipe: Recipe, processes: int) -> None:
        check_partners(recipe.data.batch, processes)


class SSLAM(TeacherMethod[AudioEncoder]):
    """Student, teacher, decoder; `forward` is the training step."""

    exported = "student."

    def __init__(self, config: SSLAMConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__(recipe, gather)
        self.config, self.layers = config, recipe.model.encoder.depth
        config.check(recipe, processes=1)
        self.student = AudioEncoder(recipe.model)
        self.teacher = EMA(self.student)
        self.predictor = ConvolutionDecoder(config.predictor, recipe.model.encoder.width)

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        count = len(batch["length"])
        clips = to_logmel(self.student, batch, self.data.gain(self.training))
        partner_B = drawn_partners(count)
        both, mixed_BN = mixed_with(clips, partner_B, self.config.mixing, self.student.stem.patch[0])
        masks = draw_masks(self.config.masking, both.grid, both.columns).to(both.mel.device)
        with torch.no_grad():
            output = encode_all(self.teacher.model, both, layers=True)
            target_2BND, _ = layer_targets(output, both, self.layers, instance=True)
            _, summary_2BD = layer_targets(output, both, 1, instance=True)
            partners = mixed_parts(clips, mixed_BN, partner_B)
            output = encode_all(self.teacher.model, partners, layers=True)
            partner_BND, _ = layer_targets(output, partners, self.layers, instance=True)

        x = encode_visible(self.student, both, masks.visible, masks.visible_valid)
        cls_2BVD = x[:, 0].unflatten(0, masks.visible.shape[:2])
        predicted = self.predictor.predict(x, masks, both)

        losses = {
            "frame": frame_loss(predicted, gather_patches(target_2BND, masks.hidden), masks.hidden_valid, self.gather),
            "utterance": utterance_loss(cls_2BVD, summary_2BD),
            "retention": retention_loss(predicted, target_2BND[:count], partner_BND, mixed_BN, masks, self.gather),
        }
        loss = weighted_sum(losses, self.config.losses.weights)
        health = {}
        if diagnose:
            health = {"summary_deviation": summary_2BD[:count].std(0, correction=0).mean()}
            health |= self.student.stem.diagnostics(clips.mel) | embedding_health(predicted, target_2BND, cls_2BVD)
        return {"loss": loss, "losses": losses, "diagnostics": health}
