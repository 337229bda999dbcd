"""A fine-tuning recipe: all settings of a fine-tuning except the model and the data, in one frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from aasp.config import check_range, fingerprint
from aasp.evaluate.finetune.augment import AugmentConfig
from aasp.model.pooling import Pooling
from aasp.training.optim import OptimizerConfig


@dataclass(frozen=True)
class FinetuneRecipe:
    """How an encoder is fine-tuned.

    Attributes:
        name: of the recipe it started from.
        summary: one-line description.
        crop_seconds: clips are cropped (at random positions) or padded to this length in training; they are scored
            whole.
        window: length of the encoder's input window. "crop": the window grows to the crop; "pretrained": it stays
            unchanged, longer clips are encoded window by window, and their tokens are pooled over all windows.
        batch: clips per step, over all processes.
        steps: optimizer steps.
        optimizer: AdamW and schedule; its learning rate is the head's.
        layer_decay: each block's learning rate is this times that of the block above it; the stem, below them, has the
            full rate, as in EAT.
        train: all; all but the stem ("frozen-stem"); or only the head, which includes the weighting of the
            encoder's layers ("head").
        pooling: how a clip's tokens become one vector (see `aasp.model.pooling`).
        layers: input of the head: the last layer, or a learned weighting of all (see `AudioClassifierConfig`).
        norm: of the pooled embedding, "layer" or "batch".
        head: initial head: "random"; or "probe", a logistic regression on the encoder's embeddings of the train part
            (LP-FT), whose standardisation stays fixed in training if `norm` is "batch".
        drop_path: largest rate of stochastic depth.
        loss: softmax cross-entropy; sigmoid cross-entropy of each class (the only one for several labels per clip, and
            for events); or, for numbers, the squared error.
        label_smoothing: share of the target that is spread over all classes.
        augment: augmentation of clips in training.
        sampling: "uniform" takes every clip once per epoch; "balanced" draws clips of rare classes more often: with
            replacement, or, if an epoch is at most half of the train part, without.
        epoch_clips: clips of a balanced epoch; as many as in the train part if omitted.
        validations: how often the valid part is scored, evenly spaced; the best checkpoint becomes the model.
        seed: of the head, data order and augmentation.
    """

    name: str
    summary: str
    crop_seconds: float = 10.0
    window: Literal["crop", "pretrained"] = "crop"
    batch: int = 32
    steps: int = 1_000
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    layer_decay: float = 0.65
    train: Literal["all", "frozen-stem", "head"] = "all"
    pooling: Pooling = "mean"
    layers: Literal["last", "weighted"] = "last"
    norm: Literal["layer", "batch"] = "layer"
    head: Literal["random", "probe"] = "random"
    drop_path: float = 0.1
    loss: Literal["softmax", "sigmoid", "squared"] = "softmax"
    label_smoothing: float = 0.0
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    sampling: Literal["uniform", "balanced"] = "uniform"
    epoch_clips: int | None = None
    validations: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, "fine-tuning", "crop_seconds batch steps layer_decay validations epoch_clips")
        check_range(self, "fine-tuning", "drop_path label_smoothing", least=0, below=1)
        check_range(self, "fine-tuning", "seed", least=0, below=2**63)

    @property
    def across(self) -> tuple[str, ...]:
        """Operations of a step that depend on the other clips of a micro-batch, each in a few words."""
        mixed = ("clips are mixed with others",) if self.augment.mixup else ()
        return (*mixed, "the batch norm is taken") if self.norm == "batch" and self.head != "probe" else mixed

    @property
    def fingerprint(self) -> str:
        """Hash of every field."""
        return fingerprint(self)

    @property
    def validate_every(self) -> int:
        """Steps between two scorings of the valid part."""
        return max(1, self.steps // self.validations)
