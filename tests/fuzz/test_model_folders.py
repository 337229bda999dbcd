"""Untrusted models: configurations, headers of weights, other people's checkpoints, arrays."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

import aasp
from aasp.arrays import read_arrays
from aasp.config import from_dict, to_dict, with_fields
from aasp.convert.published import read_published
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain import recipes
from aasp.pretrain.recipe import Recipe
from aasp.shapes import read_shapes
from aasp.stems.conv import ConvConfig
from aasp.training.checkpoint import read_tensors
from fuzz.cases import documents, mutated, numbers, right_or_one_line, spoilt, texts

FUZZ = settings.get_profile("fuzz")
TINY = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=1, heads=2))
CLASSES = AudioClassifierConfig(classes=("a", "b"), encoder=TINY)
TENSORS = {"a": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.int64)}
RECIPE = recipes.get("aasp_tiny")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    AudioEncoder(TINY).save(folder / "encoder")
    AudioClassifier(CLASSES).save(folder / "classifier")
    return folder


@FUZZ
@given(content=documents(to_dict(TINY)))
def test_an_encoder_s_configuration(model: Path, content: bytes) -> None:
    (model / "encoder" / "config.json").write_bytes(content)
    found = right_or_one_line(lambda: aasp.load(model / "encoder"))
    assert found is None or found.config.encoder.width == 8


@FUZZ
@given(content=documents(to_dict(CLASSES)))
def test_a_classifier_s_configuration(model: Path, content: bytes) -> None:
    (model / "classifier" / "config.json").write_bytes(content)
    found = right_or_one_line(lambda: aasp.load(model / "classifier"))
    assert found is None or found.config.encoder.width == 8


@FUZZ
@given(values=mutated(to_dict(RECIPE)))
def test_a_recipe(values: object) -> None:
    found = right_or_one_line(lambda: from_dict(Recipe, values, "recipe.json"))  # type: ignore[arg-type]
    assert found is None or isinstance(found, Recipe)


def fields(document: dict, prefix: str = "") -> list[str]:
    inner = [name for key, one in document.items() if isinstance(one, dict) for name in fields(one, f"{prefix}{key}.")]
    return [prefix + key for key in document] + inner


@FUZZ
@given(
    settings=st.dictionaries(
        st.one_of(st.sampled_from(fields(to_dict(RECIPE))), texts.filter(lambda text: ":" not in text)),
        st.one_of(numbers.map(str), texts.filter(lambda text: ":" not in text), st.sampled_from(["conv", "1,2"])),
        min_size=1,
        max_size=3,
    )
)
def test_settings_as_typed(settings: dict[str, str]) -> None:
    found = right_or_one_line(lambda: with_fields(RECIPE, settings))
    assert found is None or found == from_dict(Recipe, to_dict(found), "it")


def weights(header: object, body: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


HEADER = {
    "__metadata__": {"of": "nobody"},
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "I64", "shape": [4], "data_offsets": [24, 56]},
}


@FUZZ
@given(
    content=st.one_of(
        spoilt(save(TENSORS)),
        documents(HEADER).map(lambda header: weights(header, bytes(56))),
        st.sampled_from([2**63, 2**40, 10**8, 0]).map(lambda length: weights(HEADER, bytes(56), length)),
    )
)
def test_a_header_of_weights(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed.safetensors"
    file.write_bytes(content)
    shapes = right_or_one_line(lambda: read_shapes(file))
    found = right_or_one_line(lambda: read_tensors(file))
    if shapes is not None and found is not None:
        assert {name: tuple(tensor.shape) for name, tensor in found.items()} == shapes[0]
        assert sum(tensor.nbytes for tensor in found.values()) <= len(content)


def pytorch(values: object) -> bytes:
    file = io.BytesIO()
    torch.save(values, file)
    return file.getvalue()


@FUZZ
@given(content=spoilt(pytorch({"model": TENSORS, "epoch": 3})))
def test_a_checkpoint_of_others(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed.pt"
    file.write_bytes(content)
    found = right_or_one_line(lambda: read_published(file))
    assert found is None or all(name in TENSORS or name not in found for name in ("a", "b"))


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@FUZZ
@given(content=spoilt(npz(a=np.zeros((2, 3)), b=np.array(["x", "yy"]))))
def test_arrays(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed.npz"
    file.write_bytes(content)
    found = right_or_one_line(lambda: read_arrays(file, "make it again"))
    assert found is None or sum(array.nbytes for array in found.values()) <= len(content)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "packed.npz").write_bytes(b"")
    np.savez_compressed(tmp_path / "packed.npz", a=np.zeros(10**7, dtype=np.uint8))
    assert right_or_one_line(lambda: read_arrays(tmp_path / "packed.npz", "make it again")) is None
    with zipfile.ZipFile(tmp_path / "lying.npz", "w") as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)})
        archive.writestr("a.npy", head.getvalue() + bytes(64))
    assert right_or_one_line(lambda: read_arrays(tmp_path / "lying.npz", "make it again")) is None
    with (
        zipfile.ZipFile(io.BytesIO(pytorch({"model": TENSORS}))) as plain,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in plain.infolist():
            packed.writestr(member.filename, plain.read(member))
    with pytest.raises(aasp.AaspError, match=r"its members are compressed"):
        read_published(tmp_path / "bomb.pt")
    torch.save({"model": {"cls_token": torch.zeros(1).expand(1, 1, 2**40)}}, tmp_path / "view.pt")
    with pytest.raises(aasp.AaspError, match=r"cls_token is not a plain tensor whose numbers are all in the file"):
        read_published(tmp_path / "view.pt")
