"""What a conversion makes: a configuration of ours and tensors by our names, put together into a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig


@dataclass(frozen=True)
class Made:
    """A converted checkpoint.

    Attributes:
        config: the encoder's.
        tensors: the encoder's, by name.
        head: the classifier's others, where the file has a head.
        classifier: its configuration then.
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
