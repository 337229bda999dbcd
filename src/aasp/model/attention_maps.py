"""Attention maps: the class token's attention to the patches of a clip, for every block and head.

Legend: T frames, M mel bins, L blocks, H heads, G x F grid of patches, N = G * F.
Source: the class token's maps of DINO (Caron et al. 2021), here relative to uniform attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aasp.errors import AaspError
from aasp.model.attention import Attention
from aasp.model.windows import window_starts

if TYPE_CHECKING:
    from aasp.model.audio_encoder import AudioEncoder


@torch.inference_mode()
def attention_maps(encoder: AudioEncoder, mel_TM: Tensor) -> Tensor:
    """The class token's attention to each patch of a clip, relative to the mean over the window's patches.

    A clip longer than the encoder's window is split into windows that overlap by half; where two cover a patch, their
    mean is returned.

    Args:
        encoder: the model.
        mel_TM: normalised log-mel of one clip, shape (T, M).

    Returns:
        Shape (L, H, G, F), in fp32.

    Raises:
        AaspError: the encoder's attention does not provide its weights, or there is no class token.
    """
    blocks = [block.attention for block in encoder.encoder.blocks]  # type: ignore[union-attr]
    ours = [one for one in blocks if isinstance(one, Attention)]
    other = next((one for one in blocks if not isinstance(one, Attention)), None)
    if other is not None:
        raise AaspError(f"attention {type(other).__name__} gives no weights; maps are drawn of attention=full only")
    if not encoder.config.encoder.class_token:
        raise AaspError("this model has no class token, whose attention maps are of; draw those of another model")
    mel_BTM = encoder.stem.as_mel(mel_TM[None])
    columns, subbands = encoder.stem.grid(mel_BTM.shape[1])
    patch = encoder.stem.stride[0]
    mel_BTM, window = mel_BTM[:, : columns * patch], encoder.config.window_patches
    total = torch.zeros(len(blocks), encoder.config.encoder.heads, columns, subbands)
    reads = torch.zeros(columns, 1)
    for first in window_starts(columns, window):
        with _looking(ours) as seen:
            encoder.encode(mel_BTM[:, first * patch : (first + window) * patch])
        weights_LHN = torch.stack(seen)[..., int(encoder.config.encoder.distilled) :]  # without the second class token
        weights_LHN = weights_LHN / weights_LHN.mean(-1, keepdim=True)
        maps = weights_LHN.unflatten(-1, (-1, subbands))
        total[:, :, first : first + window] += maps
        reads[first : first + window] += 1
    return total / reads


@contextmanager
def _looking(blocks: list[Attention]) -> Iterator[list[Tensor]]:
    """Record the class token's attention in each block, (H, N), during an encoding."""
    seen: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(module, Attention)
        x_1ND = inputs[0]
        q, k, _ = module.qkv(x_1ND).unflatten(-1, (3, module.heads, -1)).unbind(2)
        scores = torch.einsum("he,nhe->hn", q[0, 0], k[0]).float() * q.shape[-1] ** -0.5
        seen.append(scores.softmax(-1)[:, 1:].cpu())  # the first is the class token itself

    handles = [block.register_forward_pre_hook(note) for block in blocks]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
