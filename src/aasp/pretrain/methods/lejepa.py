"""A reference after LeJEPA: views of a clip agree on an embedding, embeddings are kept Gaussian; there is no teacher.

Legend: B clips of this process, C of all, V views, D width, E embedding width, S directions.
Source: Balestriero & LeCun 2025 (LeJEPA): every view's embedding is compared with the mean over the clip's views, and
the embeddings of each view are regularised to a standard normal distribution along random directions, new in each step;
nothing else prevents collapse. They use a weight of 0.02 to 0.05, 17 knots up to 5, and a head of three layers with
batch norm. Ours: masked views, as in AaSP, in place of crops of an image; the mean of a view's patch tokens; a head of
two layers; 256 directions in each process (there: 1,024). Constant outputs do not minimise its losses, so there is no
check for collapse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from aasp.config import check_range
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.encoding import encode_visible, mean_visible_tokens, to_logmel
from aasp.pretrain.heads import BatchHead
from aasp.pretrain.health import embedding_health
from aasp.pretrain.losses.gaussian import gaussian_loss
from aasp.pretrain.masking import MaskingConfig, draw_masks
from aasp.pretrain.methods.contract import Gather, Method, MethodConfig

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class LeJEPAConfig(MethodConfig):
    """The reference after LeJEPA.

    Attributes:
        kind: the name of this method in recipes.
        masking: views; hidden patches are not predicted.
        head: hidden and output width of the projector.
        gaussian: weight of the Gaussian loss; that of the agreement is 1 minus this.
        directions: number of random directions in each process.
    """

    kind: Literal["lejepa"] = "lejepa"
    masking: MaskingConfig = field(default_factory=lambda: MaskingConfig(views=4, keep_ratio=0.3))
    head: tuple[int, int] = (2048, 64)
    gaussian: float = 0.05
    directions: int = 256

    def __post_init__(self) -> None:
        check_range(self, "method", "head directions", least=1)
        check_range(self, "method", "gaussian", least=0, most=1)
        if self.masking.views == 1:
            raise AaspError("masking.views is 1: a single view has nothing to agree with; give 2 or more")
        if self.masking.predicted != 1:
            text = "nothing is predicted of what is hidden"
            raise AaspError(f"masking: predicted is {self.masking.predicted:g}: {text}; leave it at 1")

    def build(self, recipe: Recipe, gather: Gather) -> LeJEPA:
        return LeJEPA(self, recipe, gather)

    def across(self, recipe: Recipe) -> tuple[str, ...]:
        return ("embeddings are kept Gaussian and the head's batch norm is taken",)


class LeJEPA(Method):
    """Encoder and head; `forward` is the training step.

    Args:
        config: the method.
        recipe: model and data.
        gather: see `Gather`.
    """

    def __init__(self, config: LeJEPAConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__()
        if recipe.data.batch == 1:
            raise AaspError("data.batch is 1: a single clip has no distribution; give 2 or more")
        self.config, self.data, self.gather = config, recipe.data, gather
        self.student = AudioEncoder(recipe.model)
        self.projector = BatchHead(recipe.model.encoder.width, *config.head, gather)

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        config = self.config
        clips = to_logmel(self.student, batch, self.data.gain(self.training))
        masks = draw_masks(config.masking, clips.grid, clips.columns).to(clips.mel.device)

        mean_BVD = mean_visible_tokens(encode_visible(self.student, clips, masks.visible, masks.visible_valid), masks)
        z_BVE = self.projector(mean_BVD).float()
        everyone_CVE, _ = self.gather(z_BVE)
        directions = torch.randn(z_BVE.shape[2], config.directions, device=z_BVE.device)
        directions = functional.normalize(directions, dim=0)

        losses = {
            "agreement": (z_BVE - z_BVE.mean(1, keepdim=True)).square().mean(),
            "gaussian": torch.stack([gaussian_loss(z_CE, directions) for z_CE in everyone_CVE.unbind(1)]).mean(),
        }
        loss = (1 - config.gaussian) * losses["agreement"] + config.gaussian * losses["gaussian"]
        health = {}
        if diagnose:
            health = self.student.stem.diagnostics(clips.mel)
            health |= embedding_health(z_BVE[:, :, None], z_BVE.detach(), mean_BVD)
        return {"loss": loss, "losses": losses, "diagnostics": health}

    def gradient_diagnostics(self) -> dict[str, Tensor]:
        return self.student.stem.gradient_diagnostics()
