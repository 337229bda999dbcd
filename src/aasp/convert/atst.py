"""ATST-Frame's checkpoints, as Lightning writes them: the teacher of a pre-training.

Legend: D width, P frames of a patch, which has all M mel bins, G time patches of the table of positions.
Source: Li, Shao & Li 2024 (ATST-Frame) and the layout of its published files: a ViT without a class token and without
biases of queries, keys and values, on linear maps of patches of 64 mel bins x 4 frames; learned positions, the first of
which is not used; a log-mel in decibels, limited to 80 below a clip's loudest, scaled from -79.6482..50.6842 to -1..1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aasp.convert.conversion import Conversion
from aasp.convert.published import Published
from aasp.convert.transformer import Names, blocks, sizes, window_seconds
from aasp.errors import AaspError
from aasp.features.logmel import LogMelConfig
from aasp.features.ranged import NEPER, RangedConfig
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

TEACHER = "model.teacher.encoder."
NAMES = Names(patch="patch_embed.patch_embed", norm="norm_frame", qkv_bias=False)
SPARE = ("model.student.", "model.teacher.projector", "model.teacher.predictor", "model.loss_fn")
"""Tensors used only in training."""
MELS, RANGE = 64, 80.0
LOW, HIGH = -79.6482, 50.6842
"""Decibels that map to -1 and 1."""
FRONT = LogMelConfig(
    mels=MELS, window_ms=64.0, fft=1024, low_hz=60.0, high_hz=7_800.0, triangles="hertz", periodic=True, centered=True,
    remove_dc=False, preemphasis=0.0, floor=1e-10, mean=NEPER * (LOW + HIGH) / 2, std=NEPER * (HIGH - LOW) / 2,
)  # fmt: skip


def atst(given: Published, heads: int | None) -> Conversion:
    """An ATST-Frame as an encoder.

    Args:
        given: the checkpoint.
        heads: number of attention heads, if not one per 64 channels.

    Raises:
        AaspError: it has another layout.
    """
    own = TEACHER if f"{TEACHER}{NAMES.positions}" in given else ""
    names = NAMES.under(own)
    _, places, width = given.shape(names.positions, 3)
    size = sizes(given, names, heads, width)
    values = given.shape(f"{names.patch}.weight", 2)[1]
    if values % MELS:
        text = f"{names.patch}.weight takes {values} values, not {MELS} mel bins of some frames"
        raise AaspError(f"{given.file}: {text}; name another layout with --as")
    frames, columns = values // MELS, places - 1
    patch = given.take(f"{names.patch}.weight", width, values).unflatten(1, (MELS, frames))
    positions = given.take(names.positions, 1, places, width)[0, 1:]
    tensors: dict[str, Tensor] = {
        "stem.project.weight": patch.mT.flatten(1),  # in the file, the frames of a mel bin are adjacent
        "stem.project.bias": given.take(f"{names.patch}.bias", width),
        "encoder.class_token": torch.zeros(width),
        "encoder.positions": positions[:, None],
    } | {f"encoder.{name}": tensor for name, tensor in blocks(given, names, size).items()}
    given.end(f"{own}mask_embed", *SPARE)
    encoder = EncoderConfig(
        width, size.depth, size.heads, size.mlp_ratio, learned=(columns, 1), class_token=False
    )  # fmt: skip
    front, stem = RangedConfig(range_db=RANGE, logmel=FRONT), ConvConfig(patch=(frames, MELS), whole=1)
    window = window_seconds(columns, frames, front)
    return Conversion(AudioEncoderConfig(front, stem, encoder, window, pooling="mean"), tensors)
