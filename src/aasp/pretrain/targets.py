"""Prediction targets: pure functions of a teacher's layers, patches or tokens.

Legend: B clips, N patch tokens, D width, L layers, P x R values of a patch.
Source: data2vec 2.0 and EAT (MLP outputs, instance norm per layer); MAE (standardised patches); M2D (standardised
tokens). The utterance target before the instance norm is ours, since the instance norm makes every token mean zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from aasp.config import check_range
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderOutput
from aasp.pretrain.ema import EMAConfig
from aasp.pretrain.encoding import Clips, encode_all
from aasp.pretrain.losses.valid import Gather
from aasp.stems.contract import Stem


@dataclass(frozen=True)
class TeacherConfig(EMAConfig):
    """AaSP's teacher: the exponential moving average and its targets.

    Attributes:
        layers: number of last layers that are averaged for the targets; all if the encoder has fewer.
        frame: "layers": the teacher's layers; "patches": the log-mel patches, each standardised, as in Audio-MAE, the
            control without a teacher's targets; "layers+patches": both concatenated, all channels with equal weight:
            patches can't collapse, and prevent the collapse of the layers (ours).
        utterance: "mean": layer-normalised token mean of the layer average before instance norm; "standardised": the
            same, then centred and scaled over the clips of the batch, so that a constant does not minimise the loss
            (ours); with a single clip per step it is undefined, and there is no utterance loss; "instance": EAT's form,
            the token mean of the frame target.
    """

    layers: int = 12
    frame: Literal["layers", "patches", "layers+patches"] = "layers"
    utterance: Literal["mean", "standardised", "instance"] = "standardised"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "teacher", "layers", least=1)

    def target_width(self, model: AudioEncoderConfig) -> int:
        """Channels of a model's frame target."""
        width, values = model.encoder.width, model.stem.patch[0] * model.stem.patch[1]
        return {"layers": width, "patches": values, "layers+patches": width + values}[self.frame]

    def teacher_channels(self, target: Tensor, width: int) -> Tensor:
        """The channels of a frame target that the teacher computes, and could make constant; all if it computes none.

        Args:
            target: from `frame_target`, or its prediction, (…, `target_width`).
            width: of the encoder.
        """
        return target[..., :width] if self.frame.startswith("layers") else target


@torch.no_grad()
def teacher_targets(config: TeacherConfig, teacher: AudioEncoder, clips: Clips) -> tuple[Tensor, Tensor]:
    """The targets of all patches, (B, N, `TeacherConfig.target_width`), and the summaries of the clips, (B, D).

    Args:
        config: which targets.
        teacher: encodes the clips.
        clips: the batch; no patch depends on an invalid one.
    """
    output = encode_all(teacher, clips, layers=True)
    layers_BND, summary_BD = layer_targets(output, clips, config.layers, config.utterance == "instance")
    return frame_target(config.frame, layers_BND, teacher.stem, clips.mel), summary_BD


def frame_target(frame: str, layers_BND: Tensor, stem: Stem, mel_BTM: Tensor) -> Tensor:
    """The target of every patch, (B, N, `TeacherConfig.target_width`).

    Args:
        frame: as in `TeacherConfig`.
        layers_BND: frame target from `layer_targets`.
        stem: the stem, which defines the patches.
        mel_BTM: log-mel.
    """
    if frame == "layers":
        return layers_BND
    patches = standardised_patches(stem, mel_BTM)
    return patches if frame == "patches" else torch.cat([layers_BND, patches], dim=-1)


def layer_targets(output: EncoderOutput, clips: Clips, layers: int, instance: bool) -> tuple[Tensor, Tensor]:
    """Frame target (B, N, D) and clip summary (B, D) from a teacher's output for whole clips.

    Args:
        output: the teacher's output, including those of its MLPs.
        clips: the teacher's input.
        layers: number of last layers to average; all if there are fewer.
        instance: summarise the frame target itself (EAT), instead of the layers before their instance norm.
    """
    outputs = [x[:, 1:].float() for x in output.ffn[-layers:]]
    weight_BN = clips.mel.new_ones(outputs[0].shape[:2]) if clips.valid is None else clips.valid.float()
    with torch.autocast(clips.mel.device.type, enabled=False):  # sums over many tokens
        return averaged_layers(outputs, weight_BN, instance)


def averaged_layers(layers_LBND: list[Tensor], weight_BN: Tensor, instance: bool) -> tuple[Tensor, Tensor]:
    """Frame target (B, N, D) and clip summary (B, D) from layer outputs, layer-normalised over channels.

    Args:
        layers_LBND: outputs of the averaged layers, each (B, N, D).
        weight_BN: 1 for tokens that belong to the clip, else 0.
        instance: summarise the frame target itself (EAT), instead of the layers before their instance norm.
    """
    width = layers_LBND[0].shape[-1]
    share_B1N = (weight_BN / weight_BN.sum(1, keepdim=True).clamp_min(1.0))[:, None]
    means = [share_B1N @ x for x in layers_LBND]  # (B, 1, D): one pass, no weighted copy of the tokens
    normalised = torch.zeros_like(layers_LBND[0])
    for x, mean in zip(layers_LBND, means, strict=True):
        centred = x - mean
        normalised.addcmul_(centred, torch.rsqrt(share_B1N @ centred.square() + 1e-5))
    frame = functional.layer_norm(normalised / len(layers_LBND), (width,))
    if instance:
        return frame, (share_B1N @ frame)[:, 0]
    return frame, functional.layer_norm(torch.stack(means).mean(0)[:, 0], (width,))


def standardised_patches(stem: Stem, mel_BTM: Tensor) -> Tensor:
    """The log-mel patches, each to mean 0 and deviation 1, shape (B, N, P * R). Source: MAE's normalised pixels."""
    patches = stem.cut(mel_BTM.detach()).flatten(1, 2).flatten(2)
    return functional.layer_norm(patches, patches.shape[-1:], eps=1e-6)


def standardised_tokens(tokens: Tensor) -> Tensor:
    """Each token (..., D) to mean 0 and deviation 1 over its channels. Source: M2D's targets, after MAE's."""
    return functional.layer_norm(tokens.float(), tokens.shape[-1:], eps=1e-6)


def utterance_target(summary_BD: Tensor, how: str, gather: Gather) -> tuple[Tensor | None, Tensor | None]:
    """The target of each clip's class tokens, and how much summaries differ between clips.

    Args:
        summary_BD: the teacher's clip summaries.
        how: as in `TeacherConfig.utterance`.
        gather: concatenates a tensor over processes.

    Returns:
        The targets, (B, D), None if a single clip is to be standardised; the deviation of the summaries over clips
        before standardisation, 0-d: near zero, all are the same. None for a single clip.
    """
    everyone_CD, first = gather(summary_BD)
    if len(everyone_CD) == 1:
        return None if how == "standardised" else summary_BD, None
    deviation = everyone_CD.std(0, correction=0).mean()
    if how == "standardised":
        summary_BD = standardise(everyone_CD)[first : first + len(summary_BD)]
    return summary_BD, deviation


def standardise(summary_BD: Tensor) -> Tensor:
    """Centre and scale every channel over the clips of the batch."""
    centred = summary_BD - summary_BD.mean(0)
    return centred * torch.rsqrt(centred.square().mean(0) + 1e-5)
