"""AST's checkpoints: those on the Hugging Face hub (`ASTModel`, `ASTForAudioClassification`) and the authors'
originals.

Legend: D width, G x F grid of patches, K frames x R mel bins of a kernel, p frames from one to the next.
Source: Gong, Chung & Glass 2021, and their code; DeiT's second class token, learned positions.
"""

from __future__ import annotations

from torch.nn import functional

from aasp.convert.conversion import Conversion
from aasp.convert.head import classifier_of, head_of
from aasp.convert.published import Published
from aasp.convert.transformer import Names, blocks, columns_of, patch_convolution, sizes, table, window_seconds
from aasp.errors import AaspError
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.ast import ASTConfig

HUB = Names(
    class_token="embeddings.cls_token", positions="embeddings.position_embeddings",
    patch="embeddings.patch_embeddings.projection", block="encoder.layer.", norm="layernorm",
    norm1="layernorm_before", norm2="layernorm_after",
    qkv=tuple(f"attention.attention.{name}" for name in ("query", "key", "value")), out="attention.output.dense",
    fc1="intermediate.dense", fc2="output.dense",
)  # fmt: skip
OWN = "audio_spectrogram_transformer."
"""Prefix of the encoder's names in a classifier from the hub."""
STRIDES, KERNEL, FRAMES = (10, 12, 14, 16), 16, 1_024
"""Strides of the authors' AudioSet models, in both directions, the size of their kernels and the frames of their
input."""
AS_PUBLISHED = {"sampling_rate": 16_000, "hidden_act": "gelu"}
"""What a file beside the weights may not state otherwise, since it would be another model."""
AUDIOSET = (-4.2677393, 4.5689974)
"""Mean and deviation of the log-mel; AST divides by twice the deviation."""


def ast(given: Published, heads: int | None) -> Conversion:
    """An AST as an encoder, or as a classifier if the file has a head.

    Args:
        given: the checkpoint.
        heads: number of attention heads, if not one per 64 channels.

    Raises:
        AaspError: it has another layout, or a file beside it describes another model.
    """
    given.expect(AS_PUBLISHED, "a .json file beside it", "AST models")
    if "module.v.cls_token" in given:
        names, second = Names().under("module.v."), "module.v.dist_token"
        norm, linear = "module.mlp_head.0", "module.mlp_head.1"
    else:
        own = OWN if f"{OWN}{HUB.class_token}" in given else ""
        names, second = HUB.under(own), f"{own}embeddings.distillation_token"
        norm, linear = "classifier.layernorm", "classifier.dense"
    size = sizes(given, names, heads)
    mels = _whole(given, "num_mel_bins", 128)
    count = given.shape(names.positions, 3)[1]
    usual = _stride(count - 2, mels)
    stride = (_whole(given, "time_stride", usual), _whole(given, "frequency_stride", usual))
    kernel_DKR, bias = patch_convolution(given, names, size.width, time_first=False)
    frames, bins = kernel_DKR.shape[1:]
    before = frames - stride[0]
    if before < 0 or bins > mels:
        text = f"kernels of {frames} x {bins} do not fit {mels} mel bins and strides of {stride}"
        raise AaspError(f"{given.file}: {text}; name another layout with --as")
    # AST's kernels begin with their stride; ours are centred on it and equally long on both sides, so zeros are
    # prepended.
    stem = ASTConfig(patch=stride, kernel=(frames + before, bins))
    subbands = (mels - bins) // stride[1] + 1
    remedy = "give its time_stride and frequency_stride in a config.json beside it, or name another layout with --as"
    columns = columns_of(given, names.positions, count - 2, subbands, remedy)
    positions = given.take(names.positions, 1, count, size.width)[0]
    tensors = {
        "stem.project.weight": functional.pad(kernel_DKR, (0, 0, before, 0)).flatten(1),
        "stem.project.bias": bias,
        "encoder.class_token": given.take(names.class_token, 1, 1, size.width)[0, 0] + positions[0],
        "encoder.second_token": given.take(second, 1, 1, size.width)[0, 0] + positions[1],
        "encoder.positions": table(positions[2:], subbands, time_first=False),
    } | {f"encoder.{name}": tensor for name, tensor in blocks(given, names, size).items()}
    front = LogMelConfig.kaldi(mels=mels, **_statistics(given))
    encoder = EncoderConfig(
        size.width, size.depth, size.heads, size.mlp_ratio, learned=(columns, subbands), distilled=True
    )
    config = AudioEncoderConfig(front, stem, encoder, window_seconds(columns, stride[0], front), pooling="cls")
    head = head_of(given, norm, linear, size.width)
    given.end("module.v.head.", "module.v.head_dist.")  # DeiT's own head, for images
    return Conversion(config, tensors, head, classifier_of(given, head, config))


def _statistics(given: Published) -> dict[str, float]:
    """Mean and divisor of the log-mel, from `preprocessor_config.json` if it is beside the file."""
    if given.settings.get("do_normalize") is False:
        return {"mean": 0.0, "std": 1.0}
    found = [given.settings.get(name, default) for name, default in zip(("mean", "std"), AUDIOSET, strict=True)]
    if not all(type(value) in (int, float) for value in found):
        text = f"preprocessor_config.json beside it has mean={found[0]!r}, std={found[1]!r}"
        raise AaspError(f"{given.file}: {text}; give numbers")
    return {"mean": float(found[0]), "std": 2.0 * found[1]}


def _stride(patches: int, mels: int) -> int:
    """The stride with which an AudioSet model of the authors' has so many patches; 10 for other numbers."""
    count = lambda size, stride: (size - KERNEL) // stride + 1
    return next((one for one in STRIDES if count(mels, one) * count(FRAMES, one) == patches), STRIDES[0])


def _whole(given: Published, name: str, default: int) -> int:
    """An integer from `config.json`."""
    value = given.settings.get(name, default)
    if type(value) is not int or value < 1:
        raise AaspError(f"{given.file}: config.json beside it has {name}={value!r}; give a whole number")
    return value
