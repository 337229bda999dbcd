"""Long audio: windows of a clip are encoded separately and merged, for embedding, scoring and training.

Legend: B clips, T frames, M mel bins, G x F grid of a clip's patches, N = G * F, D width; W windows of p time patches
each, g of them visible; K time patches of all windows that are encoded at a time.
Source: ours; patchout as in PaSST (Koutini et al. 2022), but of whole time patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from aasp.devices import copied
from aasp.model.positions import Places
from aasp.stems.contract import only_valid
from aasp.tracing import is_exported

if TYPE_CHECKING:
    from aasp.model.audio_encoder import AudioEncoder

Stages = list[tuple[Tensor, Tensor]]
WINDOWS_PER_BATCH = 32


def window_starts(columns: int, window: int, *, overlap: bool = True) -> range:
    """The first time patch of each window of a clip; the last window may extend beyond the clip's end.

    Args:
        columns: time patches of the clip.
        window: time patches of a window, even.
        overlap: whether windows overlap by half; else they are adjacent.
    """
    hop = window // 2 if overlap else window
    return range(0, max(1, columns - window + hop), hop)


def encode_windows(
    model: AudioEncoder,
    mel_BTM: Tensor,
    columns_B: Sequence[int],
    *,
    layers: bool = False,
    overlap: bool = True,
    patchout: float | None = None,
    batch: int | None = WINDOWS_PER_BATCH,
) -> tuple[Stages, Tensor]:
    """Encode clips of any length in windows of at most the model's own length.

    A clip's windows depend only on its own length, not on the rest of the batch. Where two cover a time patch, its
    tokens are averaged; class tokens are averaged, weighted by the visible time patches of each window.

    Args:
        model: the encoder.
        mel_BTM: normalised log-mel, shape (B, T, M), zero beyond each clip's end.
        columns_B: time patches of each clip.
        layers: return all layers, not only the last.
        overlap: whether windows of a clip overlap by half; else they are adjacent.
        patchout: leave out this share of each window's time patches at random, its padding first, but keep at least
            one; tokens keep their true positions. No random numbers are drawn if omitted.
        batch: windows encoded at a time; all at once for None.

    Returns:
        [(tokens (B, N, D), zero where not visible, cls (B, D))], as in `AudioEncoder.encode`; and the time patches that
        belong to each clip and were visible, boolean, shape (B, G).
    """
    stem, device = model.stem, mel_BTM.device
    patch, subbands = stem.stride[0], stem.subbands
    columns = stem.grid(mel_BTM.shape[1])[0]
    starts_B = [window_starts(count, model.config.window_patches, overlap=overlap) for count in columns_B]
    window = min(columns, model.config.window_patches)
    windows_B = list(map(len, starts_B))
    spans = [(clip, first) for clip, starts in enumerate(starts_B) for first in starts]
    slots = max(columns, max(first for _, first in spans) + window)  # a batch may be padded beyond its longest clip
    mel_BTM = functional.pad(mel_BTM, (0, 0, 0, slots * patch - mel_BTM.shape[1]))  # cuts off if negative

    there = lambda values: copied(torch.tensor(values), device)
    sums: list[Tensor] = []
    cls: list[list[Tensor]] = []
    reads = torch.zeros(len(columns_B) * slots, device=device)
    shares: list[Tensor] = []
    size = len(spans) if batch is None else batch
    for some in (spans[i : i + size] for i in range(0, len(spans), size)):
        mel = torch.stack([mel_BTM[clip, first * patch : (first + window) * patch] for clip, first in some])
        counts = [min(window, columns_B[clip] - first) for clip, first in some]
        valid_Wp = torch.arange(window, device=device) < there(counts)[:, None]
        seen_Wg, chosen_Wg = valid_Wp, torch.arange(window, device=device).expand_as(valid_Wp)
        if patchout is not None:
            kept = max(1, round(window * (1 - patchout)))
            drawn = torch.rand(valid_Wp.shape, device=device) + valid_Wp
            chosen_Wg = drawn.topk(kept, dim=1).indices.sort(dim=1).values
            seen_Wg = valid_Wp.gather(1, chosen_Wg)
        valid = None if min(counts) == window else valid_Wp
        found = _encode(model, mel, valid, None if patchout is None else chosen_Wg, seen_Wg, layers)

        clips, firsts = (there(values)[:, None] for values in zip(*some, strict=True))
        slot_K = (clips * slots + firsts + chosen_Wg).flatten()
        if not sums:
            sums = [tokens.new_zeros(len(reads), subbands, tokens.shape[-1]) for tokens, _ in found]
            cls = [[] for _ in found]
        for stage, (tokens, one) in enumerate(found):
            tokens = (tokens.unflatten(1, (-1, subbands)) * seen_Wg[..., None, None]).flatten(0, 1)
            # A slot has at most two terms, whose sum is the same in any order, so the result is deterministic.
            sums[stage].index_add_(0, slot_K, tokens)
            cls[stage].append(one)
        reads.index_add_(0, slot_K, seen_Wg.flatten().to(reads.dtype))
        shares.append(seen_Wg.sum(1))

    share_W = torch.cat(shares)
    per_clip = lambda x: pad_sequence(x.split(windows_B), batch_first=True).sum(1)
    total_B = per_clip(share_W)
    reads_BG = reads.unflatten(0, (-1, slots))[:, :columns]
    stages = []
    for total, ones in zip(sums, cls, strict=True):
        tokens = total.unflatten(0, (-1, slots))[:, :columns] / reads_BG.clamp_min(1)[..., None, None]
        stages.append((tokens.flatten(1, 2), per_clip(torch.cat(ones) * share_W[:, None]) / total_B[:, None]))
    return stages, reads_BG > 0


def encode_halves(model: AudioEncoder, mel_BTM: Tensor, frames_B: Tensor | None, layers: bool = False) -> Stages:
    """`encode_windows` for graphs with any number and lengths of clips: its control flow depends on neither.

    Each window is two adjacent halves; the tokens of both windows that cover a half are added. All clips have as many
    windows as the longest; in an exported graph, windows beyond a clip's end are not encoded.

    Args:
        model: the encoder.
        mel_BTM: normalised log-mel longer than a window, shape (B, T, M), zero beyond each clip's end.
        frames_B: valid frames of each clip, shape (B,); all of T if omitted.
        layers: return all layers, not only the last.

    Returns:
        As in `AudioEncoder.encode`.
    """
    stem, device, window = model.stem, mel_BTM.device, model.config.window_patches
    patch, subbands, half = stem.stride[0], stem.subbands, window // 2
    clips, columns = mel_BTM.shape[0], stem.grid(mel_BTM.shape[1])[0]
    count = (columns - 1) // half  # windows: one less than the number of halves
    mel_BTM = functional.pad(mel_BTM, (0, 0, 0, (count + 1) * half * patch - mel_BTM.shape[1]))
    windows = torch.arange(count, device=device)
    frame_Wf = windows[:, None] * half * patch + torch.arange(window * patch, device=device)
    mel_WfM = mel_BTM[:, frame_Wf].flatten(0, 1)

    columns_B = torch.full((clips,), columns, device=device)
    if frames_B is not None:
        columns_B = stem.time_patches(frames_B.to(device))
    windows_B = ((columns_B + half - 1) // half).clamp_min(2) - 1
    column_Wp = windows[:, None] * half + torch.arange(window, device=device)
    seen_BWp = (column_Wp < columns_B[:, None, None]) & (windows < windows_B[:, None])[..., None]
    seen_Wp = seen_BWp.flatten(0, 1)
    some = seen_Wp.any(1).nonzero()[:, 0] if frames_B is not None and is_exported() else None
    chosen = lambda x: x if some is None else x[some]
    valid = chosen(seen_Wp).repeat_interleave(subbands, dim=1)
    found = model.encode(chosen(mel_WfM), valid, layers)

    def spread(x: Tensor) -> Tensor:
        if some is not None:
            x = x.new_zeros(seen_Wp.shape[0], *x.shape[1:]).index_copy(0, some, x)
        return x.unflatten(0, (clips, -1))

    column_G = torch.arange(columns, device=device)
    patch_N = torch.arange(columns * subbands, device=device)

    def overlapped(x_BWpC: Tensor) -> Tensor:
        before, after = x_BWpC.chunk(2, dim=2)
        first, last = functional.pad(before, (0, 0, 0, 0, 0, 1)), functional.pad(after, (0, 0, 0, 0, 1, 0))
        return (first + last)[:, column_G // half, column_G % half]

    reads_BG1 = overlapped(seen_BWp[..., None].to(mel_BTM.dtype)).clamp_min(1)
    share_BW1 = seen_BWp.sum(2)[..., None]
    stages = []
    for tokens, cls in found:
        tokens_BWpC = spread(tokens.unflatten(1, (window, -1)).flatten(2)) * seen_BWp[..., None]
        tokens_BGFD = (overlapped(tokens_BWpC) / reads_BG1).unflatten(2, (subbands, -1))
        cls_BD = (spread(cls) * share_BW1).sum(1) / share_BW1.sum(1)
        stages.append((tokens_BGFD[:, patch_N // subbands, patch_N % subbands], cls_BD))
    return stages


def _encode(
    model: AudioEncoder,
    mel_WTM: Tensor,
    valid_Wp: Tensor | None,
    chosen_Wg: Tensor | None,
    seen_Wg: Tensor,
    layers: bool,
) -> Stages:
    """Encode windows, whole or only the chosen time patches of each."""
    stem = model.stem
    over_bands = lambda x: x.repeat_interleave(stem.subbands, dim=1)
    valid = None if valid_Wp is None else over_bands(valid_Wp)
    if chosen_Wg is None:
        return model.encode(mel_WTM, valid, layers)
    patch = stem.stride[0]
    index_Wn = (chosen_Wg[..., None] * stem.subbands + torch.arange(stem.subbands, device=mel_WTM.device)).flatten(1)
    if stem.receptive_field <= patch:  # tokens depend on their own patch only
        windows = torch.arange(mel_WTM.shape[0], device=mel_WTM.device)[:, None]
        tokens = stem(mel_WTM.unflatten(1, (-1, patch))[windows, chosen_Wg].flatten(1, 2))
    else:
        tokens = stem.views(mel_WTM, only_valid(index_Wn, over_bands(seen_Wg))[:, None], valid)[:, 0]
    places = Places(stem.grid(mel_WTM.shape[1]), index_Wn)
    return model.encode_tokens(tokens, places, None if valid is None else over_bands(seen_Wg), layers)
