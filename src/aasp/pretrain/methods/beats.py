"""BEATs: a tokenizer's labels of hidden patches are predicted from the visible patches.

Legend: B clips, V views, n visible and m hidden patches, D width, K labels.
Source: Chen et al. 2023 (BEATs): the encoder input is a quarter of the patches, a transformer predicts the labels of
the others, and the loss is the cross-entropy. The tokenizer of the first iteration is a random projection; that of each
further one is distilled from the previous model (`beats_tokenizer`), with weights passed on by `--from`:

    beats_base  ->  beats_tokenizer_base --from  ->  beats_next_base --from  ->  beats_tokenizer_base --from  ->  ...

Ours: learned mask tokens instead of zeros at hidden positions; the predictor's size, which the paper does not give;
further iterations start from the tokenizer's encoder; several views per clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import torch
from torch import Tensor

from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.encoding import encode_visible, to_logmel
from aasp.pretrain.health import embedding_health
from aasp.pretrain.losses.codes import code_loss
from aasp.pretrain.masking import MaskingConfig, draw_masks
from aasp.pretrain.methods.contract import Gather, Method, MethodConfig
from aasp.pretrain.predictors import PredictorConfig, build_predictor
from aasp.pretrain.targets import standardised_patches
from aasp.pretrain.tokenizers import TOKENIZERS, RandomConfig, TokenizerConfig
from aasp.stems.contract import gather_patches

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class BEATsConfig(MethodConfig):
    """BEATs, one iteration.

    Attributes:
        masking: masking of the encoder's input.
        predictor: predictor of labels.
        tokenizer: tokenizer that assigns the labels.
    """

    kind: Literal["beats"] = "beats"
    masking: MaskingConfig = field(default_factory=lambda: MaskingConfig(views=1, keep_ratio=0.25, scheme="random"))
    predictor: PredictorConfig = field(default_factory=lambda: PredictorConfig("self", 2, 768, 12))
    tokenizer: Annotated[TokenizerConfig, TOKENIZERS] = field(default_factory=RandomConfig)

    def build(self, recipe: Recipe, gather: Gather) -> BEATs:
        return BEATs(self, recipe, gather)


class BEATs(Method):
    """Encoder, predictor of labels, tokenizer; `forward` is the training step."""

    def __init__(self, config: BEATsConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__()
        self.config, self.gather, self.data = config, gather, recipe.data
        self.student = AudioEncoder(recipe.model)
        self.predictor = build_predictor(config.predictor, recipe.model.encoder.width, config.tokenizer.count)
        self.tokenizer = config.tokenizer.build(recipe.model)
        self.checked = False

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.tokenizer.eval()
        return self

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        self._check_tokenizer()
        clips = to_logmel(self.student, batch, self.data.gain(self.training))
        masks = draw_masks(self.config.masking, clips.grid, clips.columns).to(clips.mel.device)
        with torch.no_grad():
            labels_BN = self.tokenizer(clips, self.student.stem)

        x = encode_visible(self.student, clips, masks.visible, masks.visible_valid)
        logits_BVmK = self.predictor.predict(x, masks, clips)
        labels_BVm = gather_patches(labels_BN, masks.hidden)
        loss = code_loss(logits_BVmK, labels_BVm, masks.hidden_valid, self.gather)
        health = {}
        if diagnose:
            cls_BVD = x[:, 0].unflatten(0, masks.visible.shape[:2])
            patches_BNP = standardised_patches(self.student.stem, clips.mel)
            counts_BVm = masks.hidden_valid.float()
            right_BVm = (logits_BVmK.detach().argmax(-1) == labels_BVm) * counts_BVm
            hits_K = clips.mel.new_zeros(logits_BVmK.shape[-1])
            hits_K.index_add_(0, labels_BVm.flatten(), counts_BVm.flatten())
            health = {"accuracy": right_BVm.sum() / counts_BVm.sum(), "labels_used": (hits_K > 0).sum()}
            health |= self.student.stem.diagnostics(clips.mel) | embedding_health(logits_BVmK, patches_BNP, cls_BVD)
        return {"loss": loss, "losses": {"labels": loss}, "diagnostics": health}

    def _check_tokenizer(self) -> None:
        """Check once that a distilled tokenizer was trained; otherwise its labels would come from random weights."""
        counts_K = None if self.checked else self.tokenizer.codebook.counts
        self.checked = True
        distilled = self.config.tokenizer.kind == "distilled"  # type: ignore[attr-defined]
        if counts_K is not None and distilled and not counts_K.is_meta and not counts_K.any():
            text = "its weights are random, as nothing was distilled into them"
            remedy = "give --from a run of the method beats_tokenizer, of the same tokenizer.count and tokenizer.width"
            raise AaspError(f"tokenizer distilled: {text}; {remedy}")

    def gradient_diagnostics(self) -> dict[str, Tensor]:
        return self.student.stem.gradient_diagnostics()
