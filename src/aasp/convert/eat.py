"""EAT's checkpoints, as fairseq writes them: the student of a pre-training, or a fine-tuned classifier.

Legend: D width, G x F grid of patches, N = G * F in time-major order.
Source: Chen et al. 2024 (EAT) and its code, data2vec 2.0's image branch on log-mels: blocks that normalise after each
sum, fixed positions, one extra token without a position.
"""

from __future__ import annotations

from aasp.convert.conversion import Conversion
from aasp.convert.head import classifier_of, head_of
from aasp.convert.published import Published
from aasp.convert.transformer import Names, blocks, columns_of, patch_convolution, placed, sizes, table, window_seconds
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

TRAINED_SECONDS = 10.24
"""Length of the clips that EAT and SSLAM were trained on; SSLAM's positions cover 122.88 s."""
MODALITY = "modality_encoders.IMAGE."
NAMES = Names(
    class_token=f"{MODALITY}extra_tokens",
    positions=f"{MODALITY}fixed_positional_encoder.positions",
    patch=f"{MODALITY}local_encoder.proj",
    norm=f"{MODALITY}context_encoder.norm",
)
SPARE = (f"{MODALITY}decoder.", "shared_decoder.", "recon_proj.", "cls_proj.", "center")
"""Tensors used only in training."""


def eat(given: Published, heads: int | None) -> Conversion:
    """An EAT as an encoder, or as a classifier if the file has a head.

    Args:
        given: the checkpoint.
        heads: number of attention heads, if not one per 64 channels.

    Raises:
        AaspError: it has another layout.
    """
    own = "model." if f"model.{NAMES.class_token}" in given else ""
    names = NAMES.under(own)
    size, front = sizes(given, names, heads), LogMelConfig.kaldi(mean=-4.268, std=2 * 4.569)
    kernel_DPR, bias = patch_convolution(given, names, size.width, time_first=True)
    frames, bins = kernel_DPR.shape[1:]
    stem = ConvConfig(patch=(frames, bins))
    subbands = front.mels // bins
    patches = given.shape(names.positions, 3)[1]
    columns = columns_of(given, names.positions, patches, subbands)
    positions = given.take(names.positions, 1, patches, size.width)[0]
    tensors = {
        "stem.project.weight": kernel_DPR.flatten(1),
        "stem.project.bias": bias,
        "encoder.class_token": given.take(names.class_token, 1, 1, size.width)[0, 0],
    } | {f"encoder.{name}": tensor for name, tensor in blocks(given, names, size).items()}
    head = head_of(given, "fc_norm", "head", size.width)
    given.end(*(own + name for name in SPARE))
    tensors, learned = placed(tensors | head, table(positions, subbands, time_first=True))
    head = {name: tensors.pop(name) for name in head}
    encoder = EncoderConfig(size.width, size.depth, size.heads, size.mlp_ratio, norm="post", learned=learned)
    window = min(window_seconds(columns, frames, front), TRAINED_SECONDS)
    config = AudioEncoderConfig(front, stem, encoder, window, pooling="cls")
    return Conversion(config, tensors, head, classifier_of(given, head, config))
