"""A model as one ONNX file: exported, checked against PyTorch, and written completely or not at all."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from aasp import __version__
from aasp.config import to_dict
from aasp.deploy.graph import Extent, Graph, Model
from aasp.errors import AaspError
from aasp.features import FRONTENDS
from aasp.features.contract import FrontEnd
from aasp.files import atomic_write
from aasp.model.audio_classifier import AudioClassifier

OPSET = 18
OPSETS = range(18, 24)
MAX_BYTES = 2**31 - 1  # bytes, the limit of a protocol buffer
TOLERANCE = 1e-5
"""Maximum difference of the runtime's outputs from PyTorch's; for a whitened output, before its whitening."""


def extra(name: str, of: str = "onnx") -> ModuleType:
    """Import a package of an extra.

    Raises:
        AaspError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise AaspError(f"package missing: {name}; install it with `pip install 'aasp-audio[{of}]'`") from None


def onnx_model(model: Model, extent: Extent = "whole", opset: int = OPSET) -> Any:
    """The model as an ONNX `ModelProto`, with its opset and configuration in the metadata.

    Args:
        model: an encoder or a classifier, in fp32, on the CPU.
        extent: see `Graph`.
        opset: version of the operator set.

    Raises:
        AaspError: the extra is not installed, there is no such opset, or the model can't be exported.
    """
    for package in ("onnx", "onnxscript"):
        extra(package)
    if opset not in OPSETS:
        raise AaspError(f"no such opset here: {opset}; give one of {OPSETS[0]} to {OPSETS[-1]}")
    config = model.config.encoder if isinstance(model, AudioClassifier) else model.config
    if config.frontend.not_onnx:
        raise AaspError(f"front end {FRONTENDS.name_of(config.frontend)}: {config.frontend.not_onnx}")
    front = (model.encoder if isinstance(model, AudioClassifier) else model).frontend
    if extent == "whole" and type(front).frames is FrontEnd.frames:
        text = f"front end {type(front).__name__} counts frames in Python, which no graph can do"
        raise AaspError(f"{text}; define `frames` on tensors (docs/extending.md)")
    graph = Graph(model, extent)
    outputs = [port.name for port in graph.outputs]
    proto = to_onnx(graph, graph.example(), graph.shapes(), [port.name for port in graph.inputs], outputs, opset)
    for values, ports in ((proto.graph.input, graph.inputs), (proto.graph.output, graph.outputs)):
        for value, port in zip(values, ports, strict=True):
            for size, axis in zip(value.type.tensor_type.shape.dim, port.axes, strict=True):
                if axis is not None:
                    size.dim_param = axis
    described = {
        "aasp": __version__,
        "kind": "classifier" if isinstance(model, AudioClassifier) else "encoder",
        "extent": extent,
        "opset": str(opset),
        "precision": "fp32",
        "config": json.dumps(to_dict(model.config)),
    }
    describe(proto, described)
    return proto


def to_onnx(
    module: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    shapes: Sequence[Mapping[int, torch.export.Dim]],
    inputs: Sequence[str],
    outputs: Sequence[str],
    opset: int = OPSET,
) -> Any:
    """A `ModelProto` of a module.

    Args:
        module: takes and returns tensors.
        example: example inputs.
        shapes: dynamic axes of each input.
        inputs, outputs: names of its inputs and outputs.
        opset: version of the operator set.

    Raises:
        AaspError: it can't be traced, or an operation has no counterpart.
    """
    options: dict[str, Any] = dict(input_names=list(inputs), output_names=list(outputs), opset_version=opset)
    options |= dict(dynamic_shapes=tuple(shapes), dynamo=True, verbose=False)
    with _quietly(), torch.no_grad():
        try:
            made = torch.onnx.export(module, example, **options)
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            text = f"can't be exported: {reason}; your own parts must consist of tensor operations"
            raise AaspError(text) from error
    assert made is not None
    return made.model_proto


def describe(proto: Any, values: Mapping[str, str]) -> None:
    """Set metadata of a model, keeping the existing entries."""
    kept = {entry.key: entry.value for entry in proto.metadata_props} | dict(values)
    extra("onnx").helper.set_model_props(proto, kept)


def write(proto: Any, path: str | Path) -> None:
    """Write an ONNX model, completely or not at all.

    Raises:
        AaspError: it is too large for one file.
        OSError: the disk is full; an existing file is unchanged.
    """
    if (size := proto.ByteSize()) > MAX_BYTES:
        text = f"{size / 2**30:.1f} GiB are more than one ONNX file holds, 2 GiB"
        raise AaspError(f"{path}: {text}; export a smaller model")
    with atomic_write(path) as beside:
        beside.write_bytes(proto.SerializeToString())


def session(model: Any, threads: int = 0) -> Any:
    """An ONNX Runtime session on the CPU, for a file or a `ModelProto`.

    Args:
        model: the file's path, or the model.
        threads: threads per operator; 0 means one per core.

    Raises:
        AaspError: the extra is not installed, or ONNX Runtime has no such operation.
    """
    runtime = extra("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    what = str(model) if isinstance(model, (str, Path)) else model.SerializeToString()
    try:
        return runtime.InferenceSession(what, options, providers=["CPUExecutionProvider"])
    except runtime.capi.onnxruntime_pybind11_state.NotImplemented as error:
        reason = str(error).strip().splitlines()[0]
        remedy = "let your own part use another operation or fp32, or refuse ONNX by its configuration's `not_onnx`"
        raise AaspError(f"ONNX Runtime can't run the model: {reason}; {remedy}") from error


def difference(model: Model, extent: Extent, running: Any) -> float:
    """The largest difference of a session's outputs from PyTorch's, on noise, a tone and silence, divided by their
    gains.

    Args:
        model: the exported model.
        extent: see `Graph`.
        running: the session.
    """
    graph = Graph(model, extent)

    def run(inputs: Sequence[torch.Tensor]) -> list[np.ndarray]:
        return running.run(None, {port.name: x.numpy() for port, x in zip(graph.inputs, inputs, strict=True)})

    return largest_on(graph, run)


def largest_on(graph: Graph, run: Callable[[Sequence[torch.Tensor]], Sequence[np.ndarray]]) -> float:
    """The largest difference of a runtime's outputs from the graph's, as `largest`; infinite if another length fails.

    Args:
        graph: the exported graph.
        run: the runtime as a function of the graph's inputs.
    """
    found: list[float] = []
    for inputs in given(graph):
        with torch.inference_mode():
            expected = graph(*inputs)
        try:
            output = run(inputs)
        except Exception:  # a runtime's own
            if not found:
                raise
            return float("inf")  # a size that depends on a clip's length was fixed on export
        found.append(largest(output, expected, graph.gains(expected)))
    return max(found)


def given(graph: Graph) -> list[tuple[torch.Tensor, ...]]:
    """Noise, a tone and silence, as inputs of the graph; for clips of any length also noise of an odd length."""
    wave, *lengths = graph.example()
    rate, samples = graph.encoder.config.frontend.rate, wave.shape[1]
    tone = torch.sin(2 * torch.pi * 440 / rate * torch.arange(samples, dtype=torch.float64)).float()
    noise = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(0))
    wave = torch.stack([noise, tone, torch.zeros(samples)])
    whole = (wave, *(torch.tensor([samples, samples, int(one[1])]) for one in lengths))
    odd = samples * 5 // 7 + 13
    return [whole, (noise[None, :odd], torch.tensor([odd]))] if lengths else [whole]


def largest(
    found: Sequence[np.ndarray], expected: Sequence[torch.Tensor], gains: Sequence[float | np.ndarray]
) -> float:
    """The largest difference between outputs, each divided by its gain; infinite if shapes differ, or one is NaN."""
    pairs = list(zip(found, expected, strict=True))
    if any(a.shape != tuple(b.shape) for a, b in pairs):
        return float("inf")
    worst = [
        float((np.abs(a.astype(np.float64) - b.double().numpy()) / gain).max())
        for (a, b), gain in zip(pairs, gains, strict=True)
    ]
    return float("inf") if np.isnan(worst).any() else max(worst)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Suppress the exporter's progress and its messages about optional packages."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
