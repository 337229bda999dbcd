"""Losses, pure functions; each a mean over tokens (or views) and channels, so that their weights compare."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from aasp.config import ADDED_LATER, check_range
from aasp.errors import AaspError


@dataclass(frozen=True)
class LossesConfig:
    """AaSP's losses and their weights, each a mean over tokens (or views) and channels.

    Attributes:
        frame: weight of the frame loss.
        utterance: weight of the utterance loss.
        contrastive: weight of the multi-mask contrastive loss.
        temperature: of the contrastive loss.
        projector: hidden width and output width of the contrastive projector.
        compared: what stands for a view in the contrastive loss: its "class" token, or the mean of its patch "tokens",
            which embeddings are made of.
        spectrum: weight of predicting each patch's modulation spectrum from what AaPE estimates of it
            (`aasp.pretrain.losses.spectrum`); with 0 it is not computed.
    """

    frame: float = 1.0
    utterance: float = 1.0
    contrastive: float = 0.1
    temperature: float = 0.2
    projector: tuple[int, int] = (2048, 256)
    compared: Literal["class", "tokens"] = field(default="class", metadata=ADDED_LATER)
    spectrum: float = field(default=0.0, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        check_range(self, "losses", "frame utterance contrastive spectrum", least=0)
        check_range(self, "losses", "temperature")
        check_range(self, "losses", "projector", least=1)
        if not self.frame + self.utterance + self.contrastive:
            raise AaspError("losses: frame, utterance and contrastive are all 0, nothing would be learned; weigh one")

    @property
    def weighted(self) -> list[str]:
        """The losses that count."""
        return [name for name in ("frame", "utterance", "contrastive") if getattr(self, name)]

    def check(self, clips: int, views: int, utterance: str, others: float) -> None:
        """Warn of each loss that has nothing to compare in a step.

        Args:
            clips, views, utterance: as in `idle`.
            others: weight of what is learned besides these losses.

        Raises:
            AaspError: nothing is left to be learned.
        """
        idle = dict(self.idle(clips, views, utterance))
        for text in idle.values():
            warnings.warn(text, stacklevel=3)
        if not others and not set(self.weighted) - set(idle):
            raise AaspError(f"nothing would be learned: {'; '.join(idle.values())}; weigh losses.frame")

    def across(self, views: int, utterance: str) -> Iterator[str]:
        """What depends on the other clips of a batch, each in a few words; arguments as in `idle`."""
        if self.contrastive and views > 1:
            yield "the contrastive loss distinguishes a clip from the others"
        if self.utterance and utterance == "standardised":
            yield "the utterance target is standardised"

    def idle(self, clips: int, views: int, utterance: str) -> Iterator[tuple[str, str]]:
        """Losses that have nothing to compare in a step, by name, and why.

        Args:
            clips: in a batch.
            views: of a clip.
            utterance: the teacher's form of that target.
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
