"""ATST-Clip: from one augmented segment of a recording, the student predicts the teacher's output for another one.

Legend: B clips, two segments of each one after another, D width, E output width of the heads.
Source: Li & Li 2022 (ATST: Audio Representation Learning with Teacher-Student Transformer): segments of six seconds,
mixup and random resized crop as in BYOL-A, the class token, the mean of BYOL's loss over both directions, tokens of 64
mel bins x 4 frames. Ours: fixed position embeddings; views have the statistics of the segments again, as in BYOL-A.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from aasp.config import check_range
from aasp.pretrain.augment import augmented, swapped
from aasp.pretrain.bootstrap import Bootstrap, BootstrapConfig
from aasp.pretrain.ema import EMAConfig
from aasp.pretrain.encoding import encode_all, to_logmel
from aasp.pretrain.health import embedding_health
from aasp.pretrain.losses.cosine import cosine_loss
from aasp.pretrain.methods.contract import Gather
from aasp.pretrain.segments import check_segments, segments

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class ATSTClipConfig(BootstrapConfig):
    """ATST-Clip.

    Attributes:
        kind: the name of this method in recipes.
        seconds: length of a segment; two are cut from each crop at random.
        augment: how a view differs from its segment.
        teacher: momentum from 0.9995 to 1, linearly (there: along a cosine).
        head: hidden and output width of projector and predictor.
    """

    kind: Literal["atst_clip"] = "atst_clip"
    seconds: float = 6.0
    teacher: EMAConfig = field(default_factory=lambda: EMAConfig(0.9995, 1.0, ramp=1.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "method", "seconds")

    def build(self, recipe: Recipe, gather: Gather) -> ATSTClip:
        check_segments(self.seconds, recipe)
        return ATSTClip(self, recipe, gather)


class ATSTClip(Bootstrap):
    """The training step.

    Args:
        config: the method.
        recipe: model and data.
        gather: see `Gather`.
    """

    exported = "teacher.model.encoder."

    def __init__(self, config: ATSTClipConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__(config, recipe, gather)
        self.config = config

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        encoder, average = self.student.encoder, self.teacher.model.encoder
        clips = to_logmel(encoder, batch, self.data.gain(self.training))
        pairs = segments(encoder, clips, self.config.seconds)
        pairs = augmented(pairs, self.config.augment, self.gather, views=1, segments=2)

        cls_D = encode_all(encoder, pairs).last[:, 0]  # (2 B, D)
        predicted_E = self.predict(cls_D)
        with torch.no_grad():
            target_E = swapped(self.target(encode_all(average, pairs).last[:, 0]))

        loss = cosine_loss(predicted_E, target_E)
        health = {}
        if diagnose:
            views = lambda x: x.unflatten(0, (-1, 2))
            health = encoder.stem.diagnostics(pairs.mel)
            health |= embedding_health(views(predicted_E)[:, :, None], views(target_E), views(cls_D))
        return {"loss": loss, "losses": {"utterance": loss}, "diagnostics": health}
