"""BEATs: the labels that a tokenizer gives to hidden patches are predicted from the visible ones.

Legend: B clips, V views, n visible and m hidden patches, D width, K labels.
Source: Chen et al. 2023 (BEATs): the encoder sees a quarter of the patches, a transformer predicts the labels of the
others, and the loss is their cross-entropy. The first iteration's tokenizer is a random projection; each further one's
is distilled from the model before it (`beats_tokenizer`), whose weights come by `--from`:

    beats_base  ->  beats_tokenizer_base --from  ->  beats_next_base --from  ->  beats_tokenizer_base --from  ->  ...

Ours: learned mask tokens instead of zeros at hidden places, the predictor's size, which the paper does not say, and
that a further iteration begins with the tokenizer's encoder; several views of a clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from torch import Tensor

from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.codebook import code_loss
from aasp.pretrain.health import embedding_health
from aasp.pretrain.methods.contract import Gather, Method, MethodConfig
from aasp.pretrain.predictors import PredictorConfig, build_predictor
from aasp.pretrain.targets import normalised_patches
from aasp.pretrain.tokenizers import TOKENIZERS, RandomConfig, TokenizerConfig
from aasp.pretrain.views import MaskingConfig, draw_masks, encode_visible, to_logmel
from aasp.stems.contract import gather_patches

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class BEATsConfig(MethodConfig):
    """BEATs, one iteration.

    Attributes:
        masking: what the encoder sees.
        predictor: of labels.
        tokenizer: that gives them.
    """

    kind: Literal["beats"] = "beats"
    masking: MaskingConfig = field(default_factory=lambda: MaskingConfig(views=1, keep_ratio=0.25, scheme="random"))
    predictor: PredictorConfig = field(default_factory=lambda: PredictorConfig("self", 2, 768, 12))
    tokenizer: Annotated[TokenizerConfig, TOKENIZERS] = field(default_factory=RandomConfig)

    def build(self, recipe: Recipe, gather: Gather) -> BEATs:
        return BEATs(self, recipe, gather)


class BEATs(Method):
    """Encoder, predictor of labels, tokenizer; `forward` is the step."""

    def __init__(self, config: BEATsConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__()
        self.config, self.gather, self.data = config, gather, recipe.data
        self.student = AudioEncoder(recipe.model)
        self.predictor = build_predictor(config.predictor, recipe.model.encoder.width, config.tokenizer.count)
        self.tokenizer = config.tokenizer.build(recipe.model)
        self.checked = False

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        self._check_tokenizer()
        clips = to_logmel(self.student, batch, self.data.gain_db if self.training else None)
        masks = draw_masks(self.config.masking, clips.grid, clips.columns).to(clips.mel.device)
        with torch.no_grad():
            labels_BN = self.tokenizer(clips, self.student.stem)

        x = encode_visible(self.student, clips, masks.visible, masks.visible_valid)
        logits_BVmK = self.predictor.hidden(x, masks, clips)
        labels_BVm = gather_patches(labels_BN, masks.hidden)
        loss = code_loss(logits_BVmK, labels_BVm, masks.hidden_valid, self.gather)
        health = {}
        if diagnose:
            cls_BVD = x[:, 0].unflatten(0, masks.visible.shape[:2])
            patches_BNP = normalised_patches(self.student.stem, clips.mel)
            counts_BVm = masks.hidden_valid.float()
            right_BVm = (logits_BVmK.detach().argmax(-1) == labels_BVm) * counts_BVm
            hits_K = clips.mel.new_zeros(logits_BVmK.shape[-1])
            hits_K.index_add_(0, labels_BVm.flatten(), counts_BVm.flatten())
            health = {"accuracy": right_BVm.sum() / counts_BVm.sum(), "labels_used": (hits_K > 0).sum()}
            health |= self.student.stem.diagnostics(clips.mel) | embedding_health(logits_BVmK, patches_BNP, cls_BVD)
        return {"loss": loss, "losses": {"labels": loss}, "diagnostics": health}

    def _check_tokenizer(self) -> None:
        """Once: labels of a tokenizer that was never distilled would be those of random weights."""
        counts_K = None if self.checked else self.tokenizer.codebook.counts
        self.checked = True
        distilled = self.config.tokenizer.kind == "distilled"  # type: ignore[attr-defined]
        if counts_K is not None and distilled and not counts_K.is_meta and not counts_K.any():
            text = "its weights are random, as nothing was distilled into them"
            remedy = "give --from a run of the method beats_tokenizer, of the same tokenizer.count and tokenizer.width"
            raise AaspError(f"tokenizer distilled: {text}; {remedy}")

    def gradient_diagnostics(self) -> dict[str, Tensor]:
        return self.student.stem.gradient_diagnostics()
