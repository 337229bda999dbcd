"""An AudioEncoder with a linear head: waveform in, class scores out. What fine-tuning makes and `aasp predict` uses.

Legend: B clips, S samples, K classes, N patch tokens of width D, G time patches, D' pooled width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.casting import widened
from aasp.config import from_dict, to_dict
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.folder import find, read_config, weights_prefix
from aasp.model.pooling import pool, pooled_width
from aasp.weights import read_weights, write_directory


@dataclass(frozen=True)
class AudioClassifierConfig:
    """All that a classifier is, but its weights.

    Attributes:
        classes: their names, in the order of the scores.
        multilabel: a clip may have any number of them: each has a probability of its own.
        clip_seconds: length of the clips that it was trained on; longer ones are taken whole all the same.
        layers: what the head reads: the last layer; or all of them, from the stem's tokens on, each token normalised,
            in a learned weighting (as in SUPERB).
        norm: of the pooled embedding: "layer", or "batch", which standardises each dimension over clips (as probes do).
        encoder: the encoder; its `pooling` makes one vector of a clip's tokens.
    """

    classes: tuple[str, ...]
    multilabel: bool = False
    clip_seconds: float = 10.0
    layers: Literal["last", "weighted"] = "last"
    norm: Literal["layer", "batch"] = "layer"
    encoder: AudioEncoderConfig = field(default_factory=AudioEncoderConfig)


class AudioClassifier(nn.Module):
    """Encoder, normalisation of the pooled embedding, and one linear layer.

    Args:
        config: the model; the weights are random until loaded (see `load_classifier`).
    """

    def __init__(self, config: AudioClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = AudioEncoder(config.encoder)
        width = pooled_width(config.encoder.pooling, config.encoder.encoder.width, self.encoder.stem.subbands)
        self.norm: nn.Module
        if config.norm == "layer":
            self.norm = nn.LayerNorm(width, eps=1e-6)
        else:
            self.norm = nn.BatchNorm1d(width, affine=False)
        self.head = nn.Linear(width, len(config.classes))
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        if config.layers == "weighted":
            self.layer_weights = nn.Parameter(torch.zeros(config.encoder.encoder.depth + 1))

    def forward(self, wave_BS: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Logits, shape (B, K), of clips of any length.

        Args:
            wave_BS, lengths_B: as `AudioEncoder` takes them.

        Raises:
            AaspError: as `AudioEncoder` does.
        """
        found = self.encoder(wave_BS, lengths_B, layers=self.reads_layers)
        return self.classify(found.stages, found.valid)

    @property
    def reads_layers(self) -> bool:
        """Whether `classify` wants the tokens of every layer."""
        return self.config.layers == "weighted"

    def classify(self, stages: Sequence[tuple[Tensor, Tensor]], valid_BG: Tensor) -> Tensor:
        """Logits, shape (B, K), of encoded clips.

        Args:
            stages: (tokens (B, N, D), class token (B, D)) of every layer, or of the last alone (`Embeddings.stages`).
            valid_BG: time patches that belong to each clip, boolean, shape (B, G).
        """
        return self.head(self.norm(self.pooled(stages, valid_BG).to(self.head.weight.dtype)))

    def pooled(self, stages: Sequence[tuple[Tensor, Tensor]], valid_BG: Tensor) -> Tensor:
        """What `classify` normalises and weighs: one vector a clip, shape (B, D')."""
        tokens, cls = stages[-1]
        if self.reads_layers:
            normalised = lambda x: functional.layer_norm(x, x.shape[-1:], eps=1e-6)
            shares = self.layer_weights.softmax(0)
            tokens = sum(w * normalised(stage[0]) for w, stage in zip(shares, stages, strict=True))
            cls = sum(w * normalised(stage[1]) for w, stage in zip(shares, stages, strict=True))
        return pool(tokens, cls, self.encoder.stem.subbands, valid_BG, self.config.encoder.pooling)

    def probabilities(self, logits_BK: Tensor) -> Tensor:
        """Logits as probabilities, in fp32 or better: of all classes together 1, or of each on its own."""
        logits_BK = widened(logits_BK)
        return torch.sigmoid(logits_BK) if self.config.multilabel else torch.softmax(logits_BK, dim=-1)

    def save(self, directory: str | Path) -> None:
        """Write `config.json` and `model.safetensors`; an existing model there is replaced in one step."""
        write_classifier(directory, self.config, self.state_dict())


def write_classifier(directory: str | Path, config: AudioClassifierConfig, weights: Mapping[str, Tensor]) -> None:
    """Write a classifier's directory from its configuration and its tensors by name."""
    write_directory(Path(directory), {"config.json": to_dict(config)}, weights)


def load_classifier(path: str | Path, device: str | torch.device = "cpu") -> AudioClassifier:
    """Load an AudioClassifier in evaluation mode.

    Args:
        path: a directory that `AudioClassifier.save` wrote, a run of `aasp finetune`, or a model on the hub.
        device: where to put it.

    Raises:
        AaspError: nothing is there, it is an encoder without classes, a file lacks or does not fit.
    """
    directory = find(path)
    file = directory / "config.json"
    values = read_config(file)
    if "classes" not in values:
        raise AaspError(f"{path}: an encoder without classes; make a classifier of it with `aasp finetune`")
    model = AudioClassifier(from_dict(AudioClassifierConfig, values, str(file)))
    read_weights(model, directory / "model.safetensors", weights_prefix(file))
    return model.to(device).eval()
