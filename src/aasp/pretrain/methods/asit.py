"""ASiT: reconstruction of corrupted groups of patches; prediction of a teacher's output for them and for the clip.

Legend: B clips, two segments of each one after another, m of N patches corrupted, D width, K prototypes.
Source: Atito et al. 2024 (ASiT): group-masked model learning of 70 % of the patches, absolute error of reconstructed
patches, self-distillation of patches within a view (local) and of class tokens across views (global), with equal
weights, as in DINO, whose temperatures, momentum and centre it uses. Ours: two segments as views without further
augmentation; all patches that inverse blocks do not keep, exactly 70 %, are replaced by noise or another clip's patches
with equal probability; a decoder of two linear layers. Its script differs from the paper as we know it: of half of the
segments 50 to 70 % are zeros, of the others 30 % are another clip's, in blocks of any position; reconstruction has
weight 2, the local loss is over all patches, both heads share their layers, the local one has 1,024 prototypes, and the
teacher's temperature rises to 0.07.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from aasp.config import check_range
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.augment import corrupted, swapped
from aasp.pretrain.ema import EMA, EMAConfig
from aasp.pretrain.encoding import check_single, encode_all, to_logmel
from aasp.pretrain.health import embedding_health
from aasp.pretrain.losses.distillation import distillation_loss
from aasp.pretrain.losses.valid import valid_mean
from aasp.pretrain.masking import MaskingConfig, draw_masks
from aasp.pretrain.methods.contract import Gather
from aasp.pretrain.methods.teacher import TeacherMethod, TeacherMethodConfig
from aasp.pretrain.prototypes import Centre, PrototypeHead
from aasp.pretrain.segments import check_segments, segments
from aasp.stems.contract import gather_patches

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class ASiTConfig(TeacherMethodConfig):
    """ASiT.

    Attributes:
        kind: the name of this method in recipes.
        seconds: length of a segment; two are cut from each crop at random.
        masking: masking of each segment; hidden patches are corrupted.
        teacher: the exponential moving average of encoder and heads.
        head: hidden width, bottleneck width, and number of prototypes.
        temperatures: temperatures of the student's and of the teacher's distribution.
    """

    kind: Literal["asit"] = "asit"
    seconds: float = 5.935
    masking: MaskingConfig = field(default_factory=lambda: MaskingConfig(views=1, keep_ratio=0.3))
    teacher: EMAConfig = field(default_factory=lambda: EMAConfig(0.996, 1.0, ramp=1.0))
    head: tuple[int, int, int] = (2048, 256, 8192)
    temperatures: tuple[float, float] = (0.1, 0.04)

    def __post_init__(self) -> None:
        check_single(self.masking)
        check_range(self, "method", "seconds temperatures")
        check_range(self, "method", "head", least=1)

    def build(self, recipe: Recipe, gather: Gather) -> ASiT:
        check_segments(self.seconds, recipe)
        return ASiT(self, recipe, gather)

    def across(self, recipe: Recipe) -> tuple[str, ...]:
        return ("the teacher's centres are moved and patches are replaced by those of others",)


class Network(nn.Module):
    """An encoder with one head for its patches and one for its class token."""

    def __init__(self, recipe: Recipe, head: tuple[int, int, int]) -> None:
        super().__init__()
        width = recipe.model.encoder.width
        self.encoder = AudioEncoder(recipe.model)
        self.local, self.whole = PrototypeHead(width, *head), PrototypeHead(width, *head)


class ASiT(TeacherMethod[Network]):
    """Student, teacher, decoder; `forward` is the training step.

    Args:
        config: the method.
        recipe: model and data.
        gather: see `Gather`.
    """

    exported = "teacher.model.encoder."

    def __init__(self, config: ASiTConfig, recipe: Recipe, gather: Gather) -> None:
        super().__init__(recipe, gather)
        self.config = config
        width, patch = recipe.model.encoder.width, recipe.model.stem.patch
        self.student = Network(recipe, config.head)
        self.teacher = EMA(self.student)
        self.centres = nn.ModuleList(Centre(config.head[2], 0.9, gather) for _ in range(2))
        self.decoder = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, patch[0] * patch[1]))

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        student, teacher, config = self.student, self.teacher.model, self.config
        clips = to_logmel(student.encoder, batch, self.data.gain(self.training))
        pairs = segments(student.encoder, clips, config.seconds)
        masks = draw_masks(config.masking, pairs.grid, pairs.columns).to(pairs.mel.device)
        there = masks.hidden_valid

        noisy = corrupted(pairs, masks, student.encoder.stem.patch, self.gather, segments=2)
        x = encode_all(student.encoder, replace(pairs, mel=noisy)).last
        hidden_VmD = gather_patches(x[:, 1:], masks.hidden)  # (2 B, 1, m, D)
        reconstructed = self.decoder(hidden_VmD)
        patches = student.encoder.stem.cut(pairs.mel.detach()).flatten(1, 2).flatten(2)
        with torch.no_grad():
            y = encode_all(teacher.encoder, pairs).last
            local = self.centres[0](teacher.local(gather_patches(y[:, 1:], masks.hidden)), there)
            whole = self.centres[1](teacher.whole(y[:, 0]))

        error = (reconstructed.float() - gather_patches(patches, masks.hidden)).abs().mean(-1)
        losses = {
            "reconstruction": valid_mean(error, there, self.gather),
            "local": distillation_loss(student.local(hidden_VmD), local, config.temperatures, there, self.gather),
            "global": distillation_loss(student.whole(x[:, 0]), swapped(whole), config.temperatures),
        }
        health = {}
        if diagnose:
            health = student.encoder.stem.diagnostics(pairs.mel)
            health |= embedding_health(reconstructed, patches, x[:, 0].unflatten(0, (-1, 2)))
        return {"loss": torch.stack(list(losses.values())).sum(), "losses": losses, "diagnostics": health}
