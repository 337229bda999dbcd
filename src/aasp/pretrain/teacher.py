"""The teacher: a slow average of the student that sees everything, and the targets it sets.

Legend: B clips, N patch tokens, D width, L layers.
Source: data2vec 2.0 and EAT (targets from MLP outputs, instance norm per layer); the utterance target before the
instance norm is ours, since the instance norm makes every token mean zero.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.config import check_range
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.stems.contract import Stem


@dataclass(frozen=True)
class TeacherConfig:
    """The exponential moving average and its targets.

    Attributes:
        momentum: the average's momentum at the start.
        final_momentum: at the end of the ramp and from then on.
        ramp: share of all steps over which it rises linearly.
        layers: how many of the last layers the targets average; all of them where the encoder has no more.
        frame: "layers", the teacher's own layers; "patches", the log-mel patches themselves, each standardised, as
            Audio-MAE reconstructs them: the control without a teacher's targets; "layers+patches", both side by side,
            every channel counting alike: patches never collapse, and keep the layers from it (ours).
        utterance: "mean", layer-normalised token mean of the layer average before instance norm; "standardised", the
            same, then centred and scaled over the clips of the batch, so that a constant is no answer (ours); a
            process with one clip a step has nothing to scale it over, and no utterance loss;
            "instance", EAT's form, the token mean of the frame target.
    """

    momentum: float = 0.999
    final_momentum: float = 0.9999
    ramp: float = 0.25
    layers: int = 12
    frame: Literal["layers", "patches", "layers+patches"] = "layers"
    utterance: Literal["mean", "standardised", "instance"] = "standardised"

    def __post_init__(self) -> None:
        check_range(self, "teacher", "momentum final_momentum ramp", least=0, most=1)
        check_range(self, "teacher", "layers", least=1)

    def target_width(self, model: AudioEncoderConfig) -> int:
        """Channels of a model's frame target."""
        width, values = model.encoder.width, model.stem.patch[0] * model.stem.patch[1]
        return {"layers": width, "patches": values, "layers+patches": width + values}[self.frame]


class Teacher(nn.Module):
    """EMA of the student, stem included, that sets targets from unmasked clips.

    Args:
        student: the model to copy.
        config: momentum and targets.
    """

    def __init__(self, student: AudioEncoder, config: TeacherConfig) -> None:
        super().__init__()
        self.config = config
        self.model = copy.deepcopy(student).requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, mel_BTM: Tensor, valid_BN: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Set the targets of a batch.

        Returns:
            The target of every patch, (B, N, `target_width`), the clip's summary, (B, D), and how much summaries differ
            between clips before they are standardised, a 0-d tensor: near zero, they are the same for every clip.
        """
        tokens = self.model.stem(mel_BTM, valid_BN)
        output = self.model.encoder(tokens, self.model.places(mel_BTM), valid_BN, layers=True)
        outputs = [x[:, 1:].float() for x in output.ffn[-self.config.layers :]]
        weight = mel_BTM.new_ones(tokens.shape[:2]) if valid_BN is None else valid_BN.float()
        with torch.autocast(tokens.device.type, enabled=False):  # sums over many tokens
            frame, summary = targets(outputs, weight, self.config.utterance == "instance")
        if self.config.frame != "layers":
            patches = normalised_patches(self.model.stem, mel_BTM)
            frame = torch.cat([frame, patches], dim=-1) if self.config.frame == "layers+patches" else patches
        deviation = summary.std(0, correction=0).mean()
        return frame, standardise(summary) if self.config.utterance == "standardised" else summary, deviation

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float) -> None:
        """Move the average towards the student by 1 - momentum; one call for all tensors."""
        torch._foreach_lerp_(list(self.model.parameters()), list(student.parameters()), 1.0 - momentum)

    @torch.no_grad()
    def distance(self, student: nn.Module) -> Tensor:
        """Relative distance of the average from the student."""
        ours, theirs = tuple(self.model.parameters()), tuple(student.parameters())
        norm = lambda tensors: torch.stack(torch._foreach_norm(tensors)).norm()
        return norm(torch._foreach_sub(ours, theirs)) / norm(theirs)


def targets(layers_LBND: list[Tensor], weight_BN: Tensor, instance: bool) -> tuple[Tensor, Tensor]:
    """Frame target (B, N, D) and clip summary (B, D) from layer outputs, layer-normalised over channels.

    Args:
        layers_LBND: outputs of the averaged layers, each (B, N, D).
        weight_BN: 1 for tokens that belong to the clip, else 0.
        instance: summarise the frame target itself (EAT), instead of the layers before their instance norm.
    """
    width = layers_LBND[0].shape[-1]
    share_B1N = (weight_BN / weight_BN.sum(1, keepdim=True))[:, None]
    means = [share_B1N @ x for x in layers_LBND]  # (B, 1, D): one pass, no weighted copy of the tokens
    normalised = torch.zeros_like(layers_LBND[0])
    for x, mean in zip(layers_LBND, means, strict=True):
        centred = x - mean
        normalised.addcmul_(centred, torch.rsqrt(share_B1N @ centred.square() + 1e-5))
    frame = functional.layer_norm(normalised / len(layers_LBND), (width,))
    if instance:
        return frame, (share_B1N @ frame)[:, 0]
    return frame, functional.layer_norm(torch.stack(means).mean(0)[:, 0], (width,))


def normalised_patches(stem: Stem, mel_BTM: Tensor) -> Tensor:
    """The log-mel patches, each to mean 0 and deviation 1, shape (B, N, P * R). Source: MAE's normalised pixels."""
    patches = stem.cut(mel_BTM).flatten(1, 2).flatten(2)
    return functional.layer_norm(patches, patches.shape[-1:], eps=1e-6)


def standardise(summary_BD: Tensor) -> Tensor:
    """Centre and scale every channel over the clips of the batch."""
    centred = summary_BD - summary_BD.mean(0)
    return centred * torch.rsqrt(centred.square().mean(0) + 1e-5)
