"""AaSP: masked views predict the layers of an EMA teacher, and agree with each other.

Legend: B clips, V views, N patches, n visible and m predicted patches, D width.
Source: the paper (teacher-student masked modelling, cross-attention predictor, multi-mask contrast); SSLAM (mixtures).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from torch import Tensor

from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.codebook import CODEBOOKS, CodebookConfig, NoCodebookConfig, patch_codes
from aasp.pretrain.ema import EMA
from aasp.pretrain.encoding import Clips, encode_visible, mean_visible_tokens, to_logmel
from aasp.pretrain.heads import projector
from aasp.pretrain.health import embedding_health
from aasp.pretrain.losses import LossesConfig, weighted_sum
from aasp.pretrain.losses.codes import code_loss
from aasp.pretrain.losses.contrastive import contrastive_loss
from aasp.pretrain.losses.frame import frame_loss
from aasp.pretrain.losses.retention import retention_loss
from aasp.pretrain.losses.spectrum import SpectrumHead
from aasp.pretrain.losses.utterance import utterance_loss
from aasp.pretrain.masking import MaskingConfig, draw_masks
from aasp.pretrain.methods.contract import Gather
from aasp.pretrain.methods.teacher import TeacherMethod, TeacherMethodConfig
from aasp.pretrain.mixtures import MixingConfig, check_partners, drawn_partners, mixed_parts, mixed_with
from aasp.pretrain.predictors import PredictorConfig, build_predictor
from aasp.pretrain.targets import TeacherConfig, teacher_targets, utterance_target
from aasp.stems.contract import gather_patches

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class AaSPConfig(TeacherMethodConfig):
    """AaSP.

    Attributes:
        masking: masked views.
        teacher: EMA and targets.
        predictor: for hidden patches.
        losses: weights.
        codebook: codes of hidden patches as additional targets.
    """

    kind: Literal["aasp"] = "aasp"
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    losses: LossesConfig = field(default_factory=LossesConfig)
    codebook: Annotated[CodebookConfig, CODEBOOKS] = field(default_factory=NoCodebookConfig)

    def build(self, recipe: Recipe, gather: Gather) -> AaSP:
        return AaSP(self, recipe, gather)

    def check(self, recipe: Recipe, processes: int) -> None:
        if self.losses.retention:
            check_partners(recipe.data.batch, processes)

    def across(self, recipe: Recipe) -> tuple[str, ...]:
        own = tuple(self.losses.across(self.masking.views, self.teacher.utterance))
        return (*own, "the codebook learns") if self.codebook.weight else own


class AaSP(TeacherMethod[AudioEncoder]):
    """Student, teacher, predictor, projector; `forward` is the training step.

    Args:
        config: the method.
        recipe: model and data.
        gather: see `Gather`.
    """

    exported = "teacher.model."

    def __init__(self, config: AaSPConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__(recipe, gather)
        self.config = config
        config.check(recipe, processes=1)
        config.losses.check(recipe.data.batch, config.masking.views, config.teacher.utterance, config.codebook.weight)
        width, patch = recipe.model.encoder.width, recipe.model.stem.patch
        self.student = AudioEncoder(recipe.model)
        self.teacher = EMA(self.student)
        self.outputs = (config.teacher.target_width(recipe.model), config.codebook.count)
        self.predictor = build_predictor(config.predictor, width, sum(self.outputs))
        self.codebook = config.codebook.build(patch[0] * patch[1])
        self.projector = projector(width, *config.losses.projector)
        self.spectrum = SpectrumHead(self.student.stem) if config.losses.spectrum else None

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        config, student, count = self.config, self.student, len(batch["length"])
        clips = to_logmel(student, batch, self.data.gain(self.training))
        if config.losses.retention:  # mixtures follow the clips
            partner_B = drawn_partners(count)
            clips, mixed_BN = mixed_with(clips, partner_B, MixingConfig(), student.stem.patch[0])
        masks = draw_masks(config.masking, clips.grid, clips.columns).to(clips.mel.device)
        target_BND, summary_BD, deviation = self.targets(clips, count)

        x = encode_visible(student, clips, masks.visible, masks.visible_valid)
        cls_BVD = x[:, 0].unflatten(0, masks.visible.shape[:2])[:count]
        predicted, logits = self.predictor.predict(x, masks, clips).split(self.outputs, dim=-1)
        view_BVD = cls_BVD if config.losses.compared == "class" else mean_visible_tokens(x, masks)[:count]
        embedding = self.projector(view_BVD)

        losses = {
            "frame": frame_loss(predicted, gather_patches(target_BND, masks.hidden), masks.hidden_valid, self.gather),
            "utterance": utterance_loss(cls_BVD, summary_BD),
            "contrastive": contrastive_loss(embedding, config.losses.temperature, *self.gather(embedding)),
        }
        if config.losses.retention:
            other_BND, _ = teacher_targets(config.teacher, self.teacher.model, mixed_parts(clips, mixed_BN, partner_B))
            losses["retention"] = retention_loss(predicted, target_BND[:count], other_BND, mixed_BN, masks, self.gather)
        if self.spectrum is not None:
            losses["spectrum"] = self.spectrum(student.stem, clips.mel, clips.valid, self.gather)
        if self.codebook is not None:
            codes_BN = patch_codes(self.codebook, student.stem, clips, self.gather, learn=self.training)
            losses["codes"] = code_loss(logits, gather_patches(codes_BN, masks.hidden), masks.hidden_valid, self.gather)
        weights = config.losses.weights | {"codes": config.codebook.weight}
        loss = weighted_sum(losses, weights)
        health = self.diagnostics(clips, predicted, target_BND, cls_BVD, deviation) if diagnose else {}
        return {"loss": loss, "losses": losses, "diagnostics": health}

    @torch.no_grad()
    def targets(self, clips: Clips, count: int | None = None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Targets of all patches, (B, N, `target_width`), and, for `count` clips, what `utterance_target` returns."""
        config = self.config.teacher
        frame_BND, summary_BD = teacher_targets(config, self.teacher.model, clips)
        return frame_BND, *utterance_target(summary_BD[:count], config.utterance, self.gather)

    def diagnostics(
        self, clips: Clips, predicted: Tensor, target_BND: Tensor, cls_BVD: Tensor, deviation: Tensor | None
    ) -> dict[str, Tensor]:
        """Metrics of summaries, codes, stem, targets and predictions, and class tokens."""
        health = {} if deviation is None else {"summary_deviation": deviation}
        if self.codebook is not None:
            health["codes_used"] = self.codebook.perplexity()
        own = lambda x: self.config.teacher.teacher_channels(x, cls_BVD.shape[-1])
        health |= self.student.stem.diagnostics(clips.mel)
        return health | embedding_health(own(predicted), own(target_BND), cls_BVD)
