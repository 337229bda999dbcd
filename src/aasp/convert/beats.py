"""BEATs' checkpoints, as its authors publish them: after pre-training, or a fine-tuned classifier.

Legend: D width, C channels of the patch convolution, P frames x R mel bins of a patch, K tokens of a kernel.
Source: Chen et al. 2023 (BEATs) and the layout of its published files: a patch convolution whose output is normalised
and projected; a convolution over all patches in a row for positions; blocks with DeepNorm, whose attention has gated
relative positions from one table; no class token. The file has its configuration, `cfg`, beside the tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aasp.convert.conversion import Conversion
from aasp.convert.head import classifier_of, head_of
from aasp.convert.published import Published
from aasp.convert.transformer import Names, blocks, patch_convolution, sizes
from aasp.errors import AaspError
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.model.relative import GATES, RelativeConfig
from aasp.stems.conv import ConvConfig

ATTENTION = "self_attn."
NAMES = Names(
    patch="patch_embedding",
    block="encoder.layers.",
    norm1="self_attn_layer_norm",
    norm2="final_layer_norm",
    qkv=tuple(f"{ATTENTION}{part}_proj" for part in "qkv"),
    out=f"{ATTENTION}out_proj",
    fc1="fc1",
    fc2="fc2",
    norm="encoder.layer_norm",
)
POSITIONS = "encoder.pos_conv.0"
SCALE = 2.0**15
"""BEATs' samples are scaled to 16 bits, ours to -1..1."""
MEAN, STD = 15.41663 - 20.79441541679836, 2 * 6.55582  # minus log(SCALE ** 2)
FURTHEST = 800
"""Distance of the last bucket in all published files; `cfg` gives it."""
AS_PUBLISHED = {
    "deep_norm": True,
    "layer_norm_first": False,
    "relative_position_embedding": True,
    "gru_rel_pos": True,
    "activation_fn": "gelu",
}


def beats(given: Published, heads: int | None) -> Conversion:
    """A BEATs as an encoder, or as a classifier if the file has a head.

    Args:
        given: the checkpoint.
        heads: number of attention heads, if neither in `cfg` nor one per 64 channels.

    Raises:
        AaspError: it has another layout, or its `cfg` describes another architecture.
    """
    given.expect(AS_PUBLISHED, "cfg", "BEATs")
    width, channels = given.shape("post_extract_proj.weight", 2)
    size = sizes(given, NAMES, given.settings.get("encoder_attention_heads") if heads is None else heads, width)
    kernel_CPR, bias = _patches(given, channels)
    front = LogMelConfig.kaldi(mean=MEAN, std=STD, floor=2.0**-23 / SCALE**2, povey=True)
    stem = ConvConfig(patch=(kernel_CPR.shape[1], kernel_CPR.shape[2]), bottleneck=channels, whole=1)
    positions_DCK, kernel, groups = _positions(given, width)
    tensors = {
        "stem.project.weight": kernel_CPR.flatten(1),
        "stem.project.bias": bias,
        "stem.widen.0.weight": given.take("layer_norm.weight", channels),
        "stem.widen.0.bias": given.take("layer_norm.bias", channels),
        "stem.widen.1.weight": given.take("post_extract_proj.weight", width, channels),
        "stem.widen.1.bias": given.take("post_extract_proj.bias", width),
        "encoder.class_token": torch.zeros(width),
        "encoder.convolution.convolution.weight": positions_DCK,
        "encoder.convolution.convolution.bias": given.take(f"{POSITIONS}.bias", width),
    } | {f"encoder.{name}": tensor for name, tensor in blocks(given, NAMES, size).items()}
    for n in range(size.depth):
        tensors |= _relative(given, n, size.heads, width // size.heads)
    count = len(tensors["encoder.blocks.0.attention.bias"])
    head = head_of(given, None, "predictor", width)
    given.end()
    attention = RelativeConfig(buckets=count, furthest=given.settings.get("max_distance", FURTHEST))
    encoder = EncoderConfig(
        width, size.depth, size.heads, size.mlp_ratio, norm="deep", attention=attention, class_token=False,
        convolution=(kernel, groups),
    )  # fmt: skip
    config = AudioEncoderConfig(front, stem, encoder, pooling="mean")
    return Conversion(config, tensors, head, classifier_of(given, head, config, several=True))


def _patches(given: Published, channels: int) -> tuple[Tensor, Tensor]:
    """Weight (C, P, R) and bias (C,) of the patch convolution; the published files have no bias."""
    if f"{NAMES.patch}.bias" in given:
        return patch_convolution(given, NAMES, channels, time_first=True)
    kernel = given.shape(f"{NAMES.patch}.weight", 4)[2:]
    return given.take(f"{NAMES.patch}.weight", channels, 1, *kernel)[:, 0], torch.zeros(channels)


def _positions(given: Published, width: int) -> tuple[Tensor, int, int]:
    """Weight (D, D / groups, K) of the convolution for positions, K, and its number of groups.

    The file has direction and norm of each of its K slices (weight normalisation).
    """
    _, inner, kernel = given.shape(f"{POSITIONS}.weight_v", 3)
    if width % inner:
        raise AaspError(f"{given.file}: {POSITIONS}.weight_v has {inner} of {width} channels; name a published file")
    direction = given.take(f"{POSITIONS}.weight_v", width, inner, kernel)
    size = given.take(f"{POSITIONS}.weight_g", 1, 1, kernel)
    return size * direction / direction.norm(dim=(0, 1), keepdim=True), kernel, width // inner


def _relative(given: Published, block: int, heads: int, channels: int) -> dict[str, Tensor]:
    """A block's table of biases, which the file has for the first block only or repeats for each, and its gates."""
    theirs, ours = f"{NAMES.block}{block}.{ATTENTION}", f"encoder.blocks.{block}.attention."
    first = f"{NAMES.block}0.{ATTENTION}relative_attention_bias.weight"
    count = given.shape(first, 2)[0]
    own = f"{theirs}relative_attention_bias.weight"
    return {
        f"{ours}bias": given.take(own if own in given else first, count, heads),
        f"{ours}gates.weight": given.take(f"{theirs}grep_linear.weight", GATES, channels),
        f"{ours}gates.bias": given.take(f"{theirs}grep_linear.bias", GATES),
        f"{ours}gate_scale": given.take(f"{theirs}grep_a", 1, heads, 1, 1).flatten(),
    }
