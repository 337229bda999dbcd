"""The exported graph of a model: tensors in, tensors out, for clips of any number and length, or for one window.

Legend: B clips, S samples, G x F grid of patches, D width, D' pooled width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from aasp.errors import AaspError
from aasp.model.audio_classifier import AudioClassifier
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig

Extent = Literal["whole", "window"]
EXTENTS: tuple[str, ...] = get_args(Extent)
Model = AudioEncoder | AudioClassifier


@dataclass(frozen=True)
class Port:
    """An input or output: its name, and the names of its dynamic axes (None for a fixed one)."""

    name: str
    axes: tuple[str | None, ...]


class Graph(nn.Module):
    """A model as a function of tensors.

    Args:
        model: an encoder, with outputs `clip` (B, D'), `timestamps` (B, G, F * D), `seconds` (G,), `valid` (B, G) and
            `cls` (B, D) as in `Embeddings`; or a classifier, with output `probabilities` (B, K).
        extent: "whole", clips of any length and their `lengths`; "window", clips that fill one window of the model.
    """

    def __init__(self, model: Model, extent: Extent) -> None:
        super().__init__()
        self.model, self.extent = model.eval(), extent

    @property
    def encoder(self) -> AudioEncoder:
        return self.model.encoder if isinstance(self.model, AudioClassifier) else self.model

    @property
    def inputs(self) -> tuple[Port, ...]:
        if self.extent == "window":
            return (Port("wave", ("clips", None)),)
        return Port("wave", ("clips", "samples")), Port("lengths", ("clips",))

    @property
    def outputs(self) -> tuple[Port, ...]:
        if isinstance(self.model, AudioClassifier):
            return (Port("probabilities", ("clips", None)),)
        time = "patches" if self.extent == "whole" else None
        ports = {"clip": ("clips", None), "timestamps": ("clips", time, None), "seconds": (time,)}
        ports |= {"valid": ("clips", time), "cls": ("clips", None)}
        return tuple(Port(name, axes) for name, axes in ports.items())

    def gains(self, outputs: Sequence[Tensor]) -> tuple[float | np.ndarray, ...]:
        """How much larger the rounding error of each output is than that of the last layer, whose scale a norm bounds.

        For a whitened vector it is the gain of each number. For one from inner layers, which have no norm, it is the
        ratio of their magnitudes: the rounding of fp32 is relative.

        Args:
            outputs: the graph's outputs, one tensor per port.
        """
        largest = {port.name: x.double().abs().max() for port, x in zip(self.outputs, outputs, strict=True)}
        encoder, gain = self.encoder, np.ones(())
        if encoder.whitening is not None:
            gain = encoder.whitening.gains.cpu().numpy()
        elif "clip" in largest and any(layer < encoder.config.encoder.depth for layer, _ in encoder.config.keys):
            gain = (largest["clip"] / largest["timestamps"]).numpy()
        return tuple(np.maximum(1.0, gain) if port.name == "clip" else 1.0 for port in self.outputs)

    def forward(self, wave: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
        if isinstance(self.model, AudioClassifier):
            return (self._masked(self.model.probabilities(self.model(wave, lengths)), lengths),)
        found = self.model(wave, lengths)
        found = replace(found, clip=self._masked(found.clip, lengths), cls=self._masked(found.cls, lengths))
        return tuple(getattr(found, port.name) for port in self.outputs)

    def _masked(self, x_BC: Tensor, lengths_B: Tensor | None) -> Tensor:
        """NaN for clips shorter than an analysis window, which have no patch: a runtime can't refuse them.

        The mean over no patch is not NaN in every runtime, nor in 8-bit integers.
        """
        if lengths_B is None:
            return x_BC
        return x_BC.masked_fill((lengths_B < self.encoder.config.frontend.window)[:, None], torch.nan)

    def example(self) -> tuple[Tensor, ...]:
        """Two example clips: of one window each, or one longer and one shorter than a window."""
        samples = window_samples(self.encoder.config)
        if self.extent == "window":
            return (torch.zeros(2, samples),)
        short = samples // 2 + self.encoder.config.frontend.window
        return torch.zeros(2, 2 * samples), torch.tensor([2 * samples, short])

    def shapes(self) -> tuple[dict[int, torch.export.Dim], ...]:
        """The dynamic axes of each input, for `torch.export`."""
        axes = {name: torch.export.Dim(name) for port in self.inputs for name in port.axes if name}
        return tuple({i: axes[name] for i, name in enumerate(port.axes) if name} for port in self.inputs)


def window_samples(config: AudioEncoderConfig) -> int:
    """Samples of a clip that fills the model's window."""
    return config.frontend.samples(config.window_patches * config.stem.patch[0])


def checked(out: Path, difference: float, tolerance: float) -> str:
    """The difference between runtime and model, as text.

    Raises:
        AaspError: it is too large.
    """
    if difference <= tolerance:
        return f"within {difference:.1g} of PyTorch on noise, a tone and silence"
    if difference == float("inf"):
        text = "not written: it fails for clips of another length, so a part of the model fixes a size on export"
        raise AaspError(f"{out}: {text}; take sizes as `x.shape[0]` without int() in your own parts, or report it")
    text = f"not written: its numbers differ from the model's by {difference:.2g}, more than {tolerance:g}"
    raise AaspError(f"{out}: {text}; try another --opset, or report it")
