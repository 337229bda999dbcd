"""ATST-Frame: for hidden frames of one augmented view, the student predicts the teacher's output for the other view.

Legend: B clips, two views of each one after another, N tokens, m hidden ones, D width, E output width of the heads.
Source: Li, Shao & Li 2024 (ATST, IEEE/ACM TASLP): tokens are columns of 64 mel bins x 4 frames; in the student's view
65 % of the tokens are hidden in spans of five, each replaced by a learned token; the teacher's view is not masked;
BYOL's loss compares both at the student's hidden frames, in both directions. One view is the clip itself, the other
differs by mixup and by a resized crop of the frequency axis only, so that frames stay aligned. Ours: exactly 65 % of
the tokens (there spans overlap, and fewer are hidden), fixed position embeddings, statistics of the views normalised
afterwards as in BYOL-A.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from aasp.pretrain.augment import AugmentConfig, augmented, repeated, swapped
from aasp.pretrain.bootstrap import Bootstrap, BootstrapConfig
from aasp.pretrain.ema import EMAConfig
from aasp.pretrain.encoding import check_single, encode_all, encode_masked, mean_tokens, to_logmel
from aasp.pretrain.health import embedding_health
from aasp.pretrain.losses.cosine import cosine_loss
from aasp.pretrain.masking import MaskingConfig, draw_masks
from aasp.pretrain.methods.contract import Gather
from aasp.stems.contract import gather_patches

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class ATSTFrameConfig(BootstrapConfig):
    """ATST-Frame.

    Attributes:
        kind: the name of this method in recipes.
        masking: masking of the student's view.
        augment: how the second view differs from the clip, in frequency only.
        teacher: momentum from 0.9996 to 1, as published; linearly (there: along a cosine).
        head: hidden and output width of projector and predictor.
    """

    kind: Literal["atst_frame"] = "atst_frame"
    masking: MaskingConfig = field(default_factory=lambda: MaskingConfig(views=1, keep_ratio=0.35, scheme="spans"))
    augment: AugmentConfig = field(default_factory=lambda: AugmentConfig(time=(1.0, 1.0)))
    teacher: EMAConfig = field(default_factory=lambda: EMAConfig(0.9996, 1.0, ramp=1.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_single(self.masking)

    def build(self, recipe: Recipe, gather: Gather) -> ATSTFrame:
        return ATSTFrame(self, recipe, gather)


class ATSTFrame(Bootstrap):
    """The training step.

    Args:
        config: the method.
        recipe: model and data.
        gather: see `Gather`.
    """

    exported = "teacher.model.encoder."

    def __init__(self, config: ATSTFrameConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__(config, recipe, gather)
        self.config = config
        self.mask_token = nn.Parameter(0.02 * torch.randn(recipe.model.encoder.width))

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        encoder, average = self.student.encoder, self.teacher.model.encoder
        clips = to_logmel(encoder, batch, self.data.gain(self.training))
        second, pairs = augmented(clips, self.config.augment, self.gather, views=1), repeated(clips, 2)
        pairs.mel = torch.stack([clips.mel, second.mel], dim=1).flatten(0, 1)
        masks = draw_masks(self.config.masking, pairs.grid, pairs.columns).to(pairs.mel.device)
        hidden, counts = masks.hidden, masks.hidden_valid[:, 0]  # (2 B, 1, m), (2 B, m)

        x = encode_masked(encoder, pairs, masks, self.mask_token)
        predicted_mE = self.predict(gather_patches(x[:, 1:], hidden)[:, 0], counts)
        with torch.no_grad():
            tokens = swapped(encode_all(average, pairs).last[:, 1:])
            target_mE = self.target(gather_patches(tokens, hidden)[:, 0], counts)

        loss = cosine_loss(predicted_mE, target_mE, counts, self.gather)
        health = {}
        if diagnose:
            views = lambda x: x.unflatten(0, (-1, 2))
            health = encoder.stem.diagnostics(pairs.mel)
            health |= embedding_health(views(predicted_mE), target_mE, views(mean_tokens(x, pairs)))
        return {"loss": loss, "losses": {"frame": loss}, "diagnostics": health}
