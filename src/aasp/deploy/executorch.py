"""One window of a model as an ExecuTorch program, for phones and small devices, using XNNPACK where possible."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from aasp import __version__
from aasp.config import to_dict
from aasp.deploy.graph import Graph, Model
from aasp.deploy.onnx import extra, given, largest
from aasp.errors import AaspError
from aasp.files import atomic_write
from aasp.model.audio_classifier import AudioClassifier


def program(model: Model) -> bytes:
    """A program whose `forward` takes a clip (1, S) that fills the model's window, and returns the outputs of `Graph`.

    Its other methods return metadata: `sample_rate` and `samples` as integers, `outputs`, `kind`, `aasp` and `config`
    (JSON) as strings.

    Raises:
        AaspError: the extra is not installed, or the model can't be exported.
    """
    exir = extra("executorch.exir", "executorch")
    partitioner = extra("executorch.backends.xnnpack.partition.xnnpack_partitioner", "executorch").XnnpackPartitioner
    graph = Graph(model, "window")
    (wave,) = graph.example()
    constants = {
        "sample_rate": graph.encoder.config.frontend.rate,
        "samples": wave.shape[1],
        "outputs": " ".join(port.name for port in graph.outputs),
        "kind": "classifier" if isinstance(model, AudioClassifier) else "encoder",
        "aasp": __version__,
        "config": json.dumps(to_dict(model.config)),
    }
    with torch.no_grad(), _quietly():
        try:
            exported = torch.export.export(graph, (wave[:1],), strict=False)
            lowered = exir.to_edge_transform_and_lower(
                exported, partitioner=[partitioner()], constant_methods=constants
            )
            return bytes(lowered.to_executorch().buffer)
        except Exception as error:  # the exporter raises exceptions of many classes
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise AaspError(f"not exported to ExecuTorch ({reason}); export it with --to onnx") from None


def difference(model: Model, made: bytes) -> float:
    """As `aasp.deploy.onnx.difference`, run by ExecuTorch on the CPU, one clip at a time."""
    runtime = extra("executorch.runtime", "executorch")
    graph = Graph(model, "window")
    ((waves,),) = given(graph)
    with tempfile.TemporaryDirectory() as folder, _quietly():
        (file := Path(folder, "model.pte")).write_bytes(made)
        forward = runtime.Runtime.get().load_program(file).load_method("forward")
        # The next call overwrites the memory of its outputs.
        found = [[np.array(x) for x in forward.execute([wave[None]])] for wave in waves]
    with torch.inference_mode():
        expected = [graph(wave[None]) for wave in waves]
    return max(largest(ours, theirs, graph.gains(theirs)) for ours, theirs in zip(found, expected, strict=True))


def write(made: bytes, path: str | Path) -> None:
    """Write a program, completely or not at all.

    Raises:
        OSError: the disk is full; an existing file is unchanged.
    """
    with atomic_write(path) as beside:
        beside.write_bytes(made)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Suppress the exporter's messages."""
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger().setLevel(level)
