"""What the encoder sees of a clip in training: all of it or some of its time patches, in windows where it is long.

Legend: B clips, T frames, M mel bins, G x F grid of patches, N = G * F; W windows of p time patches, g of them seen, of
P frames each; D width.
Source: patchout as in PaSST (Koutini et al. 2022), of whole time patches; within windows: ours.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from aasp.model.audio_encoder import AudioEncoder
from aasp.stems.contract import take


def embed_part(
    encoder: AudioEncoder, mel_BTM: Tensor, frames_B: Tensor, patchout: float, layers: bool
) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Encode clips, or random time patches of each, at their true positions.

    A clip longer than the encoder's window is cut in windows side by side, each encoded by itself as in pre-training;
    each of them loses the same share of its time patches.

    Args:
        encoder: the model.
        mel_BTM: normalised log-mel, shape (B, T, M).
        frames_B: valid frames of each clip, shape (B,).
        patchout: share of the time patches that are left out, the padding first; one at least is seen.
        layers: return every layer, not only the last.

    Returns:
        As `Embeddings`: the stages, class tokens averaged over windows by duration, and which of the time patches that
        were seen belong to the clip, shape (B, W * g).
    """
    stem, device = encoder.stem, mel_BTM.device
    patch, subbands = stem.patch[0], stem.subbands
    columns, _ = stem.grid(mel_BTM.shape[1])
    window = min(columns, encoder.config.window_patches)
    mel_BTM = functional.pad(mel_BTM, (0, 0, 0, -(-columns // window) * window * patch - mel_BTM.shape[1]))
    valid_BN = stem.valid_patches(frames_B, mel_BTM.shape[1]).to(device)
    valid_BWp = valid_BN[:, ::subbands].unflatten(1, (-1, window))
    seen = max(1, round(window * (1 - patchout)))
    chosen_BWg = (torch.rand(valid_BWp.shape, device=device) + valid_BWp).topk(seen, dim=2).indices.sort(dim=2).values
    valid_BWg = valid_BWp.gather(2, chosen_BWg)
    within_BWn = (chosen_BWg[..., None] * subbands + torch.arange(subbands, device=device)).flatten(2)
    first_W1 = torch.arange(valid_BWp.shape[1], device=device)[:, None] * window
    if stem.receptive_field <= patch:  # a stem that sees its own patch only need not see the others
        frames = mel_BTM.unflatten(1, (-1, patch))
        tokens = stem(take(frames, chosen_BWg + first_W1).flatten(0, 1).flatten(1, 2), None)
    else:
        tokens = stem.views(mel_BTM, within_BWn + first_W1 * subbands, valid_BN).flatten(0, 1)
    tokens = tokens + encoder.positions(window * patch, device)[within_BWn.flatten(0, 1)]
    counted = valid_BWg.flatten(0, 1).repeat_interleave(subbands, dim=1)
    full = bool((-(-frames_B // patch) == valid_BWp.shape[1] * window).all())  # on the host: no synchronisation
    stages = encoder.encode_tokens(tokens, None if full else counted, layers)
    share_BW1 = (valid_BWg.sum(2) / valid_BWg.sum((1, 2))[:, None])[..., None]
    apart = valid_BWg.shape[:2]
    joined = [
        (tokens.unflatten(0, apart).flatten(1, 2), (cls.unflatten(0, apart) * share_BW1).sum(1))
        for tokens, cls in [*stages[:-2], stages[-1]]  # the last block's output is read normalised
    ]
    return joined, valid_BWg.flatten(1)
