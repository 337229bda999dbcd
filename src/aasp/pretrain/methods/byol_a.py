"""BYOL-A: from one augmented view of a clip, a network predicts its EMA's output for another view.

Legend: B clips, two views of each one after another, T frames, D width, E output width of the heads.
Source: Niizumi et al. 2021 (BYOL for Audio): mixup of log-mels, random resized crop, normalisation afterwards; BYOL's
loss in both directions; heads of 4096 and 256. Ours: our transformer in place of its convolutional network of 5.3 M
parameters, and the mean of its patch tokens in place of the mean and maximum over time; mixup with clips of the same
batch; the mean over both directions instead of their sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from aasp.pretrain.augment import augmented, swapped
from aasp.pretrain.bootstrap import Bootstrap, BootstrapConfig
from aasp.pretrain.ema import EMAConfig
from aasp.pretrain.encoding import encode_all, mean_tokens, to_logmel
from aasp.pretrain.health import embedding_health
from aasp.pretrain.losses.cosine import cosine_loss
from aasp.pretrain.methods.contract import Gather

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class BYOLAConfig(BootstrapConfig):
    """BYOL-A.

    Attributes:
        kind: the name of this method in recipes.
        augment: augmentation of both views.
        teacher: a constant momentum of 0.99, as published.
        head: hidden and output width of projector and predictor.
    """

    kind: Literal["byol_a"] = "byol_a"
    teacher: EMAConfig = field(default_factory=lambda: EMAConfig(0.99, 0.99))

    def build(self, recipe: Recipe, gather: Gather) -> BYOLA:
        return BYOLA(self, recipe, gather)


class BYOLA(Bootstrap):
    """The training step.

    Args:
        config: the method.
        recipe: model and data.
        gather: see `Gather`.
    """

    def __init__(self, config: BYOLAConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__(config, recipe, gather)
        self.config = config

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        encoder, average = self.student.encoder, self.teacher.model.encoder
        clips = to_logmel(encoder, batch, self.data.gain(self.training))
        pairs = augmented(clips, self.config.augment, self.gather)

        mean_D = mean_tokens(encode_all(encoder, pairs).last, pairs)  # (2 B, D)
        predicted_E = self.predict(mean_D)
        with torch.no_grad():
            target_E = swapped(self.target(mean_tokens(encode_all(average, pairs).last, pairs)))

        loss = cosine_loss(predicted_E, target_E)
        health = {}
        if diagnose:
            views = lambda x: x.unflatten(0, (-1, 2))
            health = encoder.stem.diagnostics(pairs.mel)
            health |= embedding_health(views(predicted_E)[:, :, None], views(target_E), views(mean_D))
        return {"loss": loss, "losses": {"utterance": loss}, "diagnostics": health}
