"""EAT's checkpoints, as fairseq writes them: the student of a pre-training.

Legend: D width, G x F grid of patches, N = G * F in time-major order.
Source: Chen et al. 2024 (EAT) and its code, data2vec 2.0's image branch on log-mels: blocks that normalise after each
sum, fixed positions, one extra token without a position.
"""

from __future__ import annotations

from aasp.convert.made import Made
from aasp.convert.published import Published
from aasp.convert.transformer import Names, blocks, columns_of, patch_convolution, placed, sizes, table
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

MODALITY = "modality_encoders.IMAGE."
NAMES = Names(
    class_token=f"{MODALITY}extra_tokens",
    positions=f"{MODALITY}fixed_positional_encoder.positions",
    patch=f"{MODALITY}local_encoder.proj",
    norm=f"{MODALITY}context_encoder.norm",
)
SPARE = (f"{MODALITY}decoder.", "shared_decoder.", "recon_proj.", "cls_proj.", "center")
"""What only training needs."""


def eat(given: Published, heads: int | None) -> Made:
    """An EAT as an encoder.

    Args:
        given: the checkpoint.
        heads: of attention, where it is not 64 channels a head.

    Raises:
        AaspError: it is laid out otherwise.
    """
    size, front = sizes(given, NAMES, heads), LogMelConfig.kaldi(mean=-4.268, std=2 * 4.569)
    kernel_DPR, bias = patch_convolution(given, NAMES, size.width, time_first=True)
    frames, bins = kernel_DPR.shape[1:]
    stem = ConvConfig(patch=(frames, bins))
    subbands = front.mels // bins
    patches = given.shape(NAMES.positions, 3)[1]
    columns = columns_of(given, NAMES.positions, patches, subbands)
    positions = given.take(NAMES.positions, 1, patches, size.width)[0]
    tensors = {
        "stem.project.weight": kernel_DPR.flatten(1),
        "stem.project.bias": bias,
        "encoder.class_token": given.take(NAMES.class_token, 1, 1, size.width)[0, 0],
    } | {f"encoder.{name}": tensor for name, tensor in blocks(given, NAMES, size).items()}
    given.end(*SPARE)
    tensors, learned = placed(tensors, table(positions, subbands, time_first=True))
    encoder = EncoderConfig(size.width, size.depth, size.heads, size.mlp_ratio, norm="post", learned=learned)
    return Made(AudioEncoderConfig(front, stem, encoder, columns * frames / front.frame_rate, pooling="cls"), tensors)
