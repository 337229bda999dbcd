"""A recipe: everything of a pre-training run in one frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field

from aasp.config import check_range, fingerprint
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.pretrain.masking import MaskingConfig
from aasp.pretrain.predictor import PredictorConfig
from aasp.pretrain.teacher import TeacherConfig
from aasp.training.optim import OptimizerConfig


@dataclass(frozen=True)
class LossesConfig:
    """Weights of the losses, each a mean over tokens (or views) and channels.

    Attributes:
        frame: weight of the frame loss.
        utterance: weight of the utterance loss.
        contrastive: weight of the multi-mask contrastive loss.
        temperature: of the contrastive loss.
        projector: hidden width and output width of the contrastive projector.
    """

    frame: float = 1.0
    utterance: float = 1.0
    contrastive: float = 0.1
    temperature: float = 0.2
    projector: tuple[int, int] = (2048, 256)

    def __post_init__(self) -> None:
        check_range(self, "losses", "frame utterance contrastive", least=0)
        check_range(self, "losses", "temperature")
        check_range(self, "losses", "projector", least=1)
        if not self.frame + self.utterance + self.contrastive:
            raise AaspError("losses: frame, utterance and contrastive are all 0, nothing would be learned; weigh one")


@dataclass(frozen=True)
class DataConfig:
    """What a step sees.

    Attributes:
        crop_seconds: length of the random crop of each clip.
        batch: clips a step, over all processes.
        gain_db: each clip is made louder or softer by up to this much, so that level is no clue.
    """

    crop_seconds: float = 2.56
    batch: int = 32
    gain_db: float = 0.0

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise AaspError(f"data.batch {self.batch}; give at least 1")
        check_range(self, "data", "crop_seconds")
        check_range(self, "data", "gain_db", least=0)


@dataclass(frozen=True)
class Recipe:
    """A named system and how it is pre-trained.

    Attributes:
        name: of the recipe it started from.
        summary: one line for people.
        model: front end, stem and encoder.
        masking: masked views.
        teacher: EMA and targets.
        predictor: for hidden patches.
        losses: weights.
        optimizer: AdamW and schedule.
        data: crops and batch.
        steps: optimizer steps.
        seed: of weights, masks and data order.
    """

    name: str
    summary: str
    model: AudioEncoderConfig = field(default_factory=AudioEncoderConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    losses: LossesConfig = field(default_factory=LossesConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    steps: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, "recipe", "steps", least=1)
        check_range(self, "recipe", "seed", least=0, below=2**63)
        check_range(self.model, "model", "window_seconds")
        check_range(self.model.encoder, "encoder", "width depth heads mlp_ratio")
        check_range(self.model.encoder, "encoder", "drop_path", least=0, below=1)
        if self.data.crop_seconds * 1000 < self.model.frontend.shortest_ms:
            told = f"shorter than one analysis window of {self.model.frontend.shortest_ms:g} ms"
            raise AaspError(f"data: crop_seconds is {self.data.crop_seconds:g}, {told}; give a longer crop")

    @property
    def fingerprint(self) -> str:
        """Hash of every field: two runs with the same one are the same run."""
        return fingerprint(self)
