"""What the encoder sees of a clip in training: some of its time patches, or of a long clip some windows.

Legend: B clips, T frames, M mel bins, G x F grid of patches, N = G * F; n seen patches of g time patches; W windows of
a clip, w of them seen, each of p patches; D width.
Source: patchout as in PaSST (Koutini et al. 2022), of whole time patches; of windows: ours.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from aasp.model.audio_encoder import AudioEncoder

Stages = list[tuple[Tensor, Tensor]]


def embed_part(
    encoder: AudioEncoder, mel_BTM: Tensor, frames_B: Tensor, patchout: float, layers: bool
) -> tuple[Stages, Tensor]:
    """Encode clips, or a random part of each.

    A clip within the encoder's window loses time patches; the others keep their true positions. A longer one is cut in
    windows side by side, each encoded by itself as in pre-training, and loses whole windows.

    Args:
        encoder: the model.
        mel_BTM: normalised log-mel, shape (B, T, M).
        frames_B: valid frames of each clip, shape (B,).
        patchout: share of the time patches, or of the windows, that are left out; of shorter clips, the padding goes
            first. One at least is seen.
        layers: return every layer, not only the last.

    Returns:
        As `Embeddings`: the stages, and which of the time patches that were seen belong to the clip, (B, g).
    """
    columns, _ = encoder.stem.grid(mel_BTM.shape[1])
    embed = _embed_patches if columns <= encoder.config.window_patches else _embed_windows
    stages, valid_Bg = embed(encoder, mel_BTM, frames_B, patchout, layers)
    return [*stages[:-2], stages[-1]], valid_Bg  # the last block's output is read normalised


def _embed_patches(
    encoder: AudioEncoder, mel_BTM: Tensor, frames_B: Tensor, patchout: float, layers: bool
) -> tuple[Stages, Tensor]:
    """Clips within the window."""
    (columns, subbands), device = encoder.stem.grid(mel_BTM.shape[1]), mel_BTM.device
    valid_BN = encoder.stem.valid_patches(frames_B, mel_BTM.shape[1]).to(device)
    valid_BG = valid_BN.unflatten(1, (columns, subbands))[..., 0]
    full = bool((frames_B == mel_BTM.shape[1]).all())  # lengths live on the host: no synchronisation
    if not patchout:
        return encoder.encode(mel_BTM, None if full else valid_BN, layers), valid_BG
    chosen_Bg = _some(valid_BG, patchout)
    patches_Bn = (chosen_Bg[..., None] * subbands + torch.arange(subbands, device=device)).flatten(1)
    tokens = encoder.stem.views(mel_BTM, patches_Bn[:, None], valid_BN)[:, 0]
    tokens = tokens + encoder.positions(mel_BTM.shape[1], device)[patches_Bn]
    stages = encoder.encode_tokens(tokens, None if full else valid_BN.gather(1, patches_Bn), layers)
    return stages, valid_BG.gather(1, chosen_Bg)


def _embed_windows(
    encoder: AudioEncoder, mel_BTM: Tensor, frames_B: Tensor, patchout: float, layers: bool
) -> tuple[Stages, Tensor]:
    """Longer clips; class tokens are averaged by duration, as `AudioEncoder` does."""
    patch, subbands, window = encoder.stem.patch[0], encoder.stem.subbands, encoder.config.window_patches
    mel_BTM = functional.pad(mel_BTM, (0, 0, 0, -mel_BTM.shape[1] % (window * patch)))
    valid_BN = encoder.stem.valid_patches(frames_B, mel_BTM.shape[1]).to(mel_BTM.device)
    valid_BWp = valid_BN.unflatten(1, (-1, window * subbands))
    chosen_Bw = _some(valid_BWp[..., 0], patchout)
    clips_B1 = torch.arange(len(mel_BTM), device=mel_BTM.device)[:, None]
    mel = mel_BTM.unflatten(1, (-1, window * patch))[clips_B1, chosen_Bw].flatten(0, 1)
    valid_Bwp = valid_BWp[clips_B1, chosen_Bw]
    stages = encoder.encode(mel, valid_Bwp.flatten(0, 1), layers)
    share_Bw1 = (valid_Bwp.sum(2) / valid_Bwp.sum((1, 2))[:, None])[..., None]
    joined = [
        (tokens.unflatten(0, chosen_Bw.shape).flatten(1, 2), (cls.unflatten(0, chosen_Bw.shape) * share_Bw1).sum(1))
        for tokens, cls in stages
    ]
    return joined, valid_Bwp[..., ::subbands].flatten(1)


def _some(valid_BC: Tensor, left_out: float) -> Tensor:
    """Random places in order, (B, c), without a share of the C; those that are not valid go first."""
    seen = max(1, round(valid_BC.shape[1] * (1 - left_out)))
    return (torch.rand(valid_BC.shape, device=valid_BC.device) + valid_BC).topk(seen, dim=1).indices.sort(dim=1).values
