"""An exported model with its large products in 8-bit integers, calibrated on real sounds.

Source: ONNX Runtime's static quantisation (QDQ format, weights per output channel). The choice of operators is ours:
products with a weight of the transformer and of the stem. The log-mel, the SBLU, softmax, norms and the whitening stay
unchanged.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aasp.audio.sounds import Sound, read_sound
from aasp.deploy.graph import window_samples
from aasp.deploy.onnx import describe, extra
from aasp.errors import AaspError
from aasp.features import FrontEndConfig
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.embeddings import subbands
from aasp.model.readout import width

MIN_SIZE = 64
"""Minimum rows and columns of a quantised weight: smaller products take little time."""


def int8(proto: Any, config: AudioEncoderConfig, sounds: Sequence[Sound]) -> Any:
    """The model with its products with weights in 8-bit integers.

    Weights use 7 of the 8 bits, since processors without VNNI add pairs of products in 16 bits.

    Args:
        proto: the result of `onnx_model`; it is not modified.
        config: configuration of its encoder.
        sounds: a few dozen like those in use; at most 10 seconds of each are read.

    Raises:
        AaspError: the extra is not installed, no sound was given, or one can't be read or is too short.
    """
    extra("onnxruntime")
    quantization, onnx = extra("onnxruntime.quantization"), extra("onnx")
    if not sounds:
        raise AaspError("no sounds to calibrate with; name some dozens of files like those the model will receive")
    names = {port.name for port in proto.graph.input}
    batches = _Batches([_given(one, config, names) for one in sounds], quantization.CalibrationDataReader)
    with tempfile.TemporaryDirectory() as folder, _quietly():
        plain, folded, small = (Path(folder, name) for name in ("plain.onnx", "folded.onnx", "small.onnx"))
        plain.write_bytes(proto.SerializeToString())
        _fold(plain, folded)
        quantization.quantize_static(
            folded,
            small,
            batches,
            quant_format=quantization.QuantFormat.QDQ,
            nodes_to_quantize=_large(onnx.load(folded), config),
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        made = onnx.load(small)
    describe(made, {entry.key: entry.value for entry in proto.metadata_props} | {"precision": "int8"})
    return made


def _fold(source: Path, out: Path) -> None:
    """Fold constants, so that the large products have constant weights."""
    runtime = extra("onnxruntime")
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    options.log_severity_level = 3
    runtime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def _large(proto: Any, config: AudioEncoderConfig) -> list[str]:
    """Names of the products with a large fp32 weight, except those of a whitening, which amplifies rounding."""
    vector = width(config.keys, config.encoder.width, subbands(config))
    whitening = {config.whitened, vector} if config.whitened else set()
    floats = extra("onnx").TensorProto.FLOAT
    large = {
        one.name for one in proto.graph.initializer
        if one.data_type == floats and len(one.dims) == 2 and min(one.dims) >= MIN_SIZE and set(one.dims) != whitening
    }  # fmt: skip
    return [node.name for node in proto.graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in large]


def _given(sound: Sound, config: AudioEncoderConfig, names: set[str]) -> dict[str, np.ndarray]:
    """One sound as inputs of the model."""
    front, window = config.frontend, window_samples(config)
    wave = read_sound(sound, rate=front.rate, seconds=10.0).astype(np.float32)
    check_length(len(wave), front, str(sound))
    if "lengths" not in names:
        return {"wave": np.resize(wave, window)[None]}
    return {"wave": wave[None], "lengths": np.array([len(wave)])}


def check_length(samples: int, front: FrontEndConfig, name: str) -> None:
    """Check that a clip gives at least one frame.

    Raises:
        AaspError: it is shorter than one analysis window.
    """
    if not front.frames(samples):
        text = f"{1000 * samples / front.rate:.3g} ms, under one analysis window of {front.shortest_ms:g} ms"
        raise AaspError(f"{name}: too short: {text}; leave it out")


def _Batches(batches: Sequence[dict[str, np.ndarray]], reader: type) -> Any:
    """The calibration batches as the runtime's reader."""

    class Reader(reader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    return Reader()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Suppress the quantiser's advice, which is already followed."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
