"""BEATs' parts in our own recipes: set by name, trained with masked views, counted, and refused where senseless."""

from __future__ import annotations

import pytest
import torch

from aasp.config import from_dict, to_dict, with_fields
from aasp.errors import AaspError
from aasp.model.encoder import Encoder, EncoderConfig
from aasp.model.relative import RelativeConfig
from aasp.planning.step import step_cost
from aasp.pretrain import recipes
from aasp.pretrain.objective import build_objective

PARTS = {
    "model.encoder.width": "24", "model.encoder.depth": "2",
    "model.vector": "none", "model.encoder.heads": "3", "model.encoder.norm": "deep",
    "model.encoder.attention": "relative", "model.encoder.class_token": "false", "model.encoder.convolution": "6,4",
    "model.stem": "conv", "model.stem.bottleneck": "20", "predictor.width": "24", "predictor.depth": "1",
    "predictor.heads": "3", "data.batch": "2", "data.crop_seconds": "0.5",
}  # fmt: skip


def test_a_recipe_with_them_is_planned_and_every_weight_learns() -> None:
    recipe = with_fields(recipes.get("m2d_tiny"), PARTS)
    assert step_cost(recipe).total.flops > 0
    torch.manual_seed(0)
    objective = build_objective(recipe)
    batch = {"wave": 0.1 * torch.randn(2, 8_000), "length": torch.tensor([8_000, 5_000])}
    loss = objective(batch)["loss"]
    loss.backward()
    encoder = objective.student.encoder
    still = [name for name, one in encoder.named_parameters() if one.grad is None or not one.grad.any()]
    assert loss.isfinite() and still == []
    assert "class_token" not in dict(encoder.named_parameters())
    assert from_dict(type(recipe.model), to_dict(recipe.model), "here") == recipe.model


def test_deep_norm_begins_weaker_and_its_residual_is_stronger() -> None:
    torch.manual_seed(0)
    deep = Encoder(EncoderConfig(24, 2, 3, norm="deep"))
    torch.manual_seed(0)
    post = Encoder(EncoderConfig(24, 2, 3, norm="post"))
    weaker = 16**-0.25
    for ours, theirs in zip(deep.blocks, post.blocks, strict=True):
        for name in ("attention.out", "mlp.0", "mlp.2"):
            torch.testing.assert_close(ours.get_submodule(name).weight, weaker * theirs.get_submodule(name).weight)
        q, v = ours.attention.qkv.weight[:48], ours.attention.qkv.weight[48:]
        torch.testing.assert_close(q, theirs.attention.qkv.weight[:48])
        torch.testing.assert_close(v, weaker * theirs.attention.qkv.weight[48:])
        assert ours.residual == pytest.approx(4**0.25) and theirs.residual == 1.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(attention=RelativeConfig()), "attention=relative does not support a class token; set class_token=false"),
        (dict(class_token=False, distilled=True), "distilled=true needs class_token=true"),
        (dict(convolution=(6, 5)), "convolution of 5 groups of 24 channels; give groups that divide the width"),
        (dict(convolution=(6, 4), learned=(8, 8)), "learned and convolution both define positions"),
        (dict(convolution=(0, 4)), "convolution"),
    ],
)
def test_fields_that_make_no_sense_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(AaspError) as error:
        EncoderConfig(24, 2, 3, **fields)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_buckets_that_make_no_sense_are_refused() -> None:
    with pytest.raises(AaspError, match="buckets 6 and furthest 800; give a multiple of 4"):
        RelativeConfig(buckets=6)
    with pytest.raises(AaspError, match="buckets 320 and furthest 80; give"):
        RelativeConfig(furthest=80)
