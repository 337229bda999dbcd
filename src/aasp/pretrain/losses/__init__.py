"""Losses as pure functions; each is a mean over tokens (or views) and channels, so that weights are comparable."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from aasp.config import ADDED_LATER, check_range
from aasp.errors import AaspError


@dataclass(frozen=True)
class LossesConfig:
    """AaSP's losses and their weights, each a mean over tokens (or views) and channels.

    Attributes:
        frame: weight of the frame loss.
        utterance: weight of the utterance loss.
        contrastive: weight of the multi-mask contrastive loss.
        temperature: temperature of the contrastive loss.
        projector: hidden width and output width of the contrastive projector.
        compared: representation of a view in the contrastive loss: its "class" token, or the mean of its patch
            "tokens", from which embeddings are computed.
        spectrum: weight of the prediction of each patch's modulation spectrum from AaPE's estimated parameters
            (`aasp.pretrain.losses.spectrum`); with 0 it is not computed.
        retention: weight of SSLAM's source retention: hidden patches of mixtures of two clips predict the mean of the
            teacher's targets for both; frame loss and codes then include mixtures. With 0 there are no mixtures.
    """

    frame: float = 1.0
    utterance: float = 1.0
    contrastive: float = 0.1
    temperature: float = 0.2
    projector: tuple[int, int] = (2048, 256)
    compared: Literal["class", "tokens"] = field(default="class", metadata=ADDED_LATER)
    spectrum: float = field(default=0.0, metadata=ADDED_LATER)
    retention: float = field(default=0.0, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        check_range(self, "losses", "frame utterance contrastive spectrum retention", least=0)
        check_range(self, "losses", "temperature")
        check_range(self, "losses", "projector", least=1)
        if not self.frame + self.utterance + self.contrastive:
            raise AaspError("losses: frame, utterance and contrastive are all 0, nothing would be learned; raise one")

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss by name."""
        return {name: getattr(self, name) for name in ("frame", "utterance", "contrastive", "retention", "spectrum")}

    @property
    def weighted(self) -> list[str]:
        """Names of the losses with a nonzero weight."""
        return [name for name in ("frame", "utterance", "contrastive") if getattr(self, name)]

    def check(self, clips: int, views: int, utterance: str, others: float) -> None:
        """Warn about each loss that is always zero.

        Args:
            clips, views, utterance: as in `always_zero`.
            others: weight of the objective's further losses.

        Raises:
            AaspError: no loss remains.
        """
        always_zero = dict(self.always_zero(clips, views, utterance))
        for text in always_zero.values():
            warnings.warn(text, stacklevel=3)
        if not others and not set(self.weighted) - set(always_zero):
            raise AaspError(f"nothing would be learned: {'; '.join(always_zero.values())}; set losses.frame above 0")

    def across(self, views: int, utterance: str) -> Iterator[str]:
        """Short descriptions of the losses that depend on the other clips of a batch; arguments as in `always_zero`."""
        if self.contrastive and views > 1:
            yield "the contrastive loss distinguishes a clip from the others"
        if self.utterance and utterance == "standardised":
            yield "the utterance target is standardised"
        if self.retention:
            yield "clips are mixed with others"
        if self.spectrum:
            yield "modulation spectra are standardised"

    def always_zero(self, clips: int, views: int, utterance: str) -> Iterator[tuple[str, str]]:
        """Losses that are always zero, by name, and why.

        Args:
            clips: clips per batch.
            views: views per clip.
            utterance: the form of the teacher's utterance target.
        """
        if self.contrastive and views == 1:
            text = "masking.views is 1: a single view has nothing to agree with, the contrastive loss stays zero"
            yield "contrastive", text
        elif self.contrastive and clips == 1:
            text = "data.batch is 1: a single clip has none to differ from, the contrastive loss stays zero"
            yield "contrastive", text
        if self.utterance and clips == 1 and utterance == "standardised":
            text = "data.batch is 1: a single clip can't be standardised over clips, the utterance loss stays zero"
            yield "utterance", f"{text} (teacher.utterance=mean needs no others)"


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The total of losses by name, 0-d tensors, each times the weight of its name."""
    return torch.stack([weights[name] * value for name, value in losses.items()]).sum()
