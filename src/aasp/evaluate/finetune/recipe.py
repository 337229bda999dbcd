"""A fine-tuning recipe: everything of a fine-tuning but the model and the data, in one frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from aasp.config import check_range, fingerprint
from aasp.errors import AaspError
from aasp.model.pooling import Pooling
from aasp.training.optim import OptimizerConfig


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to a clip while training; nothing of it is done to a clip that is scored.

    Attributes:
        gain_db: louder or softer by up to this much.
        roll_seconds: turned in time by up to this much.
        noise_snr_db: white noise at this signal-to-noise ratio or up to 30 dB above it; None adds none.
        mixup: share of the batches in which every clip is mixed with another of the batch.
        mixup_alpha: of the Beta distribution that the mixing weight is drawn from.
        mixup_on: what is mixed: waveforms, or their log-mels (EAT).
        mask: SpecAugment: one stretch of frames and one of mel bins, each up to this share.
        patchout: share of the time patches that the encoder does not see (PaSST, M2D), in each of its windows; also
            what makes a step cheaper.
    """

    gain_db: float = 0.0
    roll_seconds: float = 0.0
    noise_snr_db: float | None = None
    mixup: float = 0.0
    mixup_alpha: float = 0.8
    mixup_on: Literal["waveform", "log-mel"] = "log-mel"
    mask: float = 0.0
    patchout: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("mixup", 1.0), ("mask", 1.0), ("patchout", 0.9)):
            if not 0 <= getattr(self, name) <= most:
                raise AaspError(f"augment: {name} is {getattr(self, name)}; give a share from 0 to {most:g}")
        check_range(self, "augment", "gain_db roll_seconds", least=0)
        check_range(self, "augment", "mixup_alpha")


@dataclass(frozen=True)
class FinetuneRecipe:
    """How an encoder is fine-tuned.

    Attributes:
        name: of the recipe it started from.
        summary: one line for people.
        crop_seconds: clips are cut (anywhere) or padded to this length while training; they are scored whole.
        window: how much the encoder reads at once. "crop": its window grows to the crop; "pretrained": it stays what it
            was, longer clips are read window by window, and their tokens pooled over all windows.
        batch: clips a step, over all processes.
        steps: optimizer steps.
        optimizer: AdamW and schedule; its learning rate is the head's.
        layer_decay: each block's learning rate is this times that of the block above it.
        stem_rate: the stem's share of the learning rate. EAT trains its stem at the full rate, below slow blocks; None
            lets it follow the layer decay as one more block.
        train: all; all but the stem ("frozen-stem"); or nothing but the head's norm and layer ("head").
        pooling: one vector of a clip's tokens (see `aasp.model.pooling`).
        layers: what the head reads: the last layer, or a learned weighting of all (see `AudioClassifierConfig`).
        norm: of the pooled embedding, "layer" or "batch".
        head: how the head begins: "random"; or as a "probe", a logistic regression on the encoder's embeddings of the
            train part (LP-FT), whose standardisation, where `norm` is "batch", training leaves as it is.
        drop_path: largest rate of stochastic depth.
        loss: softmax cross-entropy, or sigmoid cross-entropy of each class (the only one for several labels a clip).
        label_smoothing: share of the target that is spread over all classes.
        augment: what is done to clips while training.
        sampling: "uniform" takes every clip once an epoch; "balanced" draws clips of rare classes more often.
        epoch_clips: clips of a balanced epoch; as many as there are when left out.
        class_weights: weigh each class's loss by the inverse of how often it occurs in the train part.
        ema: momentum of a running average of the weights, which is then the model; 0 keeps none.
        validations: how often the valid part is scored, evenly spread; the best of these is the model.
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
    stem_rate: float | None = 1.0
    train: Literal["all", "frozen-stem", "head"] = "all"
    pooling: Pooling = "mean"
    layers: Literal["last", "weighted"] = "last"
    norm: Literal["layer", "batch"] = "layer"
    head: Literal["random", "probe"] = "random"
    drop_path: float = 0.1
    loss: Literal["softmax", "sigmoid"] = "softmax"
    label_smoothing: float = 0.0
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    sampling: Literal["uniform", "balanced"] = "uniform"
    epoch_clips: int | None = None
    class_weights: bool = False
    ema: float = 0.0
    validations: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, "fine-tuning", "crop_seconds batch steps layer_decay validations epoch_clips")
        check_range(self, "fine-tuning", "stem_rate", least=0)
        check_range(self, "fine-tuning", "drop_path label_smoothing ema", least=0, below=1)
        check_range(self, "fine-tuning", "seed", least=0, below=2**63)

    @property
    def fingerprint(self) -> str:
        """Hash of every field."""
        return fingerprint(self)

    @property
    def validate_every(self) -> int:
        """Steps between two scorings of the valid part."""
        return max(1, self.steps // self.validations)
