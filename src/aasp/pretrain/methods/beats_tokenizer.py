"""BEATs' tokenizer: a model's tokens are distilled into codes, from which they are reconstructed.

    e = l(P f(x)),   k = argmax_k cos(v_k, e),   o = estimator(v_k)
    loss = 1 - cos(o, teacher(x))  +  || e - sg(v_k) ||^2

Legend: B clips, N patches, D width, E width of a code, K codes, l(.) normalisation to unit length, sg(.) stop-gradient.
Source: Chen et al. 2023 (BEATs), section 3.2.2: the teacher is the model of the previous iteration, its last layer the
target; a transformer encodes all patches, moving averages update the codes, an estimator of three blocks predicts the
teacher's tokens. The straight-through estimator passes gradients from the code to the encoder. Ours: the encoder starts
as the teacher (`--from` initialises both), and the estimator's input is all patches with their positions. The distance
is a sum over E as in the paper; in its code it is a mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.config import check_range
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.encoder import Block, EncoderConfig
from aasp.model.positions import sincos_positions
from aasp.pretrain.encoding import encode_all, to_logmel
from aasp.pretrain.losses import weighted_sum
from aasp.pretrain.losses.valid import valid_mean
from aasp.pretrain.methods.contract import Gather, Method, MethodConfig
from aasp.pretrain.tokenizers import DistilledConfig

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class BEATsTokenizerConfig(MethodConfig):
    """The distillation of a tokenizer.

    Attributes:
        tokenizer: the tokenizer that is trained.
        estimator: number of blocks that predict the teacher's tokens from codes.
        commitment: weight of the commitment loss, the encoder's distance from its codes.
    """

    kind: Literal["beats_tokenizer"] = "beats_tokenizer"
    tokenizer: DistilledConfig = field(default_factory=DistilledConfig)
    estimator: int = 3
    commitment: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, "method", "estimator", least=1)
        check_range(self, "method", "commitment", least=0)

    def build(self, recipe: Recipe, gather: Gather) -> BEATsTokenizer:
        return BEATsTokenizer(self, recipe, gather)

    def across(self, recipe: Recipe) -> tuple[str, ...]:
        return ("the codebook learns",)


class BEATsTokenizer(Method):
    """Teacher, tokenizer, estimator; `forward` is the training step."""

    exported = "tokenizer.encoder."
    fresh = ("tokenizer.",)  # of an iteration of BEATs, this is the previous tokenizer

    def __init__(self, config: BEATsTokenizerConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__()
        self.config, self.data, self.gather = config, recipe.data, gather
        encoder = recipe.model.encoder
        self.teacher = AudioEncoder(recipe.model).requires_grad_(False)
        self.tokenizer = config.tokenizer.build(recipe.model).requires_grad_(True)
        self.enter = nn.Linear(config.tokenizer.width, encoder.width)
        size = EncoderConfig(encoder.width, heads=encoder.heads)
        self.estimator = nn.ModuleList(Block(size, drop_path=0.0) for _ in range(config.estimator))
        self.head = nn.Sequential(nn.LayerNorm(encoder.width, eps=1e-6), nn.Linear(encoder.width, encoder.width))
        self.drawn: Tensor | None = next(self.teacher.encoder.blocks.parameters()).detach().clone()

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        self._check_teacher()
        clips, book = to_logmel(self.teacher, batch, self.data.gain(self.training)), self.tokenizer.codebook
        with torch.no_grad():
            target_BND = encode_all(self.teacher, clips).last[:, 1:].float()
        there_BN = clips.mel.new_ones(target_BND.shape[:2]) if clips.valid is None else clips.valid.float()

        vector_BNE = self.tokenizer.vectors(clips, self.teacher.stem)
        if self.training:
            book.learn(vector_BNE.detach().flatten(0, 1), there_BN.flatten(), self.gather)
        code_BNE = book.directions[book(vector_BNE)]
        through_BNE = vector_BNE + (code_BNE - vector_BNE).detach()

        x = self.enter(through_BNE) + sincos_positions(clips.grid, target_BND.shape[-1], target_BND.device)
        for block in self.estimator:
            x, _ = block(x, clips.valid)
        predicted_BND = self.head(x)

        mean = lambda terms_BN: valid_mean(terms_BN, there_BN, self.gather)
        losses = {
            "distillation": mean(1 - functional.cosine_similarity(predicted_BND.float(), target_BND, dim=-1)),
            "commitment": mean((vector_BNE - code_BNE).square().sum(-1)),
        }
        loss = weighted_sum(losses, {"distillation": 1.0, "commitment": self.config.commitment})
        health = {}
        if diagnose:
            decoded = predicted_BND.detach().float()
            variances = {
                "target_variance": target_BND.flatten(0, 1),
                "prediction_variance": decoded.flatten(0, 1),
            }
            health = {name: tokens.var(0).mean() for name, tokens in variances.items()}
            health["codes_used"] = book.perplexity()
        return {"loss": loss, "losses": losses, "diagnostics": health}

    def _check_teacher(self) -> None:
        """Check once that the teacher no longer has its random initial weights, which are not worth distilling."""
        drawn, now = self.drawn, next(self.teacher.encoder.blocks.parameters())
        self.drawn = None
        if drawn is not None and not now.is_meta and torch.equal(drawn.to(now.device), now):
            raise AaspError("beats_tokenizer: the teacher's weights are random; give --from a run or a model to distil")

    def check_health(self, metrics: Mapping[str, float]) -> str | None:
        used = metrics["codes_used"]
        return f"all patches have the same code ({used:.2f} are in use)" if used < 1.05 else None
