"""An AudioEncoder with a linear head, from fine-tuning: waveforms in, class scores out.

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
from aasp.config import ADDED_LATER, check_range, from_dict, to_dict
from aasp.devices import device_of
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.folder import find, read_config, weights_prefix
from aasp.model.pooling import over_frequency, pool, pooled_width
from aasp.model.timestamps import OverTime, embed_shifted, interleaved, seconds, shifts
from aasp.weights import WEIGHTS, with_weights, write_directory

MAX_CLASSES = 2**20


@dataclass(frozen=True)
class AudioClassifierConfig:
    """Configuration of a classifier: everything except its weights.

    Attributes:
        classes: names of the classes, in the order of the scores.
        multilabel: a clip may have any number of classes; each has its own probability.
        clip_seconds: length of the training clips; longer clips are still classified as a whole.
        layers: input of the head: "last": the last layer; "weighted": all layers, from the stem's tokens on, with each
            token normalised, in a learned weighted sum (as in SUPERB).
        norm: normalisation of the pooled embedding: "layer"; "batch", which standardises each dimension over clips (as
            probes do); or "none", as in BEATs.
        over_time: the head classifies each time patch separately; a clip's score is the maximum over its time patches.
        numbers: for regression: mean and deviation of the predicted numbers; `classes` then has one name.
        encoder: the encoder; its `pooling` computes one vector from a clip's tokens.
        channels: channel of multi-channel files that it was trained on (`aasp.audio.channels`), "2" for the second.
        loss: with one class per clip, what the logits were trained for: "softmax"; or "sigmoid", of each class by
            itself, whose values are divided by their sum. With several classes per clip it is the sigmoid in any case.
    """

    classes: tuple[str, ...]
    multilabel: bool = False
    clip_seconds: float = 10.0
    layers: Literal["last", "weighted"] = "last"
    norm: Literal["layer", "batch", "none"] = "layer"
    over_time: bool = False
    numbers: tuple[float, float] | None = None
    encoder: AudioEncoderConfig = field(default_factory=AudioEncoderConfig)
    channels: str = field(default="mean", metadata=ADDED_LATER)
    loss: Literal["softmax", "sigmoid"] = field(default="softmax", metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        check_range(self, "classifier", "clip_seconds")
        if not 0 < len(self.classes) <= MAX_CLASSES:
            raise AaspError(f"a classifier of {len(self.classes):,} classes; give 1 to {MAX_CLASSES:,}")
        if self.over_time and self.encoder.pooling not in ("mean", "flat"):
            text = f"pooling {self.encoder.pooling} has no vector of a single time patch"
            raise AaspError(f"a classifier over time: {text}; choose mean or flat")


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
        elif config.norm == "batch":
            self.norm = nn.BatchNorm1d(width, affine=False)
        else:
            self.norm = nn.Identity()
        self.head = nn.Linear(width, len(config.classes))
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        if config.layers == "weighted":
            self.layer_weights = nn.Parameter(torch.zeros(config.encoder.encoder.depth + 1))

    def forward(self, wave_BS: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Logits, shape (B, K), of clips of any length.

        Args:
            wave_BS, lengths_B: as in `AudioEncoder.forward`.

        Raises:
            AaspError: as in `AudioEncoder.forward`.
        """
        found = self.encoder(wave_BS, lengths_B, layers=self.reads_layers)
        return self.classify(found.stages, found.valid)

    @property
    def reads_layers(self) -> bool:
        """Whether `classify` needs the tokens of every layer."""
        return self.config.layers == "weighted"

    def classify(self, stages: Sequence[tuple[Tensor, Tensor]], valid_BG: Tensor) -> Tensor:
        """Logits, shape (B, K), of encoded clips.

        Args:
            stages: (tokens (B, N, D), class token (B, D)) of all layers, or of the last only (`Embeddings.stages`).
            valid_BG: time patches that belong to each clip, boolean, shape (B, G).
        """
        if self.config.over_time:
            logits_BGK = self.classify_steps(stages, valid_BG)
            return logits_BGK.masked_fill(~valid_BG[..., None], -torch.inf).amax(1)
        return self.head(self.norm(self.pooled(stages, valid_BG).to(self.head.weight.dtype)))

    def classify_steps(self, stages: Sequence[tuple[Tensor, Tensor]], valid_BG: Tensor) -> Tensor:
        """Logits of a classifier over time for each time patch of encoded clips, shape (B, G, K); 0 where not valid.

        Args:
            stages, valid_BG: as in `classify`.
        """
        tokens, _ = self._read(stages)
        x_BGD = over_frequency(tokens, self.encoder.stem.subbands, self.config.encoder.pooling == "flat")
        x_BGD = x_BGD.to(self.head.weight.dtype)
        if self.training:  # only valid patches, since batch normalisation standardises over all of its inputs
            logits_nK = self.head(self.norm(x_BGD[valid_BG]))
            logits_BGK = logits_nK.new_zeros(*valid_BG.shape, logits_nK.shape[-1])
            logits_BGK[valid_BG] = logits_nK
            return logits_BGK
        # All patches, so that no size depends on the data, which an export requires.
        return self.head(self._standardised(x_BGD)).masked_fill(~valid_BG[..., None], 0.0)

    def _standardised(self, x_BGD: Tensor) -> Tensor:
        """The norm in evaluation; `BatchNorm1d` itself takes no channels last."""
        if not isinstance(self.norm, nn.BatchNorm1d):
            return self.norm(x_BGD)
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None and variance is not None
        return (x_BGD - mean) * torch.rsqrt(variance + self.norm.eps)

    def over_time(self, wave_BS: Tensor, lengths_B: Tensor | None = None, *, hop: float | None = None) -> OverTime:
        """Logits of a classifier over time, (B, G, K), in place of the vectors of `AudioEncoder.over_time`.

        Args:
            wave_BS, lengths_B, hop: as in `AudioEncoder.over_time`.

        Raises:
            AaspError: as in `AudioEncoder.over_time`.
        """
        encoder, by = self.encoder, shifts(self.encoder, hop)
        mel_BTM, frames_B = encoder.mel(wave_BS, lengths_B)
        when = seconds(encoder, by, mel_BTM.shape[1], mel_BTM.device)
        found = list(embed_shifted(encoder, mel_BTM, frames_B, by, layers=self.reads_layers))
        valid = interleaved([one.valid for one in found], len(when))
        logits = interleaved([self.classify_steps(one.stages, one.valid) for one in found], len(when))
        return OverTime(logits, when, valid)

    def pooled(self, stages: Sequence[tuple[Tensor, Tensor]], valid_BG: Tensor) -> Tensor:
        """The pooled embedding that `classify` normalises: one vector per clip, shape (B, D')."""
        tokens, cls = self._read(stages)
        return pool(tokens, cls, self.encoder.stem.subbands, valid_BG, self.config.encoder.pooling)

    def _read(self, stages: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """The head's input, tokens and class token: those of the last layer, or the weighted sum of all layers."""
        if not self.reads_layers:
            return stages[-1]
        normalised = lambda x: functional.layer_norm(x, x.shape[-1:], eps=1e-6)
        shares = self.layer_weights.softmax(0)
        mixed = lambda part: sum(w * normalised(stage[part]) for w, stage in zip(shares, stages, strict=True))
        return mixed(0), mixed(1)

    def probabilities(self, logits_BK: Tensor) -> Tensor:
        """Probabilities from logits, at least in fp32: they sum to 1 over classes, or are independent (multilabel).

        For a regression model: the predicted numbers, in the unit of the labels.
        """
        scores_BK = self.usual_logits(logits_BK)
        if self.config.numbers is not None:
            return scores_BK
        return torch.sigmoid(scores_BK) if self.config.multilabel else torch.softmax(scores_BK, dim=-1)

    def usual_logits(self, logits_BK: Tensor) -> Tensor:
        """Logits of which others take the softmax or, if multilabel, the sigmoid; or the numbers of a regression model.

        softmax(log sigmoid(x)) is each sigmoid divided by the sum of all, also where all are small.
        """
        logits_BK = widened(logits_BK)
        if self.config.numbers is not None:
            mean, deviation = self.config.numbers
            return logits_BK * deviation + mean
        separate = self.config.loss == "sigmoid" and not self.config.multilabel
        return functional.logsigmoid(logits_BK) if separate else logits_BK

    def save(self, directory: str | Path) -> None:
        """Write `config.json` and `model.safetensors`; an existing model there is replaced in one step."""
        write_classifier(directory, self.config, self.state_dict())


def write_classifier(directory: str | Path, config: AudioClassifierConfig, weights: Mapping[str, Tensor]) -> None:
    """Write a classifier's directory from its configuration and tensors by name."""
    write_directory(Path(directory), {"config.json": to_dict(config)}, weights)


def load_classifier(path: str | Path, device: str | torch.device = "cpu") -> AudioClassifier:
    """Load an AudioClassifier in evaluation mode.

    Args:
        path: a directory written by `AudioClassifier.save`, a run of `aasp finetune`, or a model on the hub.
        device: the device, as in `aasp.load`.

    Raises:
        AaspError: there is no model, it is an encoder without classes, a file is missing or does not fit, or there is
            no such device.
    """
    device = device_of(device)
    directory = find(path)
    file = directory / "config.json"
    values = read_config(file)
    if "classes" not in values:
        raise AaspError(f"{path}: an encoder without classes; make a classifier of it with `aasp finetune`")
    config = from_dict(AudioClassifierConfig, values, str(file))
    model = with_weights(lambda: AudioClassifier(config), directory / WEIGHTS, weights_prefix(file))
    return model.to(device).eval()
