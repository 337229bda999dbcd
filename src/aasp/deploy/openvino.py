"""An exported model as OpenVINO's pair of files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aasp.deploy.graph import Extent, Graph, Model
from aasp.deploy.onnx import extra, largest_on
from aasp.files import sync, system_error

TOLERANCE = 2e-3
"""OpenVINO computes the log-mel in fp32 instead of float64: next to a full-scale tone, the quietest bands are rounding
error (measured: 4e-4 on a tone, below 1e-5 on noise and silence)."""


def converted(proto: Any) -> Any:
    """An ONNX model converted to OpenVINO's.

    Raises:
        AaspError: the extra is not installed.
    """
    openvino = extra("openvino", "openvino")
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, "plain.onnx")
        plain.write_bytes(proto.SerializeToString())
        return openvino.convert_model(str(plain))


def difference(model: Model, extent: Extent, made: Any) -> float:
    """As `aasp.deploy.onnx.difference`, run by OpenVINO on the CPU in fp32."""
    openvino = extra("openvino")
    graph = Graph(model, extent)
    running = openvino.compile_model(made, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(inputs: Sequence[torch.Tensor]) -> list[np.ndarray]:
        found = running([x.numpy() for x in inputs])
        return [found[i] for i in range(len(graph.outputs))]

    return largest_on(graph, run)


def write(made: Any, path: str | Path) -> None:
    """Write `path` (.xml) and its weights beside it (.bin), both or neither; weights stay in fp32.

    Raises:
        OSError: the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
        beside = Path(folder, path.name)
        try:
            extra("openvino").save_model(made, str(beside), compress_to_fp16=False)
        except Exception as error:
            raise system_error(error, path, beside) or error from None
        for suffix in (".bin", ".xml"):  # the .xml file, which is the one opened, comes last
            sync(beside.with_suffix(suffix))
            os.replace(beside.with_suffix(suffix), path.with_suffix(suffix))
        sync(path.parent)
