"""Checkpoints with timm's names, of Audio-MAE and M2D: an encoder's, or a pre-training's with its decoder.

Legend: D width, G x F grid of patches, N = G * F.
Source: Huang et al. 2022 (Audio-MAE), Niizumi et al. 2023 (M2D), and their code: ViT with fixed positions and a class
token; Audio-MAE's images are (frames, mel bins), M2D's (mel bins, frames). Audio-MAE's positions are those of the
transposed grid, in its own order, which equal ours in no order of channels: they stay a table.
"""

from __future__ import annotations

from aasp.convert.conversion import Conversion
from aasp.convert.published import Published
from aasp.convert.transformer import Names, blocks, columns_of, patch_convolution, placed, sizes, table, window_seconds
from aasp.errors import AaspError
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.model.pooling import Pooling
from aasp.stems.conv import ConvConfig

M2D_INPUT = 1_001
"""Frames of the longest input of M2D's models, `80x1001`; the lengths of the others are multiples of their patches."""


def audio_mae(given: Published, heads: int | None) -> Conversion:
    """Audio-MAE's encoder after pre-training.

    Args:
        given: the checkpoint.
        heads: number of attention heads, if not one per 64 channels.

    Raises:
        AaspError: it has another layout.
    """
    front = LogMelConfig.kaldi(mean=-4.2677393, std=2 * 4.5689974)
    return _vit(given, heads, front, "mean", time_first=True, spare=("decoder_", "mask_token"))


def m2d(given: Published, heads: int | None) -> Conversion:
    """M2D's encoder after pre-training, at 16 kHz; its normalisation is from the file, or else from the paper.

    Args:
        given: the checkpoint.
        heads: number of attention heads, if not one per 64 channels.

    Raises:
        AaspError: it has another layout, or its folder is named as those of the model at 32 kHz, which has the same
            shapes.
    """
    folder = given.file.resolve().parent.name  # m2d_vit_base-80x1001p16x16p32k-…: the rate is in no tensor
    if any(part.endswith("p32k") for part in folder.split("-")):
        text = f"{folder} is the name of a model at 32 kHz, and only those at 16 kHz are converted"
        raise AaspError(f"{given.file}: {text}; take one of these, or rename the folder if it is one")
    mean, deviation = given.take("norm_stats", 2).tolist() if "norm_stats" in given else (-7.1, 4.2)
    front = LogMelConfig.slaney80(mean=mean, std=deviation)
    spare = ("decoder_", "mask_token", "target_", "offline_predictor.")  # the latter two are M2D-X's and M2D-S's
    return _vit(given, heads, front, "flat", time_first=False, spare=spare)


def _vit(
    given: Published,
    heads: int | None,
    front: LogMelConfig,
    pooling: Pooling,
    *,
    time_first: bool,
    spare: tuple[str, ...],
) -> Conversion:
    """A ViT with either orientation of its images.

    Args:
        given, heads: as for `audio_mae`.
        front: its front end.
        pooling: how its authors pool a clip's tokens into a vector.
        time_first: kernels are (frames, mel bins) and patches in the order g * F + f; else both are transposed.
        spare: prefixes of tensors used only in training.
    """
    names = Names()
    size = sizes(given, names, heads)
    kernel_DPR, bias = patch_convolution(given, names, size.width, time_first=time_first)
    frames, bins = kernel_DPR.shape[1:]
    subbands = front.mels // bins
    count = given.shape(names.positions, 3)[1]
    columns = columns_of(given, names.positions, count - 1, subbands)
    positions = given.take(names.positions, 1, count, size.width)[0]
    tensors = {
        "stem.project.weight": kernel_DPR.flatten(1),
        "stem.project.bias": bias,
        "encoder.class_token": given.take(names.class_token, 1, 1, size.width)[0, 0] + positions[0],
    } | {f"encoder.{name}": tensor for name, tensor in blocks(given, names, size).items()}
    given.end(*spare)
    tensors, learned = placed(tensors, table(positions[1:], subbands, time_first=time_first))
    encoder = EncoderConfig(size.width, size.depth, size.heads, size.mlp_ratio, learned=learned)
    window = window_seconds(columns, frames, front)
    # M2D's authors pad an incomplete last patch, except that of an input of M2D_INPUT frames, which no patches fill.
    incomplete = not time_first and columns * frames < M2D_INPUT < (columns + 1) * frames
    stem = ConvConfig(patch=(frames, bins), whole=columns if incomplete else None)
    return Conversion(AudioEncoderConfig(front, stem, encoder, window, pooling), tensors)
