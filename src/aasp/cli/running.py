"""Options for running a model: device, precision and batch size; and for its vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

    from aasp.evaluate.features import Running


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """The device of a command's model."""

    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1 or mps."""

    def place(self) -> torch.device:
        """The device.

        Raises:
            AaspError: this machine has no such device.
        """
        from aasp.devices import device_of

        return device_of(self.device)


@dataclass(frozen=True, kw_only=True)
class PrecisionOptions(DeviceOptions):
    """Device and precision."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: the fastest on the device, and fp32 if the model's vector is whitened; embeddings stay within 0.01 of
    fp32's in cosine distance."""


@dataclass(frozen=True, kw_only=True)
class RunningOptions(PrecisionOptions):
    """Device, precision and batch size."""

    batch: int = 16
    """Clips per batch."""

    def running(self) -> Running:
        """These options for the embedding functions.

        Raises:
            AaspError: the batch is not a positive number.
        """
        from aasp.evaluate.features import Running

        return Running(self.precision, self.batch)


@dataclass(frozen=True, kw_only=True)
class VectorOptions:
    """The definition of a sound's vector."""

    layer: tuple[int, ...] = ()
    """From 0, the input of the first block, to the model's depth, its output; several are concatenated. By default the
    model's default vector."""
    pooling: tuple[str, ...] = ()
    """How a layer's tokens become a vector: cls, mean, flat, std, mean+std or flat+std; several are concatenated."""
