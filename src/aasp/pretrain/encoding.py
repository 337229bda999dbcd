"""A method's encoder inputs and outputs: log-mels of a batch, and tokens of all, visible or masked patches.

Legend: B clips, V views, S samples, T frames, M mel bins, G x F grid, N = G * F patches, n visible patches per view,
D width.
Source: mask tokens in place of hidden patches as in SSAST, ATST-Frame and wav2vec 2.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from aasp.audio.augment import random_gain
from aasp.devices import copied
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.encoder import EncoderOutput
from aasp.pretrain.masking import MaskingConfig, Masks
from aasp.stems.contract import only_valid


@dataclass
class Clips:
    """A batch as log-mels.

    Attributes:
        mel: normalised log-mel, zero beyond each clip's end, shape (B, T, M).
        grid: (G, F) of the padded batch.
        columns: time patches of each clip, shape (B,), on the host.
        valid: patches that belong to each clip, boolean, shape (B, N); None if all do.
        frames: valid frames of each clip, shape (B,), on the host.
    """

    mel: Tensor
    grid: tuple[int, int]
    columns: Tensor
    valid: Tensor | None
    frames: Tensor


def to_logmel(model: AudioEncoder, batch: Mapping[str, Tensor], gain_db: float | None = None) -> Clips:
    """The log-mels of a batch; differentiable if the front end is trained.

    A front end is trained by predictions from its frames, never by frames as targets. Methods that use frames as
    targets must detach them, or the front end would learn to produce frames that are easy to predict.

    Args:
        model: the model, whose front end and grid are used.
        batch: "wave", shape (B, S), zero beyond each clip's end; "length", valid samples, shape (B,), on the host.
        gain_db: largest random gain or attenuation of each clip, in dB.
    """
    wave_BS = batch["wave"] if gain_db is None else random_gain(batch["wave"], gain_db)
    with model.frontend.gradients():
        return as_clips(model, *model.frontend(wave_BS, batch["length"]))


def as_clips(model: AudioEncoder, mel_BTM: Tensor, frames_B: Tensor) -> Clips:
    """Log-mels, zero beyond each clip's end, as a batch; `frames_B`, the valid frames of each, is on the host.

    Frames of a last patch that the stem leaves out are left out.
    """
    columns_B, patch = model.stem.time_patches(frames_B), model.stem.patch[0]
    mel_BTM, frames_B = mel_BTM[:, : model.stem.grid(mel_BTM.shape[1])[0] * patch], frames_B.minimum(columns_B * patch)
    frames = mel_BTM.shape[1]
    full = bool((frames_B == frames).all())  # lengths are on the host: no synchronisation
    valid_BN = None if full else copied(model.stem.valid_patches(frames_B, frames), mel_BTM.device)
    return Clips(mel_BTM, model.stem.grid(frames), columns_B, valid_BN, frames_B)


def encode_all(model: AudioEncoder, clips: Clips, layers: bool = False) -> EncoderOutput:
    """Encode every patch; tokens (B, 1 + N, D), the class token first."""
    return model.encoder(model.stem(clips.mel, clips.valid), model.places(clips.mel), clips.valid, layers)


def encode_visible(model: AudioEncoder, clips: Clips, patches: Tensor, valid: Tensor) -> Tensor:
    """Encode only some patches of each view.

    Args:
        model: the encoder.
        clips: the batch.
        patches: their indices, shape (B, V, n).
        valid: which of them are valid, boolean, shape (B, V, n).

    Returns:
        Tokens of the views one after another, the class token first, shape (B * V, 1 + n, D).
    """
    return _encode_patches(model, clips, patches, valid, layers=False).last


def encode_visible_layers(model: AudioEncoder, clips: Clips, patches: Tensor, valid: Tensor) -> Tensor:
    """As `encode_visible`, with all layers: (B * V, 1 + n, 1 + depth, D), the first block's input and each block's
    output, the last one normalised."""
    output = _encode_patches(model, clips, patches, valid, layers=True)
    class_token = model.encoder.class_token.expand(len(output.tokens), 1, -1)
    first = torch.cat([class_token, output.tokens.to(class_token.dtype)], dim=1)
    return torch.stack([first, *output.blocks[:-1], output.last], dim=2)


def _encode_patches(model: AudioEncoder, clips: Clips, patches: Tensor, valid: Tensor, layers: bool) -> EncoderOutput:
    tokens = model.stem.views(clips.mel, only_valid(patches, valid), clips.valid).flatten(0, 1)
    places = model.places(clips.mel, patches.flatten(0, 1))
    return model.encoder(tokens, places, None if clips.valid is None else valid.flatten(0, 1), layers)


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


def check_single(masking: MaskingConfig) -> None:
    """Check that each clip has one mask.

    Raises:
        AaspError: it has several.
    """
    if masking.views != 1:
        raise AaspError(f"masking.views is {masking.views}: what is encoded whole has one mask; leave it at 1")


def mean_tokens(tokens: Tensor, clips: Clips) -> Tensor:
    """The mean of each clip's patch tokens, without padding, (B, D), from `encode_all` or `encode_masked`."""
    if clips.valid is None:
        return tokens[:, 1:].mean(1)
    weight = clips.valid.to(tokens.dtype)[..., None]  # (B, N, 1)
    return (tokens[:, 1:] * weight).sum(1) / weight.sum(1)


def mean_visible_tokens(tokens: Tensor, masks: Masks) -> Tensor:
    """The mean of each view's patch tokens, without padding, (B, V, D), from `encode_visible`."""
    weight = masks.visible_valid.to(tokens.dtype)[..., None]  # (B, V, n, 1)
    return (tokens[:, 1:].unflatten(0, weight.shape[:2]) * weight).sum(2) / weight.sum(2)
