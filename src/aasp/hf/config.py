"""`AaspConfig`: a transformers configuration that contains ours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig

from aasp.config import from_dict, to_dict
from aasp.errors import AaspError
from aasp.model.audio_classifier import AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.folder import classifier_values, find, on_hub
from aasp.pretrain.recipe import Recipe

WHERE = "AaspConfig"
OWN_NAMES = {
    "hidden_size": "encoder.width",
    "num_hidden_layers": "encoder.depth",
    "num_attention_heads": "encoder.heads",
    "sampling_rate": "frontend.rate",
}
"""Transformers' names of some settings, and where they are in `encoder`."""
CLASSIFIER_NAMES = ("encoder", "classifier", "id2label", "problem_type")
"""Settings that define a classifier."""


class AaspConfig(PreTrainedConfig):
    """A model's configuration for transformers.

    Attributes:
        encoder: an `AudioEncoderConfig` as JSON values.
        classifier: the fields of an `AudioClassifierConfig`, as JSON values, that transformers has no names for; the
            classes are `id2label`, and `problem_type` says whether a clip has one class, several, or a number.
            `numbers`
            is the mean and deviation of such numbers: (0, 1) if omitted.
        pretraining: a `Recipe` as JSON values, without its model.
        exported: the prefix, in a pre-training's method, of the encoder that is saved in the end.

    Raises:
        AaspError: one of these has an unknown field, or a value of the wrong type.
    """

    model_type = "aasp"
    has_no_defaults_at_init = True  # so that a file contains every setting, even if defaults change
    encoder: dict[str, Any] | None = None
    classifier: dict[str, Any] | None = None
    pretraining: dict[str, Any] | None = None
    exported: str | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        for name, place in OWN_NAMES.items():
            if name in kwargs:
                part, field = place.split(".")
                raise AaspError(f"{WHERE}: {name} is {place} here; give encoder={{{part!r}: {{{field!r}: …}}}}")
        self.encoder = to_dict(from_dict(AudioEncoderConfig, self.encoder or {}, f"{WHERE}: encoder"))
        super().__post_init__(**kwargs)
        if self.classifier is not None:
            self.classifier = _without(to_dict(self.audio_classifier), "classes", "multilabel", "encoder")
        if self.pretraining is not None:
            self.pretraining = _without(to_dict(self.recipe), "model")

    @classmethod
    def of(cls, config: AudioEncoderConfig | AudioClassifierConfig | Recipe, **more: Any) -> AaspConfig:
        """The configuration for an encoder, a classifier, or a recipe's pre-training.

        Args:
            config: our configuration.
            more: transformers' own settings.
        """
        if isinstance(config, AudioEncoderConfig):
            return cls(encoder=to_dict(config), **more)
        values = to_dict(config)
        if isinstance(config, Recipe):
            return cls(encoder=values["model"], pretraining=_without(values, "model"), **more)
        classes = dict(enumerate(config.classes))
        kind: Any = "multi_label_classification" if config.multilabel else "single_label_classification"
        if config.numbers is not None:
            kind = "regression"
        elif len(classes) == 1 and not config.multilabel:
            kind = None  # transformers does not support a single class
        return cls(
            encoder=values["encoder"],
            classifier=_without(values, "classes", "multilabel", "encoder"),
            id2label=classes,
            label2id={name: number for number, name in classes.items()},
            problem_type=kind,
            **more,
        )

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **options: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The values for `from_pretrained`: transformers' own file, or our configuration converted to it.

        Args:
            pretrained_model_name_or_path: a folder of ours or of transformers', a run, or a name on the hub.
            options: as in transformers.

        Raises:
            AaspError: there is no such folder, or its configuration is damaged.
            OSError: there is no such name on the hub, as transformers reports it.
        """
        place = os.fspath(pretrained_model_name_or_path)
        if os.path.exists(place) or not on_hub(place):
            place = str(find(place))
        values, rest = super().get_config_dict(place, **options)
        if "model_type" in values:
            return values, rest
        kind: type[Any] = AudioClassifierConfig if "classes" in values else AudioEncoderConfig
        given = {name: value for name, value in values.items() if name != "_commit_hash"}
        return cls.of(from_dict(kind, given, os.path.join(place, "config.json"))).to_dict(), rest

    @property
    def audio_encoder(self) -> AudioEncoderConfig:
        """The encoder's configuration as ours."""
        return from_dict(AudioEncoderConfig, self.encoder or {}, f"{WHERE}: encoder")

    @property
    def audio_classifier(self) -> AudioClassifierConfig:
        """The classifier's configuration as ours; our defaults if there was none.

        Raises:
            AaspError: as `classifier_values` does.
        """
        values = classifier_values({name: getattr(self, name) for name in CLASSIFIER_NAMES})
        return from_dict(AudioClassifierConfig, values, f"{WHERE}: classifier")

    @property
    def recipe(self) -> Recipe:
        """The pre-training method; AaSP's defaults if no recipe was given."""
        values = {"name": "transformers", "summary": "", **(self.pretraining or {}), "model": self.encoder}
        return from_dict(Recipe, values, f"{WHERE}: pretraining")

    @property
    def hidden_size(self) -> int:
        """Width of a token."""
        return self.audio_encoder.encoder.width

    @property
    def num_hidden_layers(self) -> int:
        """Number of transformer blocks."""
        return self.audio_encoder.encoder.depth

    @property
    def num_attention_heads(self) -> int:
        """Attention heads per block."""
        return self.audio_encoder.encoder.heads

    @property
    def sampling_rate(self) -> int:
        """Samples per second of the input waveforms."""
        return self.audio_encoder.frontend.rate


def _without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}
