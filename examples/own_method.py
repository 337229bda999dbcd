"""A method of your own: a masked autoencoder, in one file outside the package.

usage: aasp pretrain examples/own_method.py:recipe --data recordings.parquet --out runs/mae
       aasp pretrain examples/own_method.py:recipe --data recordings.parquet --out runs/mae --set masking.keep_ratio=0.2

An encoder sees a quarter of the patches, a predictor predicts the log-mel of all others (Audio-MAE, Huang et al. 2022).
There is no teacher: the encoder itself is saved. Stopping, resuming, health and export are done by the training loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain import recipes
from aasp.pretrain.encoding import encode_visible, to_logmel
from aasp.pretrain.losses.frame import frame_loss
from aasp.pretrain.masking import MaskingConfig, draw_masks
from aasp.pretrain.methods import Gather, Method, MethodConfig
from aasp.pretrain.predictors import PredictorConfig, build_predictor
from aasp.pretrain.recipe import Recipe
from aasp.pretrain.targets import standardised_patches
from aasp.stems.contract import gather_patches


@dataclass(frozen=True)
class AutoencoderConfig(MethodConfig):
    """The settings: `--set masking.keep_ratio=0.2 predictor.depth=4`."""

    masking: MaskingConfig = field(default_factory=lambda: MaskingConfig(views=1, keep_ratio=0.25, scheme="random"))
    predictor: PredictorConfig = field(default_factory=lambda: PredictorConfig("self", depth=2, width=96, heads=3))

    def build(self, recipe: Recipe, gather: Gather) -> Autoencoder:
        return Autoencoder(self, recipe)


class Autoencoder(Method):
    """Encoder and predictor; `forward` is the step."""

    exported = "encoder."

    def __init__(self, config: AutoencoderConfig, recipe: Recipe) -> None:
        super().__init__()
        self.config, model = config, recipe.model
        self.encoder = AudioEncoder(model)
        values = model.stem.patch[0] * model.stem.patch[1]
        self.predictor = build_predictor(config.predictor, model.encoder.width, values)

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        clips = to_logmel(self.encoder, batch)
        masks = draw_masks(self.config.masking, clips.grid, clips.columns).to(clips.mel.device)
        seen = encode_visible(self.encoder, clips, masks.visible, masks.visible_valid)
        predicted = self.predictor.predict(seen, masks, clips)
        target = gather_patches(standardised_patches(self.encoder.stem, clips.mel), masks.hidden)
        loss = frame_loss(predicted, target, masks.hidden_valid)
        return {"loss": loss, "losses": {"patches": loss}, "diagnostics": {}}


def recipe() -> Recipe:
    """`aasp_tiny`'s model and crops, another method."""
    summary = "a masked autoencoder on two cores"
    return replace(recipes.aasp_tiny(), name="autoencoder", summary=summary, method=AutoencoderConfig())
