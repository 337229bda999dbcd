"""Vectors over time at a finer hop than a patch: the clip is encoded several times with shifted starts.

Legend: B clips, T frames, M mel bins, G time steps, F subbands, D width.
Source: ours; like the shifted windows of HEAR's and PANNs' wrappers, but on the log-mel instead of the samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from aasp.errors import AaspError

if TYPE_CHECKING:
    from aasp.model.audio_encoder import AudioEncoder
    from aasp.model.embeddings import Embedder, Embeddings

MAX_STEPS = 4
"""Largest number of steps per patch: each needs a forward pass over the clip."""


@dataclass
class OverTime:
    """Vectors over time.

    Attributes:
        vectors: one vector per step, subbands concatenated, zero beyond a clip's end, shape (B, G, F * D).
        seconds: centre of each step's patch, shape (G,); for the last steps of a clip it can be beyond the clip's end,
            by less than half a patch.
        valid: steps that begin within each clip, boolean, shape (B, G).
    """

    vectors: Tensor
    seconds: Tensor
    valid: Tensor


def hops(encoder: Embedder) -> list[float]:
    """The available hops in seconds: a patch, a half and a quarter of it; the longest first."""
    patch, rate = encoder.config.stem.patch[0], encoder.config.frontend.frame_rate
    return [patch / k / rate for k in (1, 2, MAX_STEPS) if patch % k == 0]


def shifts(encoder: Embedder, hop: float | None) -> list[int]:
    """The shift of each pass in frames, for steps of `hop` seconds.

    Raises:
        AaspError: there is no such hop.
    """
    known = hops(encoder)
    found = known[0] if hop is None else next((one for one in known if abs(one - hop) < 1e-6), None)
    if found is None:
        raise AaspError(f"hop is {hop:g} s; this model's time steps are {', '.join(f'{one:g}' for one in known)} s")
    step = round(found * encoder.config.frontend.frame_rate)
    return list(range(0, encoder.config.stem.patch[0], step))


def embed_shifted(
    encoder: AudioEncoder, mel_BTM: Tensor, frames_B: Tensor, by: Sequence[int], *, layers: bool = False
) -> Iterator[Embeddings]:
    """Encode clips once for each shift in `by`, in frames.

    Args:
        encoder: the model.
        mel_BTM: normalised log-mel, shape (B, T, M), zero beyond each clip's end.
        frames_B: valid frames of each clip, shape (B,).
        by: from `shifts`.
        layers: as in `AudioEncoder.embed`.
    """
    for shift in by:
        left_B = frames_B - shift
        mel = mel_BTM[:, shift:] if shift < mel_BTM.shape[1] else functional.pad(mel_BTM[:, :0], (0, 0, 0, 1))
        found = encoder.embed(mel, left_B.clamp_min(1), layers=layers)
        found.valid &= (left_B > 0).to(found.valid.device)[:, None]  # a clip that ended before the shift has none
        yield found


def interleaved(parts: Sequence[Tensor], steps: int) -> Tensor:
    """Interleave the values of all shifts (B, G', ...) in time order to (B, G, ...), G = `steps`."""
    longest = parts[0].shape[1]
    alike = [torch.cat([x, x.new_zeros(len(x), longest - x.shape[1], *x.shape[2:])], dim=1) for x in parts]
    return torch.stack(alike, dim=2).flatten(1, 2)[:, :steps]


def seconds(encoder: AudioEncoder, by: Sequence[int], frames: int, device: torch.device) -> Tensor:
    """Centre of each step in seconds for a clip of `frames` frames, shape (G,)."""
    stem, rate = encoder.stem, encoder.config.frontend.frame_rate
    patch, step = stem.stride[0], stem.stride[0] // len(by)
    ends = [(stem.grid(frames - shift)[0] - 1) * patch + shift for shift in by if shift < frames]
    return (torch.arange(max(ends) // step + 1, device=device) * step + patch / 2) / rate


def over_time(
    encoder: AudioEncoder,
    mel_BTM: Tensor,
    frames_B: Tensor,
    hop: float | None = None,
    whole: Embeddings | None = None,
) -> OverTime:
    """Vectors over time of log-mels (B, T, M) with `frames_B` (B,) valid frames; see `AudioEncoder.over_time`.

    `whole`, the encoder's output for the unshifted clips, is reused if given.
    """
    by = shifts(encoder, hop)
    when = seconds(encoder, by, mel_BTM.shape[1], mel_BTM.device)
    found = [] if whole is None else [whole]
    found += embed_shifted(encoder, mel_BTM, frames_B, by[len(found) :])
    valid = interleaved([one.valid for one in found], len(when))
    vectors = interleaved([one.timestamps for one in found], len(when)) * valid[..., None]
    return OverTime(vectors, when, valid)
