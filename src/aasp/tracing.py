"""What code may ask while PyTorch traces it into a graph: `torch.export`, `torch.onnx.export`, `torch.compile`.

A graph holds what was done with tensors. Whatever Python saw in their values, or of a size that is to stay open, would
be fixed in it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def is_traced() -> bool:
    """Whether a graph is being made, to be run elsewhere or compiled."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def is_exported() -> bool:
    """Whether that graph is for another runtime, which may know fewer operators, or be differentiated later."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()


def is_for_onnx() -> bool:
    """Whether that runtime reads ONNX, which has fewer operators than PyTorch."""
    return is_exported() and torch.onnx.is_in_onnx_export()


def can_be_read(values: Tensor) -> bool:
    """Whether Python may look at values: not while they are traced into a graph, nor where there are none."""
    return not (values.is_meta or is_traced())


def is_known(size: int) -> bool:
    """Whether Python may compare a size: not if it stays open in the graph, which a comparison would fix."""
    return not isinstance(size, torch.SymInt)


def is_fixed(clips: Tensor, lengths_B: Tensor | None) -> bool:
    """Whether an exported graph is of so many clips (B, length, ...) of one length: it can be the plain path then."""
    sizes = is_known(clips.shape[0]) and is_known(clips.shape[1]) and lengths_B is None
    return sizes and is_exported() and not is_for_onnx()


def filled(clips: Tensor) -> Tensor:
    """Lengths of clips (B, length, ...) that fill their batch, shape (B,)."""
    return torch.full((clips.shape[0],), clips.shape[1], device=clips.device)
