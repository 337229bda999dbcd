"""`AaspFeatureExtractor`: waveforms as a padded batch with its mask. The model computes the log-mel.

Legend: B clips, S samples.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import BatchFeature, PreTrainedConfig, SequenceFeatureExtractor

from aasp.audio.in_memory import floats
from aasp.config import from_dict
from aasp.errors import AaspError
from aasp.hf.folders import HUB_OPTIONS
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.folder import find, on_hub, read_config


class AaspFeatureExtractor(SequenceFeatureExtractor):
    """Waveforms of any length to `input_values` (B, S) and `attention_mask` (B, S), 1 for the samples of a clip.

    Args:
        sampling_rate: the model's, in Hz.
        shortest: samples of the shortest clip that the model can use.
    """

    model_input_names = ["input_values", "attention_mask"]  # noqa: RUF012 - as transformers has it

    def __init__(self, sampling_rate: int = 16_000, shortest: int = 400, **kwargs: Any) -> None:
        own: dict[str, Any] = {"feature_size": 1, "padding_value": 0.0, "return_attention_mask": True}
        super().__init__(sampling_rate=sampling_rate, **(own | kwargs))
        if self.padding_side != "right":
            raise AaspError(f"AaspFeatureExtractor: padding_side is {self.padding_side!r}; clips begin first: 'right'")
        self.shortest = shortest

    @classmethod
    def of(cls, config: AudioEncoderConfig) -> AaspFeatureExtractor:
        """The feature extractor for a model."""
        return cls(sampling_rate=config.frontend.rate, shortest=config.frontend.window)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **options: Any
    ) -> AaspFeatureExtractor:
        """Load a saved feature extractor, or make the one for a model folder or run of ours.

        Args:
            pretrained_model_name_or_path: the folder, run or name on the hub.
            options: as for transformers' feature extractors.

        Raises:
            AaspError: there is no such folder, or its configuration is damaged.
        """
        name = os.fspath(pretrained_model_name_or_path)
        if on_hub(name):
            try:
                return super().from_pretrained(name, **options)
            except OSError:  # a folder of ours has none
                hub = {option: options[option] for option in HUB_OPTIONS if option in options}
                values, _ = PreTrainedConfig.get_config_dict(name, **hub)
                if not values or "model_type" in values:
                    raise
                return cls._of_values({key: value for key, value in values.items() if key != "_commit_hash"}, name)
        if os.path.isfile(os.path.join(name, "preprocessor_config.json")):
            return super().from_pretrained(name, **options)
        file = find(name) / "config.json"
        return cls._of_values(read_config(file), str(file))

    @classmethod
    def _of_values(cls, values: dict[str, Any], where: str) -> AaspFeatureExtractor:
        """The feature extractor for the `config.json` of an encoder or classifier of ours."""
        values = values.get("encoder", {}) if "classes" in values else values
        return cls.of(from_dict(AudioEncoderConfig, values, where))

    def __call__(
        self,
        raw_speech: np.ndarray | Sequence[float] | Sequence[Any],
        sampling_rate: int | None = None,
        padding: bool | str = True,
        return_tensors: str | None = None,
        **options: Any,
    ) -> BatchFeature:
        """Make a batch of waveforms.

        Args:
            raw_speech: one mono waveform in -1..1 or several: arrays, tensors or lists of samples; int16 is scaled.
            sampling_rate: their rate, in Hz; it must be the model's, and is assumed to be if omitted.
            padding, return_tensors, options: as for transformers' feature extractors; "pt", "np" or lists.

        Raises:
            AaspError: a waveform has another rate or type or several channels, or is too short for the model.
        """
        if sampling_rate is not None and sampling_rate != self.sampling_rate:
            text = f"waveforms of {sampling_rate} Hz, and the model takes {self.sampling_rate} Hz"
            raise AaspError(f"AaspFeatureExtractor: {text}; resample them (soxr.resample), or read files at that rate")
        waves = [self._checked(number, wave) for number, wave in enumerate(_several(raw_speech))]
        if not waves:
            raise AaspError("AaspFeatureExtractor: no waveform; give one at least")
        features = BatchFeature({"input_values": waves})
        padded = self.pad(features, padding=padding, return_tensors=return_tensors, **options)
        return padded

    def _checked(self, number: int, wave: Any) -> np.ndarray:
        """A waveform as float32 (S,)."""
        samples = floats(wave, f"AaspFeatureExtractor: waveform {number}")
        if samples.ndim != 1:
            text = f"waveform {number} has shape {samples.shape}"
            raise AaspError(f"AaspFeatureExtractor: {text}; give mono ones, (samples,): the mean of the channels")
        if len(samples) < self.shortest:
            milliseconds = 1000 * len(samples) / self.sampling_rate
            least = 1000 * self.shortest / self.sampling_rate
            text = f"waveform {number} is {milliseconds:.3g} ms, under one analysis window of {least:g} ms"
            raise AaspError(f"AaspFeatureExtractor: {text}; leave it out or give a longer one")
        return samples


def _several(raw: Any) -> list[Any]:
    """A list of one or several waveforms."""
    if isinstance(raw, (list, tuple)):
        return [raw] if raw and np.ndim(raw[0]) == 0 else list(raw)
    return list(raw) if np.ndim(raw) == 2 else [raw]
