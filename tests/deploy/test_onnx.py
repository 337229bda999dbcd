"""Exported models against PyTorch: trained weights, signals that are hard for fp32, any number of clips and length."""

from __future__ import annotations

import errno
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hard_signals import signals

from aasp.config import from_dict, to_dict
from aasp.deploy.graph import Extent, Graph, window_samples
from aasp.deploy.int8 import int8
from aasp.deploy.onnx import difference, largest, onnx_model, session, write
from aasp.deploy.runtime import opened
from aasp.errors import AaspError
from aasp.features import FRONTENDS
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

TOLERANCE = 1e-5
LENGTHS = (400, 559, 3_000, 8_000, 15_600, 15_601, 24_000, 33_333, 48_000, 77_777)
OUTPUTS = ("clip", "timestamps", "seconds", "valid", "cls")


def compare(model: AudioEncoder, found: list[np.ndarray], *given: torch.Tensor) -> None:
    with torch.inference_mode():
        expected = model(*given)
    for name, array in zip(OUTPUTS, found, strict=True):
        own = getattr(expected, name).numpy()
        assert array.shape == own.shape and array.dtype == own.dtype, name
        np.testing.assert_allclose(array.astype(float), own.astype(float), rtol=0, atol=TOLERANCE, err_msg=name)


@pytest.mark.slow
def test_the_whole_model_equals_pytorch(trained: AudioEncoder, whole: Path) -> None:
    running = session(whole, threads=1)
    for samples in LENGTHS:
        wave = torch.stack(list(signals(samples).values()))
        lengths = torch.linspace(samples, 400, 7).long()
        for clips in (7, 1):
            given = wave[:clips], lengths[:clips]
            found = running.run(list(OUTPUTS), {"wave": given[0].numpy(), "lengths": given[1].numpy()})
            compare(trained, found, *given)


def check_short(running, *outputs: str) -> None:
    """Clips shorter than an analysis window, alone or in a padded batch, and only those, are NaN in these outputs."""
    for lengths, samples in (
        ([160], 160),
        ([399], 399),
        ([399, 160], 399),
        ([160], 3_000),
        ([0, 3_000, 399, 400], 3_000),
    ):
        named = {"wave": 0.1 * np.ones((len(lengths), samples), np.float32), "lengths": np.array(lengths)}
        for name, found in zip(outputs, running.run(list(outputs), named), strict=True):
            short = np.isnan(found).all(1)
            assert short.tolist() == [length < 400 for length in lengths], (name, lengths, samples)
            assert np.isfinite(found[~short]).all()


@pytest.mark.slow
def test_too_short_a_clip_has_no_embedding(trained: AudioEncoder, whole: Path, tmp_path: Path) -> None:
    import onnx

    check_short(session(whole, threads=1), "clip", "cls")
    check_short(session(int8(onnx.load(whole), trained.config, written(tmp_path)), threads=1), "clip", "cls")
    wave, lengths = 0.1 * np.ones((2, 3_000), np.float32), np.array([3_000, 399])
    (timestamps,) = session(whole).run(["timestamps"], {"wave": wave, "lengths": lengths})
    assert timestamps[0].any() and not timestamps[1].any()


@pytest.mark.slow
def test_too_short_a_clip_has_no_probabilities(classifier: AudioClassifier, tmp_path: Path) -> None:
    proto = onnx_model(classifier)
    running = session(proto, threads=1)
    assert difference(classifier, "whole", running) <= TOLERANCE
    check_short(running, "probabilities")
    check_short(session(int8(proto, classifier.config.encoder, written(tmp_path)), threads=1), "probabilities")


@pytest.mark.slow
def test_a_window_equals_pytorch(trained: AudioEncoder) -> None:
    running = session(onnx_model(trained, "window"), threads=1)
    wave = torch.stack(list(signals(window_samples(trained.config)).values()))
    for clips in (7, 1):
        compare(trained, running.run(list(OUTPUTS), {"wave": wave[:clips].numpy()}), wave[:clips])


@pytest.mark.slow
@pytest.mark.parametrize("extent", ["whole", "window"])
def test_a_classifier_gives_probabilities(extent: Extent, classifier: AudioClassifier) -> None:
    proto = onnx_model(classifier, extent)
    running = session(proto, threads=1)
    wave = torch.stack(list(signals(window_samples(classifier.config.encoder)).values()))
    lengths = [torch.linspace(wave.shape[1], 400, 7).long()] * (extent == "whole")
    with torch.inference_mode():
        expected = classifier.probabilities(classifier(wave, *lengths))
    given = dict(zip(("wave", "lengths"), (x.numpy() for x in (wave, *lengths)), strict=False))
    (found,) = running.run(["probabilities"], given)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(metadata["config"])["classes"] == ["dog", "rain", "siren"]


def test_a_classifier_trained_by_sigmoids_gives_probabilities(plain: AudioEncoder) -> None:
    config = AudioClassifierConfig(("dog", "rain", "siren"), encoder=plain.config, loss="sigmoid")
    torch.manual_seed(0)
    classifier = AudioClassifier(config).eval()
    torch.nn.init.normal_(classifier.head.weight)
    wave = 0.1 * torch.randn(2, window_samples(plain.config))
    (found,) = session(onnx_model(classifier, "window"), threads=1).run(["probabilities"], {"wave": wave.numpy()})
    with torch.inference_mode():
        sigmoids = classifier(wave).sigmoid()
    np.testing.assert_allclose(found, sigmoids / sigmoids.sum(1, keepdim=True), rtol=0, atol=TOLERANCE)


@pytest.fixture(scope="module")
def plain() -> AudioEncoder:
    """As small as it goes."""
    torch.manual_seed(0)
    size = EncoderConfig(width=16, depth=1, heads=2)
    return AudioEncoder(AudioEncoderConfig(stem=ConvConfig(), encoder=size, window_seconds=0.64)).eval()


@pytest.fixture(scope="module")
def small(plain: AudioEncoder):
    return onnx_model(plain, "window", opset=20)


@pytest.mark.slow
def test_the_file_describes_itself(plain: AudioEncoder, small, tmp_path: Path) -> None:
    write(small, tmp_path / "small.onnx")
    running, metadata = opened(tmp_path / "small.onnx")
    stated = {key: metadata[key] for key in ("kind", "extent", "opset", "precision")}
    assert stated == {"kind": "encoder", "extent": "window", "opset": "20", "precision": "fp32"}
    assert small.opset_import[0].version == 20
    assert from_dict(AudioEncoderConfig, json.loads(metadata["config"]), "config") == plain.config
    assert to_dict(plain.config) == json.loads(metadata["config"])
    assert [one.shape for one in running.get_inputs()] == [["clips", window_samples(plain.config)]]
    assert running.get_outputs()[0].shape == ["clips", 16]
    assert not {"DFT", "STFT", "Loop", "Scan", "If"} & {node.op_type for node in small.graph.node}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stft", "cqt"])
def test_other_front_ends_are_exported(plain: AudioEncoder, name: str) -> None:
    torch.manual_seed(0)
    model = AudioEncoder(replace(plain.config, frontend=FRONTENDS.find(name)())).eval()
    assert difference(model, "whole", session(onnx_model(model), threads=1)) <= TOLERANCE


@pytest.mark.parametrize("name", ["leaf", "sblu"])
def test_front_ends_that_convolve_are_refused_in_one_line(plain: AudioEncoder, name: str) -> None:
    with pytest.raises(AaspError, match=f"front end {name}: ONNX Runtime doesn't convolve in float64") as error:
        onnx_model(AudioEncoder(replace(plain.config, frontend=FRONTENDS.find(name)(filters=16, stride=8))).eval())
    assert "\n" not in str(error.value)


def test_the_check_sees_another_model(plain: AudioEncoder, small) -> None:
    running = session(small)
    assert difference(plain, "window", running) <= TOLERANCE
    torch.manual_seed(1)
    assert difference(AudioEncoder(plain.config).eval(), "window", running) > 1e-2


def test_a_whitened_vector_is_checked_before_its_whitening(plain: AudioEncoder) -> None:
    model = AudioEncoder(replace(plain.config, whitened=4)).eval()
    assert model.whitening is not None
    model.whitening.scale.mul_(0.05)

    class Off:
        """PyTorch's outputs, with this much added to one."""

        def __init__(self, output: str) -> None:
            self.output = OUTPUTS.index(output)

        def run(self, _: None, named: dict[str, np.ndarray]) -> list[np.ndarray]:
            with torch.inference_mode():
                found = [x.double().numpy() for x in Graph(model, "window")(torch.from_numpy(named["wave"]))]
            found[self.output] = found[self.output] + 1e-4
            return found

    assert difference(model, "window", Off("clip")) == pytest.approx(5e-6, rel=1e-3)
    model.whitening.scale[1:].fill_(1.0)
    assert difference(model, "window", Off("clip")) == pytest.approx(1e-4, rel=1e-3), "each number has its own gain"
    assert difference(model, "window", Off("timestamps")) == pytest.approx(1e-4, rel=1e-3)


def test_a_full_disk_leaves_what_was_there(small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "small.onnx"
    path.write_bytes(b"old")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as raised:
        write(small, path)
    assert raised.value.filename == str(path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_model_too_large_for_a_file_is_refused(small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aasp.deploy.onnx.MAX_BYTES", 1_000)
    with pytest.raises(AaspError, match=r"more than one ONNX file holds"):
        write(small, tmp_path / "large.onnx")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_and_an_unknown_opset_are_named(plain: AudioEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AaspError, match="no such opset here: 3; give one of 18 to 23"):
        onnx_model(plain, opset=3)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(AaspError, match=r"package missing: onnx; install it with `pip install 'aasp-audio\[onnx\]'`"):
        onnx_model(plain)


def test_graphs_name_their_inputs_and_outputs(plain: AudioEncoder) -> None:
    graph = Graph(plain, "whole")
    assert [port.name for port in graph.inputs] == ["wave", "lengths"]
    assert [port.name for port in graph.outputs] == list(OUTPUTS)
    with torch.inference_mode():
        assert [tuple(x.shape) for x in graph(*graph.example())][:2] == [(2, 16), (2, 9, 128)]


def written(folder: Path, seconds: float = 1.0, count: int = 7) -> list[str]:
    names = []
    for name, wave in list(signals(round(seconds * 16_000)).items())[:count]:
        soundfile.write(folder / f"{name}.wav", 0.5 * wave.numpy(), 16_000)
        names.append(str(folder / f"{name}.wav"))
    return names


@pytest.mark.slow
def test_a_whitening_stays_in_fp32(plain: AudioEncoder, tmp_path: Path) -> None:
    import onnx

    size = EncoderConfig(width=64, depth=1, heads=2)
    model = AudioEncoder(replace(plain.config, encoder=size, pooling="flat+std", whitened=72)).eval()
    assert model.whitening is not None
    model.whitening.directions.normal_(std=0.1)
    made = int8(onnx_model(model, "window"), model.config, written(tmp_path))
    types = onnx.TensorProto
    sizes = {(one.data_type, tuple(sorted(one.dims))) for one in made.graph.initializer}
    whitening = tuple(sorted(model.whitening.directions.shape))
    assert (types.INT8, (64, 256)) in sizes, "products of the transformer"
    assert (types.INT8, whitening) not in sizes and (types.FLOAT, whitening) in sizes


@pytest.mark.slow
def test_eight_bits_are_near_the_model(trained: AudioEncoder, whole: Path, tmp_path: Path) -> None:
    import onnx

    proto = onnx.load(whole)
    made = int8(proto, trained.config, written(tmp_path))
    metadata = {entry.key: entry.value for entry in made.metadata_props}
    assert metadata["precision"] == "int8" and metadata["kind"] == "encoder"
    assert {e.key: e.value for e in proto.metadata_props}["precision"] == "fp32", "what was given is as it was"
    weights = [one for one in made.graph.initializer if one.data_type == onnx.TensorProto.INT8 and len(one.dims) == 2]
    assert len(weights) >= 4 * trained.config.encoder.depth - 2
    wave = torch.stack(list(signals(15_600).values()))[:3]
    given = {"wave": wave.numpy(), "lengths": np.full(3, 15_600)}
    (found,) = session(made, threads=1).run(["clip"], given)
    with torch.inference_mode():
        expected = trained(wave).clip
    cosine = torch.nn.functional.cosine_similarity(torch.from_numpy(found), expected)
    assert cosine.min() > 0.99, cosine


def test_a_calibration_needs_sounds_that_can_be_read(plain: AudioEncoder, small, tmp_path: Path) -> None:
    with pytest.raises(AaspError, match="no sounds to calibrate with"):
        int8(small, plain.config, [])
    soundfile.write(tmp_path / "click.wav", np.zeros(100, np.float32), 16_000)
    with pytest.raises(AaspError, match=r"click.wav: too short: 6.25 ms"):
        int8(small, plain.config, [str(tmp_path / "click.wav")])
    with pytest.raises(AaspError, match=r"gone.wav"):
        int8(small, plain.config, [str(tmp_path / "gone.wav")])


def test_the_rounding_of_inner_layers_is_measured_by_their_size() -> None:
    """1e-5 is meant for the last layer, which a norm keeps small; an inner one has the same share of what it holds."""
    size = EncoderConfig(width=24, depth=2, heads=2)
    config = AudioEncoderConfig(stem=ConvConfig(), encoder=size, window_seconds=0.64)
    last = torch.full((1, 2, 8), -4.0)
    given = lambda own: (torch.tensor([[1.0, -own]]), last, torch.ones(2), torch.ones(1, 2, dtype=torch.bool), last[0])
    gain = lambda own, **changes: Graph(AudioEncoder(replace(config, **changes)), "whole").gains(given(own))
    assert gain(160.0, vector=("0:flat", "2:mean")) == (40.0, 1, 1, 1, 1)
    assert gain(2.0, vector=("1:mean",)) == (1.0,) * 5, "never smaller than the last layer's"
    assert gain(160.0) == gain(160.0, vector=("2:mean+std",)) == (1.0,) * 5
    classifier = AudioClassifier(AudioClassifierConfig(("a", "b"), encoder=replace(config, vector=("1:mean",))))
    assert Graph(classifier, "whole").gains((torch.ones(1, 2),)) == (1.0,)


def test_an_output_that_is_not_a_number_is_no_agreement() -> None:
    first, second = np.zeros((1, 2), np.float32), np.full((1, 2), np.nan, np.float32)
    assert largest([first, second], [torch.zeros(1, 2)] * 2, [1.0, 1.0]) == float("inf")
    assert largest([first, first + 1], [torch.zeros(1, 2)] * 2, [1.0, 2.0]) == 0.5


def test_an_operation_that_the_runtime_has_not_is_one_line() -> None:
    onnx = pytest.importorskip("onnx")
    of = lambda name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, [1, 1, 8])
    weight = onnx.helper.make_tensor("w", onnx.TensorProto.DOUBLE, [1, 1, 3], [1.0] * 3)
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1])
    graph = onnx.helper.make_graph([node], "float64", [of("x")], [of("y")], [weight])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    with pytest.raises(AaspError, match=r"ONNX Runtime can't run the model: .*Conv.*; let your own part use another"):
        session(model)
