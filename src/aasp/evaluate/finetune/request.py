"""What is asked of a fine-tuning: everything that makes it what it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from math import ceil
from typing import Any

from aasp.audio.sounds import channels_of
from aasp.config import fingerprint, to_dict
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.evaluate.task import Round
from aasp.model.audio_classifier import AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.weights import model_hash


@dataclass(frozen=True)
class Finetuning:
    """An encoder, labelled clips, and how the one becomes a classifier of the other.

    Attributes:
        encoder: what is fine-tuned, or, from scratch, its pattern.
        model: where it came from.
        labelled: the data.
        recipe: how.
        scratch: begin with random weights of the same architecture.
    """

    encoder: AudioEncoder
    model: str
    labelled: LabelledSet
    recipe: FinetuneRecipe
    scratch: bool = False

    def __post_init__(self) -> None:
        recipe, front = self.recipe, self.encoder.config.frontend
        if self.labelled.multilabel and recipe.loss == "softmax":
            told = f"{self.labelled.source}: several labels a clip, and recipe {recipe.name} has loss softmax"
            raise AaspError(f"{told}; add --set loss=sigmoid, or keep one label a clip")
        if recipe.crop_seconds * 1000 < front.shortest_ms:
            window = f"shorter than one analysis window of {front.shortest_ms:g} ms"
            raise AaspError(f"fine-tuning: crop_seconds is {recipe.crop_seconds:g}, {window}; give a longer crop")

    def classifier_config(self) -> AudioClassifierConfig:
        """The classifier to be: the encoder with the recipe's pooling, drop path and window."""
        recipe, config = self.recipe, self.encoder.config
        encoder = replace(
            config,
            encoder=replace(config.encoder, drop_path=0.0 if recipe.train == "head" else recipe.drop_path),
            pooling=recipe.pooling,
            window_seconds=config.window_seconds if recipe.window == "pretrained" else _holding(config, recipe),
        )
        labelled = self.labelled
        return AudioClassifierConfig(
            tuple(labelled.classes), labelled.multilabel, recipe.crop_seconds, recipe.layers, recipe.norm, encoder
        )

    @cached_property
    def labels_hash(self) -> str:
        """Hash of every clip's labels, part and channels, and of the classes, 16 hexadecimal digits."""
        data = self.labelled
        marks: list = [list(data.classes), [list(labels) for labels in data.labels], list(data.parts)]
        channels = [channels_of(sound) for sound in data.sounds]
        marks += [channels] if set(channels) != {"mean"} else []
        return sha256(json.dumps(marks).encode()).hexdigest()[:16]

    @cached_property
    def encoder_hash(self) -> str:
        """Hash of the encoder: configuration and weights, or, from scratch, the configuration alone."""
        return fingerprint(self.encoder.config) if self.scratch else model_hash(self.encoder)

    def document(self, round_: Round) -> dict[str, Any]:
        """One round's `recipe.json`: what a directory must hold to go on with this."""
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
                "clips": {"train": len(round_.train), "valid": len(round_.valid), "test": len(round_.test)},
            },
        }


def _holding(config: AudioEncoderConfig, recipe: FinetuneRecipe) -> float:
    """Seconds of a window that holds a whole crop: a window has an even number of time patches."""
    seconds = 2 * config.stem.patch[0] / config.frontend.frame_rate
    return max(config.window_seconds, round(ceil(recipe.crop_seconds / seconds) * seconds, 6))
