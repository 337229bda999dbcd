"""COLA: two segments of a recording are distinguished from those of all others.

Legend: B clips, two segments of each one after another, D width, E embedding width.
Source: Saeed, Grangier & Zeghidour 2021 (Contrastive learning of general-purpose audio representations): segments of
0.96 s, a projection to 512 by a linear layer, layer norm and tanh, a bilinear similarity, the other clips of the batch
as negatives. Ours: our transformer, whose patch tokens are averaged, in place of EfficientNet-B0. Constant outputs do
not minimise its loss, so there is no check for collapse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from aasp.casting import LayerNorm
from aasp.config import check_range
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.encoding import encode_all, mean_tokens, to_logmel
from aasp.pretrain.health import embedding_health
from aasp.pretrain.losses.bilinear import bilinear_loss
from aasp.pretrain.methods.contract import Gather, Method, MethodConfig
from aasp.pretrain.segments import check_segments, segments

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class COLAConfig(MethodConfig):
    """COLA.

    Attributes:
        kind: the name of this method in recipes.
        seconds: length of a segment; two are cut from each crop at random.
        outputs: width of the compared embeddings.
    """

    kind: Literal["cola"] = "cola"
    seconds: float = 0.96
    outputs: int = 512

    def __post_init__(self) -> None:
        check_range(self, "method", "seconds")
        check_range(self, "method", "outputs", least=1)

    def build(self, recipe: Recipe, gather: Gather) -> COLA:
        check_segments(self.seconds, recipe)
        return COLA(self, recipe, gather)

    def across(self, recipe: Recipe) -> tuple[str, ...]:
        return ("a clip is distinguished from the others",)


class COLA(Method):
    """Encoder, projection and similarity; `forward` is the training step.

    Args:
        config: the method.
        recipe: model and data.
        gather: see `Gather`.
    """

    def __init__(self, config: COLAConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__()
        if recipe.data.batch == 1:
            raise AaspError("data.batch is 1: a single clip has none to be distinguished from; give 2 or more")
        self.config, self.data, self.gather = config, recipe.data, gather
        self.student = AudioEncoder(recipe.model)
        self.projector = nn.Sequential(
            nn.Linear(recipe.model.encoder.width, config.outputs), LayerNorm(config.outputs), nn.Tanh()
        )
        self.similarity = nn.Linear(config.outputs, config.outputs, bias=False)
        nn.init.xavier_uniform_(self.similarity.weight)

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        clips = to_logmel(self.student, batch, self.data.gain(self.training))
        pairs = segments(self.student, clips, self.config.seconds)

        mean_D = mean_tokens(encode_all(self.student, pairs).last, pairs)
        anchor_BE, positive_BE = self.projector(mean_D).unflatten(0, (-1, 2)).unbind(1)
        positive_CE, first = self.gather(positive_BE)

        loss = bilinear_loss(anchor_BE, positive_CE, self.similarity.weight, first)
        health = {}
        if diagnose:
            health = self.student.stem.diagnostics(pairs.mel)
            health |= embedding_health(anchor_BE[:, None, None], positive_BE[:, None], mean_D.unflatten(0, (-1, 2)))
        return {"loss": loss, "losses": {"contrastive": loss}, "diagnostics": health}

    def gradient_diagnostics(self) -> dict[str, Tensor]:
        return self.student.stem.gradient_diagnostics()
