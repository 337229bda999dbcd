"""Responses of a model: vectors or classes, one route each, with the options of `aasp embed` and `predict`.

V the vector's width, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, create_model

from aasp.audio.io import AudioError
from aasp.audio.sounds import Samples
from aasp.datasets.index import Skipped
from aasp.errors import AaspError
from aasp.evaluate.embedding import requested_keys
from aasp.evaluate.features import Running
from aasp.evaluate.finetune.over_time import predictions_over_time, step_probabilities
from aasp.evaluate.finetune.predict import Prediction, as_values, load_classifiers, predictions, window_of
from aasp.evaluate.vectors import ClipVectors, VectorRequest, vectors
from aasp.features import FrontEndConfig
from aasp.index.layout import STATE
from aasp.model.audio_classifier import AudioClassifier
from aasp.model.audio_encoder import AudioEncoder, load
from aasp.model.folder import find, read_config
from aasp.model.timestamps import shifts
from aasp.serve.limits import MAX_NUMBERS, MAX_WINDOWS, Refusal

CHANNELS = "of several: mean, first, loudest, or a number (1, 2, …)"


class Options(BaseModel):
    """Query parameters of every route; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid")
    channels: str = Field("mean", max_length=32, description=CHANNELS)

    @classmethod
    def with_channels(cls, channels: str, whose: str) -> type[Options]:
        """The same options with another default of channels, described as `whose` choice."""
        field = Field(channels, max_length=32, description=f"{CHANNELS}; {whose} if left out")
        return create_model(cls.__name__, __base__=cls, channels=(str, field))


class Answer(ABC):
    """A route.

    Attributes:
        query: its options.
        front: the front end that sounds are decoded for.
    """

    query: type[Options]
    front: FrontEndConfig

    @abstractmethod
    def request_key(self, options: Any) -> Hashable:
        """A key that is equal for sounds that can share a batch: those with the same options.

        Raises:
            AaspError: the model does not have the requested layer or pooling.
        """

    @abstractmethod
    def compute(self, request_key: Any, sounds: list[Samples]) -> Sequence[Any]:
        """The result for each sound, or the exception it raised."""

    @abstractmethod
    def values(self, options: Any, found: Any) -> dict[str, Any]:
        """The result as JSON values.

        Raises:
            Refusal: it has too many values.
        """


class VectorAnswer(Answer):
    """An answer that is computed from a sound's vectors.

    Args:
        encoder: the model.
        running: precision and batch size.
    """

    def __init__(self, encoder: AudioEncoder, running: Running) -> None:
        self._encoder, self._running = encoder, running
        self.front = encoder.config.frontend

    def compute(self, request_key: VectorRequest, sounds: list[Samples]) -> list[ClipVectors | AudioError]:
        found: dict[int, ClipVectors | AudioError] = {}
        for some in vectors(self._encoder, sounds, found.__setitem__, request_key, self._running):
            found |= some
        return [found[row] for row in range(len(sounds))]


class EmbedOptions(Options):
    """Options of /embed, as in `aasp embed`."""

    layer: list[Annotated[int, Field(ge=0, le=512)]] = Field(
        [], max_length=64, description="layers, side by side; the model's own vector if left out"
    )
    pooling: list[str] = Field([], max_length=8, description="cls, mean, flat, std, mean+std or flat+std")
    frames: bool = Field(False, description="also a vector for each time patch, and its centre in seconds")
    hop: float | None = Field(None, allow_inf_nan=False, description="seconds from vector to vector of frames")


class Embedding(VectorAnswer):
    """Embed a sound: its vector, (V,), and optionally vectors over time."""

    query = EmbedOptions

    def request_key(self, options: EmbedOptions) -> VectorRequest:
        if options.hop is not None and not options.frames:
            raise AaspError(f"hop={options.hop:g} without frames; add frames=true")
        if options.hop is not None and options.layer:
            raise AaspError(
                f"hop={options.hop:g} with layer: finer vectors exist for the last layer only; leave out one"
            )
        keys = requested_keys(self._encoder, options.layer, options.pooling)
        shifts(self._encoder, options.hop)
        return VectorRequest(
            keys and tuple(keys), options.frames, tuple(options.layer) if options.frames else (), options.hop
        )

    def values(self, options: EmbedOptions, found: ClipVectors) -> dict[str, Any]:
        vector, over_time = found
        if over_time is None:
            return {"embedding": vector.tolist()}
        _check_count(over_time.vectors)
        return {
            "embedding": vector.tolist(),
            "frames": over_time.vectors.tolist(),
            "times": over_time.seconds.round(6).tolist(),
        }


class PredictOptions(Options):
    """Options of /predict, as in `aasp predict`."""

    top: int | None = Field(None, ge=1, description="number of classes, most likely first; all if omitted")
    frames: bool = Field(False, description="also what is there when")
    window: float | None = Field(None, allow_inf_nan=False, description="seconds of a window; 1 if left out")
    hop: float | None = Field(None, allow_inf_nan=False, description="seconds from step to step, of an event model")


@dataclass(frozen=True)
class _Windows:
    """How to classify each sound: as a whole, in windows of a given length, or step by step."""

    window: float | None = None
    steps: bool = False
    hop: float | None = None


class Classes(Answer):
    """Classify a sound: probabilities of classes, (K,), of one classifier or averaged over folds."""

    def __init__(self, classifiers: Sequence[AudioClassifier], running: Running) -> None:
        self._classifiers, self._running = classifiers, running
        self._config = classifiers[0].config
        self.front = self._config.encoder.frontend
        self.query = PredictOptions.with_channels(self._config.channels, "those it was trained on")

    def request_key(self, options: PredictOptions) -> _Windows:
        for name, value in (("window", options.window), ("hop", options.hop)):
            if value is not None and not options.frames:
                raise AaspError(f"{name}={value:g} without frames; add frames=true")
        if not options.frames:
            return _Windows()
        if not self._config.over_time:
            if options.hop is not None:
                raise AaspError(f"hop={options.hop:g}: the model was fine-tuned on clips; give window")
            return _Windows(window_of(self._config, options.window))
        if options.window is not None:
            raise AaspError(f"window={options.window:g}: the model was fine-tuned on events; give hop, or leave it out")
        shifts(self._classifiers[0].encoder, options.hop)
        return _Windows(steps=True, hop=options.hop)

    def compute(self, request_key: _Windows, sounds: list[Samples]) -> list[Prediction | AaspError]:
        found: dict[int, Prediction | AaspError] = {}
        for row, one in enumerate(sounds):
            if request_key.window is not None and 2 * len(one.wave) / one.rate > MAX_WINDOWS * request_key.window:
                text = f"window={request_key.window:g}: more than {MAX_WINDOWS:,} windows, the limit"
                found[row] = Refusal(413, f"{text}; give a longer window, or send a shorter sound")
        numbered = [Samples(str(row), one.wave, one.rate) for row, one in enumerate(sounds) if row not in found]
        models, running, skipped = self._classifiers, self._running, list[Skipped]()
        if request_key.steps:
            steps = lambda some: step_probabilities(models, some, hop=request_key.hop, running=running, skipped=skipped)
            each = predictions_over_time(numbered, steps)
        else:
            each = predictions(models, numbered, window=request_key.window, running=running, skipped=skipped)
        found |= {int(one.path): one for one in each}
        diverged = AaspError("the classifier's answers are not finite; train it again")
        return [found.get(row, diverged) for row in range(len(sounds))]

    def values(self, options: PredictOptions, found: Prediction) -> dict[str, Any]:
        _check_count(found.over_time)
        return as_values(found, self._config, options.top or len(self._config.classes))


def answers_of(model: str, device: torch.device, running: Running) -> dict[str, Answer]:
    """The routes of a model: vectors for an encoder, vectors and classes for a classifier, classes for folds; vectors
    and nearest rows for an index.

    Args:
        model: the folder of a model, of a run or of an index, the package's own, or a model on the hub.
        device: where to put it.
        running: precision and batch size; sounds are already decoded.

    Raises:
        AaspError: there is no such model, or one of its files is damaged.
    """
    if (Path(model) / STATE).is_file():
        from aasp.index import Index
        from aasp.index.query import model_of
        from aasp.serve.nearest import Nearest

        index = Index.open(model)
        encoder = model_of(index, device)
        return {"/embed": Embedding(encoder, running), "/search": Nearest(index, encoder, running)}
    folds = any(Path(model).glob("fold-*/model/config.json"))
    if not folds and "classes" not in read_config(find(model) / "config.json"):
        return {"/embed": Embedding(load(model, device), running)}
    classifiers = list(load_classifiers(model, device).values())
    own = {"/embed": Embedding(classifiers[0].encoder, running)} if len(classifiers) == 1 else {}
    return {**own, "/predict": Classes(classifiers, running)}


def _check_count(numbers: np.ndarray) -> None:
    if numbers.size > MAX_NUMBERS:
        text = f"frames: an answer of {numbers.size:,} numbers, and {MAX_NUMBERS:,} are the limit"
        raise Refusal(413, f"{text}; send a shorter sound, or use the command line")
