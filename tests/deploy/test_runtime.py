"""Exported encoders run by ONNX Runtime: called like PyTorch's; other files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hard_signals import signals

from aasp.deploy.runtime import onnx_encoder
from aasp.errors import AaspError
from aasp.evaluate.features import Running, embedded
from aasp.model.audio_encoder import AudioEncoder


@pytest.mark.slow
@pytest.mark.parametrize("pooling", [None, "cls", "mean+std", "flat"])
def test_it_is_called_as_the_model_with_the_same_results(pooling, trained: AudioEncoder, whole: Path) -> None:
    running = onnx_encoder(whole, threads=1)
    assert running.config == trained.config
    wave, lengths = torch.stack(list(signals(24_000).values())), torch.linspace(24_000, 400, 7).long()
    with torch.inference_mode():
        for given in ((wave, lengths), (wave,), ((wave * 30_000).short(), lengths)):
            found, expected = running(*given, pooling=pooling), trained(*given, pooling=pooling)
            for name in ("clip", "timestamps", "tokens", "cls", "seconds", "valid"):
                ours, theirs = getattr(found, name), getattr(expected, name)
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_files_are_embedded_by_it(trained: AudioEncoder, whole: Path, tmp_path: Path) -> None:
    paths = []
    for name, wave in signals(20_000).items():
        paths.append(str(tmp_path / f"{name}.wav"))
        soundfile.write(paths[-1], 0.5 * wave.numpy(), 16_000)
    tables = []
    for encoder in (onnx_encoder(whole), trained):
        table = np.zeros((7, 72), np.float32)
        for rows, found in embedded(encoder, paths, running=Running(batch=3)):
            table[rows] = found.clip.numpy()
        tables.append(table)
    np.testing.assert_allclose(*tables, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_it_refuses_what_the_model_refuses(whole: Path) -> None:
    running = onnx_encoder(whole)
    with pytest.raises(AaspError, match="clip 1 is shorter than one analysis window of 25 ms"):
        running(torch.zeros(2, 1_000), torch.tensor([1_000, 399]))
    with pytest.raises(AaspError, match="NaN or infinite"):
        running(torch.full((1, 1_000), torch.nan))
    with pytest.raises(AaspError, match="holds the last layer, 2, and no other"):
        running(torch.zeros(1, 1_000), layers=True)
    with pytest.raises(AaspError, match="1801 s are more than it encodes at once, 1800; cut them"):
        running(torch.zeros(1, 1_801 * 16_000))
    with pytest.raises(AaspError, match="no such pooling: max; choose from"):
        running(torch.zeros(1, 1_000), pooling="max")


def test_a_file_that_is_no_exported_encoder_is_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    (tmp_path / "text.onnx").write_text("not a model")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [value], [out])
    other = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    for name, metadata in {"other": {}, "classes": {"kind": "classifier"}, "window": {"kind": "encoder"}}.items():
        del other.metadata_props[:]
        if metadata:
            helper.set_model_props(other, {"extent": "window", "config": "{}"} | metadata)
        (tmp_path / f"{name}.onnx").write_bytes(other.SerializeToString())
    messages = {
        "gone.onnx": "no such file: .*gone.onnx; make one with `aasp export",
        "": "a folder where an .onnx file is expected; make one with `aasp export",
        "text.onnx": "not readable as ONNX",
        "other.onnx": "not an export of aasp",
        "classes.onnx": "holds a classifier",
        "window.onnx": "takes clips of one window only; export it without --window",
    }
    for name, words in messages.items():
        with pytest.raises(AaspError, match=words) as raised:
            onnx_encoder(tmp_path / name)
        assert "\n" not in str(raised.value)
