"""Validation and conversion of waveforms and lengths, for the front end and all models.

Legend: B clips, S samples.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from aasp.devices import copied
from aasp.errors import AaspError
from aasp.tracing import can_be_read
from aasp.waveforms import FULL_SCALE, MAX_PEAK

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
REMEDIES = {
    torch.int32: "wave / 2**31",
    torch.int8: "wave / 128",
    torch.uint8: "(wave.float() - 128) / 128",
}


def as_batch(wave: object, lengths: object | None = None) -> tuple[Tensor, Tensor | None]:
    """Waveforms (B, S), zero beyond each clip's end, and lengths (B,) if given.

    Args:
        wave: see `as_waves`.
        lengths: see `as_lengths`; None if every clip has S samples.

    Raises:
        AaspError: as in `as_waves` and `as_lengths`.
    """
    wave_BS = as_waves(wave)
    if lengths is None:
        return wave_BS, None
    clips, samples = wave_BS.shape
    lengths_B = as_lengths(lengths, clips, samples)
    if not can_be_read(lengths_B) or min(lengths_B.tolist()) < samples:
        lengths_B1 = copied(lengths_B, wave_BS.device)[:, None]
        wave_BS = wave_BS.masked_fill(torch.arange(samples, device=wave_BS.device) >= lengths_B1, 0.0)
    return wave_BS, lengths_B


def as_waves(wave: object) -> Tensor:
    """Waveforms (B, S) as floating-point samples: unchanged, or int16 samples divided by 32768.

    Args:
        wave: a tensor of shape (B, S), B at least 1, in fp32, float64, fp16, bf16 or int16.

    Raises:
        AaspError: it is not such a tensor; sample values are not checked.
    """
    if not isinstance(wave, Tensor):
        raise AaspError(_not_a_tensor(wave))
    if wave.layout != torch.strided:
        raise AaspError(f"wave is a tensor of layout {wave.layout}; give a plain one of shape (clips, samples)")
    if wave.dim() != 2:
        raise AaspError(f"wave of shape {tuple(wave.shape)} is not (clips, samples); give {_two_dimensions(wave)}")
    if wave.shape[0] == 0:
        raise AaspError(f"wave of shape {tuple(wave.shape)} holds no clip; give one at least")
    if wave.dtype == torch.int16:
        return wave.float() / FULL_SCALE
    if wave.dtype not in FLOATS:
        remedy = REMEDIES.get(wave.dtype, "fp32 samples in -1 to 1")
        raise AaspError(f"wave of {wave.dtype}: its scale is unknown; give {remedy}")
    return wave


def as_lengths(lengths: object, clips: int, most: int, unit: str = "samples") -> Tensor:
    """Lengths (B,) as an int64 tensor, on their device.

    Args:
        lengths: an integer tensor or array of shape (B,), or a list of integers.
        clips: number of clips B.
        most: largest allowed length.
        unit: unit of the lengths, for messages.

    Raises:
        AaspError: they have another type or number, or are negative or larger than `most`.
    """
    try:
        counts = lengths if isinstance(lengths, Tensor) else torch.as_tensor(np.asarray(lengths))
    except (TypeError, ValueError):
        raise AaspError(f"lengths {lengths!r} are not whole numbers; give {clips} counts of {unit}") from None
    if counts.dtype.is_floating_point or counts.dtype.is_complex or counts.dtype == torch.bool:
        raise AaspError(f"lengths of {counts.dtype} are not whole numbers; give {clips} counts of {unit} as int64")
    if counts.shape != (clips,):
        raise AaspError(f"lengths of shape {tuple(counts.shape)} for {clips} clips; give one of each, shape ({clips},)")
    counts = counts.long()
    if can_be_read(counts):
        for clip, count in enumerate(counts.tolist()):
            if not 0 <= count <= most:
                raise AaspError(f"length {count} of clip {clip} is not in 0 to {most} {unit}; give how many are valid")
    return counts


def check_samples(wave_BS: Tensor) -> None:
    """Check that samples are finite and about in -1 to 1. On an accelerator this waits for the device.

    Raises:
        AaspError: a clip has NaN or infinite samples, or a peak above `MAX_PEAK`.
    """
    if not can_be_read(wave_BS):
        return
    low, high = wave_BS.detach().aminmax()
    if float(torch.maximum(-low, high)) <= MAX_PEAK:  # false for NaN too
        return
    peaks = wave_BS.detach().abs().amax(1).tolist()
    clip, peak = next((clip, peak) for clip, peak in enumerate(peaks) if not peak <= MAX_PEAK)
    if not math.isfinite(peak):
        raise AaspError(f"clip {clip} holds NaN or infinite samples; repair it or leave it out")
    raise AaspError(
        f"clip {clip} reaches {peak:g}, not a waveform in -1 to 1; divide by full scale (16-bit samples by 32768)"
    )


def _not_a_tensor(wave: object) -> str:
    if isinstance(wave, np.ndarray):
        one = "[None]" if wave.ndim == 1 else ""
        return f"wave is a numpy array of shape {wave.shape}, not a tensor; give torch.from_numpy(wave){one}"
    if isinstance(wave, (list, tuple)):
        return (
            f"wave is a {type(wave).__name__} of {len(wave)}, not a tensor; give "
            "torch.nn.utils.rnn.pad_sequence(waves, batch_first=True) and the clips' lengths"
        )
    return f"wave is of type {type(wave).__name__}; give a tensor of shape (clips, samples)"


def _two_dimensions(wave: Tensor) -> str:
    if wave.dim() == 1:
        return "wave[None]"
    if wave.dim() == 3:
        channels = 2 if wave.shape[2] < wave.shape[1] else 1
        return f"wave.squeeze({channels})" if wave.shape[channels] == 1 else f"mono, wave.mean({channels})"
    return "a tensor of two dimensions"
