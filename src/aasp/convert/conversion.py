"""The result of a conversion: our configuration and tensors by our names, assembled into a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig


@dataclass(frozen=True)
class Conversion:
    """A converted checkpoint.

    Attributes:
        config: the encoder's configuration.
        tensors: the encoder's tensors by name.
        head: the classifier's other tensors, if the file has a head.
        classifier: the classifier's configuration, if the file has a head.
    """

    config: AudioEncoderConfig
    tensors: Mapping[str, Tensor]
    head: Mapping[str, Tensor] = field(default_factory=dict)
    classifier: AudioClassifierConfig | None = None

    def model(self) -> AudioEncoder | AudioClassifier:
        """The model, in evaluation mode."""
        with torch.device("meta"):
            built = AudioEncoder(self.config) if self.classifier is None else AudioClassifier(self.classifier)
        model, own = built.to_empty(device="cpu"), "" if self.classifier is None else "encoder."
        model.load_state_dict({own + name: tensor for name, tensor in self.tensors.items()} | dict(self.head))
        return model.eval()
