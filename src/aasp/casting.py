"""What stays in fp32 or better when a model is cast or runs under autocast: wide sums, and constants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Self

import torch
from torch import Tensor, nn

from aasp.tracing import is_traced

NO_FLOAT64 = ("mps",)
"""Types of devices that have no float64."""


def widened(x: Tensor) -> Tensor:
    """The tensor in fp32, or in float64 if it is float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def finest(x: Tensor) -> Tensor:
    """The tensor in float64, or in fp32 on a device without float64."""
    return x.to(finest_type(x.device))


def finest_type(device: torch.device) -> torch.dtype:
    """float64, or fp32 on a device without it."""
    return torch.float32 if device.type in NO_FLOAT64 else torch.float64


def without_autocast(x: Tensor) -> AbstractContextManager[None]:
    """Disable autocast for operations on this tensor."""
    return nullcontext() if x.device.type == "meta" else torch.autocast(x.device.type, enabled=False)


def without_tf32() -> AbstractContextManager[None]:
    """Convolve fp32 in fp32 on NVIDIA's GPUs, where torch's default is TF32, with 10 bits of mantissa.

    For the forward pass: gradients are computed later. A traced graph would not contain it, so it follows torch's
    setting.
    """
    return nullcontext() if is_traced() else _without_tf32()


@contextmanager
def _without_tf32() -> Iterator[None]:
    # Not `cudnn.flags`: where this newer setting was used, it does not restore it.
    convolution = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = convolution.fp32_precision
    convolution.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolution.fp32_precision = before


class LayerNorm(nn.LayerNorm):
    """A layer norm of inputs in the dtype of its weights, under autocast fp32.

    CPU autocast would leave a bf16 input as it is, and torch's kernel would sum the gradients of weight and bias in
    bf16, where up to nine tenths of them are lost.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


class WithConstants(nn.Module):
    """A module with constant tensors derived from its settings: not trained, not saved, fp32 after any cast.

    They move with the module. They are recomputed whenever it is cast or moved, so that `.half().float()` restores
    every bit, and a module that was built on the meta device gets them too.
    """

    def constants(self) -> dict[str, Tensor]:
        """The tensors by name, in fp32."""
        raise NotImplementedError

    def set_constants(self) -> None:
        """Register the constants. Call this once the settings are known.

        Another call recomputes them on their device, or on the default device if they are on the meta device: for code
        that fills a module built there tensor by tensor, without `to_empty`.
        """
        for name, tensor in self._made().items():
            there = getattr(self, name, None)
            device = torch.get_default_device() if there is None or there.is_meta else there.device
            self.register_buffer(name, tensor.to(device), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        for name, tensor in self._made().items():
            moved = self.get_buffer(name)
            self.register_buffer(name, tensor.to(moved.device), persistent=False)
        return self

    def _made(self) -> dict[str, Tensor]:
        with torch.device("cpu"):  # the same bits on every device
            return self.constants()
