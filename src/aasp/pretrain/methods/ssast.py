"""SSAST: hidden patches, mask tokens in the encoder's input, are distinguished from each other and reconstructed.

Legend: B clips, V = 1 view, N patches, m hidden patches, P values of a patch, D width.
Source: Gong et al. 2022 (SSAST): clustered masks, 400 of 512 patches; one learned token replaces all hidden patches and
all positions are encoded; two heads of two layers, one for the discriminative loss, one for the generative loss, which
has weight 10. Targets are the front end's unnormalised patches. Ours: both losses are of one mask and one forward pass
(in its code each has its own), and the second class token (DeiT's) and learned positions are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.encoding import check_single, encode_masked, to_logmel
from aasp.pretrain.health import embedding_health
from aasp.pretrain.losses import weighted_sum
from aasp.pretrain.losses.frame import frame_loss
from aasp.pretrain.losses.patches import PatchLossesConfig, discriminative_loss
from aasp.pretrain.masking import MaskingConfig, draw_masks
from aasp.pretrain.methods.contract import Gather, Method, MethodConfig
from aasp.stems.contract import gather_patches

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class SSASTConfig(MethodConfig):
    """SSAST.

    Attributes:
        masking: choice of the hidden patches.
        losses: weights.
    """

    kind: Literal["ssast"] = "ssast"
    masking: MaskingConfig = field(
        default_factory=lambda: MaskingConfig(views=1, keep_ratio=112 / 512, scheme="clustered", block=4)
    )
    losses: PatchLossesConfig = field(default_factory=lambda: PatchLossesConfig(generative=10.0, discriminative=1.0))

    def __post_init__(self) -> None:
        check_single(self.masking)

    def build(self, recipe: Recipe, gather: Gather) -> SSAST:
        return SSAST(self, recipe, gather)


class SSAST(Method):
    """Encoder, mask token, two heads; `forward` is the training step."""

    def __init__(self, config: SSASTConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__()
        self.config, self.gather, self.data = config, gather, recipe.data
        width, values = recipe.model.encoder.width, recipe.model.stem.patch[0] * recipe.model.stem.patch[1]
        self.student = AudioEncoder(recipe.model)
        self.mask_token = nn.Parameter(0.02 * torch.randn(width))
        head = lambda: nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, values))
        self.heads = nn.ModuleDict({name: head() for name, weight in config.losses.weights.items() if weight})

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        clips = to_logmel(self.student, batch, self.data.gain(self.training))
        masks = draw_masks(self.config.masking, clips.grid, clips.columns).to(clips.mel.device)

        x = encode_masked(self.student, clips, masks, self.mask_token)
        index_BVmD = masks.hidden[..., None].expand(-1, -1, -1, x.shape[-1])
        hidden_BVmD = x[:, 1:].unflatten(0, masks.hidden.shape[:2]).gather(2, index_BVmD)
        patch_BNP = self.student.stem.cut(clips.mel.detach()).flatten(1, 2).flatten(2)

        compared = {"generative": frame_loss, "discriminative": discriminative_loss}
        outputs = {name: head(hidden_BVmD) for name, head in self.heads.items()}
        target_BVmP = gather_patches(patch_BNP, masks.hidden)
        losses = {name: compared[name](outputs[name], target_BVmP, masks.hidden_valid, self.gather) for name in outputs}
        loss = weighted_sum(losses, self.config.losses.weights)
        health = {}
        if diagnose:
            cls_BVD = x[:, 0].unflatten(0, masks.visible.shape[:2])
            health = self.student.stem.diagnostics(clips.mel)
            health |= embedding_health(next(iter(outputs.values())), patch_BNP, cls_BVD)
        return {"loss": loss, "losses": losses, "diagnostics": health}

    def gradient_diagnostics(self) -> dict[str, Tensor]:
        return self.student.stem.gradient_diagnostics()
