"""The inputs of a fine-tuning: an encoder, labelled clips and a recipe; and the pipeline of training batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
from accelerate import Accelerator

from aasp.audio.io import AudioError
from aasp.audio.sounds import Sound, channels_of, describe, duration
from aasp.config import fingerprint, flat, to_dict
from aasp.datasets.benchmarks import BENCHMARKS
from aasp.datasets.events import Event
from aasp.datasets.index import Skipped
from aasp.datasets.labelled import LabelledSet
from aasp.datasets.pipeline import CropPipeline
from aasp.errors import AaspError
from aasp.evaluate.finetune import recipes
from aasp.evaluate.finetune.identity import clips_hash, labels_hash
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.evaluate.finetune.recipes import RECIPES, clips, speech_commands, tiny
from aasp.evaluate.finetune.targets import moments
from aasp.evaluate.task import Round, Task
from aasp.features.contract import FrontEndConfig
from aasp.model.audio_classifier import AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.parts import own_code
from aasp.weights import model_hash

SMALL_WIDTH = 256  # encoders up to this width are fine-tuned by `tiny`
CACHED_HOURS = 8  # train parts up to this size are kept in memory, at 230 MB per hour
WORKERS = 8

# Benchmarks whose recipe has another name.
_FAMILY = {
    "crema_d_evar": "crema_d",
    "esc10": "esc50",
    "fsd50k": "audioset_20k",
    "nsynth_family": "nsynth",
    "nsynth_pitch": "nsynth",
    "nsynth_source": "nsynth",
}


@dataclass(frozen=True)
class Finetuning:
    """An encoder, labelled clips, and the recipe for training the encoder as their classifier.

    Attributes:
        encoder: the model to fine-tune; if `scratch`, only its architecture is used.
        model: where the encoder was loaded from.
        labelled: the data.
        recipe: how it is fine-tuned.
        scratch: start from random weights of the same architecture.
    """

    encoder: AudioEncoder
    model: str
    labelled: LabelledSet
    recipe: FinetuneRecipe
    scratch: bool = False

    def __post_init__(self) -> None:
        recipe, front = self.recipe, self.encoder.config.frontend
        if self.labelled.multilabel and recipe.loss == "softmax":
            text = f"{self.labelled.source}: several labels per clip, and recipe {recipe.name} has loss softmax"
            raise AaspError(f"{text}; add --set loss=sigmoid, or keep one label per clip")
        if (self.labelled.values is not None) != (recipe.loss == "squared"):
            labels, loss = ("classes", "softmax or sigmoid") if recipe.loss == "squared" else ("numbers", "squared")
            text = f"{self.labelled.source}: labels are {labels}, and recipe {recipe.name} has loss {recipe.loss}"
            raise AaspError(f"{text}; add --set loss={loss.split()[0]}")
        if self.labelled.events is not None:
            self._check_events(self.labelled.events)
        if self.labelled.values is not None:
            self._check_settings("numbers", {"head": "random", "sampling": "uniform", "label_smoothing": 0.0})
        if recipe.crop_seconds * 1000 < front.shortest_ms:
            window = f"shorter than one analysis window of {front.shortest_ms:g} ms"
            raise AaspError(f"fine-tuning: crop_seconds is {recipe.crop_seconds:g}, {window}; give a longer crop")

    def _check_settings(self, what: str, wanted: dict[str, Any]) -> None:
        """Check that no setting is used that is undefined for labels over time, or for numbers."""
        fields = flat(to_dict(self.recipe))
        for name, value in wanted.items():
            if fields[name] != value:
                text = f"{self.labelled.source}: labels are {what}, for which {name}={fields[name]} has no meaning"
                raise AaspError(f"{text}; add --set {name}={value}")

    def _check_events(self, events: Sequence[Sequence[Event]]) -> None:
        """Check that events can be predicted from single time patches, and that the model covers their band."""
        wanted = {"head": "random", "augment.roll_seconds": 0.0, "label_smoothing": 0.0}
        self._check_settings("events, each at its time", wanted)
        if self.recipe.pooling not in ("mean", "flat"):
            text = f"pooling {self.recipe.pooling} has no vector of a single time patch"
            raise AaspError(f"{self.labelled.source}: labels are events: {text}; add --set pooling=flat, or mean")
        for one in (one for ones in events for one in ones):
            if one.low_hz is not None and one.high_hz is not None:
                what = f"{one.file}: {one.label!r} from {one.start:g} to {one.end:g} s"
                self.encoder.config.frontend.check_covers(one.low_hz, one.high_hz, what)

    def classifier_config(self, numbers: tuple[float, float] | None = None) -> AudioClassifierConfig:
        """Configuration of the classifier: the encoder with the recipe's pooling, drop path and window, not whitened.

        Args:
            numbers: mean and deviation of the training labels, if labels are numbers.
        """
        recipe, config = self.recipe, self.encoder.config
        encoder = replace(
            config,
            encoder=replace(config.encoder, drop_path=0.0 if recipe.train == "head" else recipe.drop_path),
            pooling=recipe.pooling,
            whitened=0,
            window_seconds=config.window_seconds if recipe.window == "pretrained" else _holding(config, recipe),
        )
        labelled, channels = self.labelled, {channels_of(sound) for sound in self.labelled.sounds}
        return AudioClassifierConfig(
            tuple(labelled.classes),
            labelled.multilabel,
            recipe.crop_seconds,
            recipe.layers,
            recipe.norm,
            labelled.events is not None,
            numbers,
            encoder,
            str(channels.pop()) if len(channels) == 1 else "mean",
            "sigmoid" if recipe.loss == "sigmoid" and not labelled.multilabel else "softmax",
        )

    @cached_property
    def labels_hash(self) -> str:
        """The hash of the data by `labels_hash`."""
        return labels_hash(self.labelled)

    @cached_property
    def clips_hash(self) -> str:
        """The hash of the data by `clips_hash`."""
        return clips_hash(self.labelled)

    @cached_property
    def encoder_hash(self) -> str:
        """Hash of the encoder: configuration, a user's own code, weights; from scratch no weights, no whitening."""
        config = replace(self.encoder.config, whitened=0)
        return fingerprint(config) + own_code(config)[:16] if self.scratch else model_hash(self.encoder)

    def document(self, round_: Round) -> dict[str, Any]:
        """One round's `recipe.json`: a directory must have the same to be resumed."""
        return {
            **to_dict(self.recipe),
            "finetuned": {
                "model": self.model,
                "model_hash": self.encoder_hash,
                "scratch": self.scratch,
                "data": self.labelled.name,
                "source": self.labelled.source,
                "round": round_.name,
                "classes": len(self.labelled.classes),
                "labels_hash": self.labels_hash,
                "clips_hash": self.clips_hash,
                "clips": {"train": len(round_.train), "valid": len(round_.valid), "test": len(round_.test)},
            },
        }


def _holding(config: AudioEncoderConfig, recipe: FinetuneRecipe) -> float:
    """Seconds of a window long enough for a whole crop; a window has an even number of time patches."""
    seconds = 2 * config.stem.patch[0] / config.frontend.frame_rate
    return max(config.window_seconds, round(ceil(recipe.crop_seconds / seconds) * seconds, 6))


def suited_to(labelled: LabelledSet, width: int) -> FinetuneRecipe:
    """The default recipe for a set and an encoder's width."""
    if labelled.events is not None:
        return recipes.events()
    if labelled.values is not None:
        whole = replace(clips(), loss="squared", label_smoothing=0.0)
        return recipes.numbers() if width <= SMALL_WIDTH else whole
    return suited(labelled.name, width, labelled.multilabel)


def suited(benchmark: str, width: int, multilabel: bool) -> FinetuneRecipe:
    """The default recipe for a benchmark and an encoder's width; `tiny` takes the benchmark's clip length."""
    if width <= SMALL_WIDTH:
        recipe = tiny()
        if benchmark in BENCHMARKS:
            recipe = replace(recipe, crop_seconds=BENCHMARKS[benchmark].clip_seconds)
    elif benchmark.startswith("speech_commands"):
        recipe = speech_commands()
    else:
        recipe = RECIPES.get(_FAMILY.get(benchmark, benchmark), clips)()
    return replace(recipe, loss="sigmoid") if multilabel else recipe


def measured(labelled: LabelledSet) -> tuple[LabelledSet, np.ndarray]:
    """The set without the clips whose files can't be opened, and the durations of the others in seconds, (n,)."""

    def seconds_or_reason(sound: Sound) -> float | str:
        try:
            return duration(sound)
        except AudioError as error:
            return error.reason

    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(seconds_or_reason, labelled.sounds))
    bad = {row: fact for row, fact in enumerate(found) if isinstance(fact, str)}
    missing = [Skipped(describe(labelled.sounds[row]), reason) for row, reason in bad.items()]
    if len(bad) == len(found):
        raise AaspError(f"{labelled.source}: no usable clip, the first {missing[0].path}: {missing[0].reason}")
    seconds = np.array([fact for fact in found if not isinstance(fact, str)])
    return labelled.without(list(bad), missing), seconds


class TrainPart:
    """Some clips of a labelled set, as the source of a pipeline.

    Args:
        labelled: the set.
        seconds: duration of each of its clips, (n,).
        rows: indices of the clips used.
    """

    def __init__(self, labelled: LabelledSet, seconds: np.ndarray, rows: np.ndarray) -> None:
        self._labelled, self._rows = labelled, rows
        self.source, self.seconds = labelled.source, seconds[rows]

    def __len__(self) -> int:
        return len(self._rows)

    def sound(self, row: int) -> Sound:
        """One clip."""
        return self._labelled.sounds[self._rows[row]]


def train_pipeline(
    recipe: FinetuneRecipe,
    labelled: LabelledSet,
    seconds: np.ndarray,
    task: Task,
    round_: Round,
    *,
    batch: int,
    front: FrontEndConfig,
    workers: int,
    machine: Accelerator,
    steps: Callable[[int, float], np.ndarray] | None = None,
) -> CropPipeline:
    """This process's share of the batches of one round's train part.

    Args:
        recipe, labelled, seconds, task, round_, front, workers, machine: of the round.
        batch: clips per step of this process.
        steps: for a set with events: the labels of each time patch (G, K), given a clip's index in the train part and
            the start of the crop in seconds.
    """
    world, parts = machine.num_processes, recipe.optimizer.accumulate
    if recipe.batch == parts and recipe.norm == "batch" and recipe.head != "probe":
        text = f"batch is {recipe.batch}, one clip at a time: norm=batch needs several clips to standardise over"
        raise AaspError(f"{text}; give {2 * parts} or more, or norm=layer")
    part, y = TrainPart(labelled, seconds, round_.train), task.y[round_.train]
    if task.regression:
        mean, deviation = moments(y)
        target: Callable[[int], np.ndarray] = lambda row: (y[row : row + 1] - mean) / deviation
    elif task.multilabel:
        target = lambda row: y[row]
    else:
        identity = np.eye(len(task.classes), dtype=np.float32)
        target = lambda row: identity[y[row]]
    weighted, replacement = None, False
    if recipe.sampling == "balanced":
        weighted = clip_weights(y, len(task.classes)), min(recipe.epoch_clips or len(part), len(part))
        replacement = 2 * weighted[1] > len(part)
    return CropPipeline(
        part,
        seconds=recipe.crop_seconds,
        batch=batch,
        seed=recipe.seed,
        rate=front.rate,
        workers=workers,
        shard=(machine.process_index, world),
        cache=float(part.seconds.sum()) * world <= CACHED_HOURS * 3600,
        target=None if steps else target,
        target_from=steps,
        weighted=weighted,
        replacement=replacement,
        shortest=front.shortest_ms / 1000,
    )


def clip_weights(y: np.ndarray, classes: int) -> np.ndarray:
    """Sampling weight of each clip: the sum over its labels of 1 / the number of clips with that label; (n,).

    Source: AST (Gong et al. 2021), as Audio-MAE and EAT sample AudioSet-2M.
    """
    counts = np.maximum(y.sum(0) if y.ndim == 2 else np.bincount(y, minlength=classes), 1)
    weights = (y / counts).sum(1) if y.ndim == 2 else 1.0 / counts[y]
    return np.maximum(weights, 1e-3 / counts.max())  # a clip without labels is drawn rarely, but not never
