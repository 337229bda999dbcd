"""Encoding with mask tokens: all positions are encoded, hidden patches as a learned token.

Legend: B clips, N patches, n visible patches, D width. Source: SSAST, ATST-Frame, wav2vec 2.0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.views import Clips, MaskingConfig, Masks
from aasp.stems.contract import only_valid


def check_single(masking: MaskingConfig) -> None:
    """Check that each clip has one mask.

    Raises:
        AaspError: it has several.
    """
    if masking.views != 1:
        raise AaspError(f"masking.views is {masking.views}: what is encoded whole has one mask; leave it at 1")


def encode_masked(model: AudioEncoder, clips: Clips, masks: Masks, mask_token_D: Tensor) -> Tensor:
    """Encode every position of each clip's grid, with the mask token at all positions that are not visible.

    Args:
        model: the encoder.
        clips: the batch.
        masks: one view of each clip.
        mask_token_D: replaces a hidden patch; the position embedding is added to it.

    Returns:
        Tokens, the class token first, shape (B, 1 + N, D). No token depends on the content of a hidden patch.
    """
    visible_Bn = masks.visible[:, 0]
    tokens_BnD = model.stem.views(clips.mel, only_valid(masks.visible, masks.visible_valid), clips.valid)[:, 0]
    empty_D = mask_token_D.to(tokens_BnD.dtype)
    tokens_BnD = torch.where(masks.visible_valid[:, 0, :, None], tokens_BnD, empty_D)
    empty_BND = empty_D.expand(len(tokens_BnD), clips.grid[0] * clips.grid[1], -1)
    tokens_BND = empty_BND.scatter(1, visible_Bn[..., None].expand_as(tokens_BnD), tokens_BnD)
    return model.encoder(tokens_BND, model.places(clips.mel), clips.valid).last
