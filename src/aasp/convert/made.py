"""What a conversion makes: a configuration of ours and tensors by our names, put together into a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig


@dataclass(frozen=True)
class Made:
    """A converted checkpoint.

    Attributes:
        config: the encoder's.
        tensors: by name, of the encoder, or of the classifier where there is one.
        classifier: its configuration, where the file has a head.
    """

    config: AudioEncoderConfig
    tensors: Mapping[str, Tensor]
    classifier: AudioClassifierConfig | None = None

    def model(self) -> AudioEncoder | AudioClassifier:
        """The model, in evaluation mode."""
        with torch.device("meta"):
            built = AudioEncoder(self.config) if self.classifier is None else AudioClassifier(self.classifier)
        model = built.to_empty(device="cpu")
        model.load_state_dict(self.tensors)
        return model.eval()
