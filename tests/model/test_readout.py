"""A model's own vector: declared in its configuration, the same everywhere, absent from older documents."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import aasp
from aasp.config import to_dict
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.model.pooling import pool
from aasp.stems.conv import ConvConfig


def built(**settings: object) -> AudioEncoder:
    torch.manual_seed(0)
    size = EncoderConfig(width=8, depth=3, heads=2)
    config = AudioEncoderConfig(stem=ConvConfig(), encoder=size, window_seconds=0.64, **settings)  # type: ignore[arg-type]
    return AudioEncoder(config).eval()


def waves() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return 0.1 * torch.randn(2, 24_000), torch.tensor([24_000, 7_000])


def test_parts_stand_side_by_side_each_as_pool_makes_it() -> None:
    model, given = built(vector=("1:mean+std", "2:flat", "3:std", "3:cls", "0:mean")), waves()
    with torch.no_grad():
        found = model(*given, layers=True)
    parts = [(1, "mean+std"), (2, "flat"), (3, "std"), (3, "cls"), (0, "mean")]
    subbands = model.stem.subbands
    expected = torch.cat([pool(*found.stages[layer], subbands, found.valid, way) for layer, way in parts], dim=1)
    assert found.clip.shape == (2, 16 + 64 + 8 + 8 + 8)
    torch.testing.assert_close(found.clip, expected, rtol=0, atol=0)


def test_layers_are_returned_only_when_requested() -> None:
    with torch.no_grad():
        assert built(vector=("1:mean",))(*waves()).layers == []


def test_without_a_declaration_it_is_the_last_layer_under_the_pooling() -> None:
    model, given = built(pooling="flat"), waves()
    with torch.no_grad():
        found = model(*given)
        assert torch.equal(found.clip, model(*given, pooling="flat").clip)
        assert torch.equal(found.clip, model(*given, pooling=[(3, "flat")]).clip)
    assert torch.equal(found.clip, pool(found.tokens, found.cls, model.stem.subbands, found.valid, "flat"))


def test_a_deviation_alone_is_that_of_the_tokens_means_over_time() -> None:
    model, given = built(), waves()
    with torch.no_grad():
        found = model(*given, pooling="std")
    for clip, columns in enumerate(found.valid.sum(1).tolist()):
        tokens = found.tokens[clip].numpy().reshape(-1, model.stem.subbands, 8)[:columns].mean(1)
        np.testing.assert_allclose(found.clip[clip], tokens.std(0), atol=1e-6)


def test_padding_does_not_change_a_declared_vector() -> None:
    model, (wave, lengths) = built(vector=("1:mean+std", "3:flat")), waves()
    with torch.no_grad():
        together = model(wave, lengths).clip[1]
        alone = model(wave[1:, :7_000]).clip[0]
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def whitened() -> AudioEncoder:
    model = built(vector=("1:mean", "3:mean+std"), whitened=5)
    assert model.whitening is not None
    random = np.random.default_rng(0)
    model.whitening.mean.copy_(torch.from_numpy(random.normal(size=24)))
    model.whitening.scale.copy_(torch.from_numpy(random.uniform(0.5, 2, size=24)))
    model.whitening.directions.copy_(torch.from_numpy(random.normal(size=(5, 24))))
    return model


def test_a_whitening_is_an_affine_map_of_the_own_vector_and_of_nothing_else() -> None:
    model, given = whitened(), waves()
    assert model.whitening is not None
    with torch.no_grad():
        plain = model(*given, pooling=model.config.keys).clip.numpy()
        z = (plain - model.whitening.mean.numpy()) / model.whitening.scale.numpy()
        directions = model.whitening.directions.numpy()
        np.testing.assert_allclose(model(*given).clip, z - z @ directions.T @ directions, atol=1e-5)
    assert plain.shape == (2, 24)


def test_a_saved_model_gives_the_same_vector(tmp_path: Path) -> None:
    model, given = whitened(), waves()
    model.save(tmp_path / "model")
    document = json.loads((tmp_path / "model/config.json").read_text())
    assert document["vector"] == ["1:mean", "3:mean+std"] and document["whitened"] == 5
    with torch.no_grad():
        assert torch.equal(aasp.load(tmp_path / "model")(*given).clip, model(*given).clip)


@pytest.mark.parametrize("cast", ["half", "bfloat16", "double"])
def test_a_whitening_is_not_rounded_when_a_model_is_cast(cast: str) -> None:
    model = whitened()
    before = {name: tensor.clone() for name, tensor in model.whitening.named_buffers()}  # type: ignore[union-attr]
    getattr(model, cast)()
    for name, tensor in model.whitening.named_buffers():  # type: ignore[union-attr]
        assert tensor.dtype == (torch.float64 if cast == "double" else torch.float32)
        assert torch.equal(tensor.float(), before[name])


def test_documents_of_models_without_a_vector_are_unchanged() -> None:
    assert not {"vector", "whitened"} & set(to_dict(built().config))
    assert set(to_dict(built(vector=("1:mean",)).config)) - set(to_dict(built().config)) == {"vector"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"vector": ("0:flat", "4:mean")},
            "vector: '4:mean' is no layer of this encoder, which has 0 to 3; "
            "set model.vector too, as in model.vector=3:mean, or to none",
        ),
        ({"vector": ("1:max",)}, "no such pooling: max; choose from cls, mean, flat, mean\\+std, flat\\+std, std"),
        ({"vector": ("mean",)}, "'mean' is no LAYER:POOLING; write it as in 4:mean\\+std"),
        ({"vector": ("-1:mean",)}, "'-1:mean' is no LAYER:POOLING"),
        ({"vector": ("0:cls",)}, "class token of layer 0 is the same for every clip"),
        ({"whitened": -1}, "model: whitened is -1; give a number of at least 0 and at most 65536"),
        ({"whitened": 8}, "whitened is 8; the vector has 8 numbers, so give at most 7"),
    ],
)
def test_invalid_declarations_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(AaspError, match=message):
        built(**settings)


@pytest.mark.parametrize("pooling", ["max", [(9, "mean")], [(0, "cls")]])
def test_invalid_poolings_are_refused(pooling: object) -> None:
    with pytest.raises(AaspError, match=r"no such|the same for every clip"):
        built()(*waves(), pooling=pooling)
