"""The predictor in its forms: what a prediction may depend on."""

from __future__ import annotations

import pytest
import torch

from aasp.config import with_fields
from aasp.errors import AaspError
from aasp.pretrain import recipes
from aasp.pretrain.objective import build_objective
from aasp.pretrain.predictors import Predictor, PredictorConfig, build_predictor
from aasp.pretrain.targets import standardised_patches
from aasp.stems.conv import ConvStem

GRID, WIDTH = (4, 3), 8
FORMS = ("cross", "self", "conv", "window")


def build(form: str, positions: bool = False) -> Predictor:
    torch.manual_seed(0)
    config = PredictorConfig(form, depth=2, width=16, heads=2, context_positions=positions)
    predictor = build_predictor(config, WIDTH, WIDTH, layers=2)
    with torch.no_grad():
        predictor.mask_token.normal_()
    return predictor


@pytest.fixture
def masks() -> tuple[torch.Tensor, torch.Tensor]:
    order = torch.stack([torch.randperm(12, generator=torch.Generator().manual_seed(k)) for k in range(2)])
    return order[:, :4], order[:, 4:]


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_predictions_depend_on_visible_tokens_and_positions(
    form: str, masks: tuple[torch.Tensor, torch.Tensor]
) -> None:
    visible, hidden = masks
    predictor, context = build(form), torch.randn(2, 5, WIDTH)
    answer = predictor(context, visible, hidden, GRID)
    assert answer.shape == (2, 8, WIDTH)
    assert (predictor(context + 1, visible, hidden, GRID) - answer).abs().amax() > 1e-3
    moved = predictor(context, visible, hidden.flip(1), GRID)
    # A prediction belongs to its position, whatever the order of the queries.
    torch.testing.assert_close(moved.flip(1), answer, rtol=1e-4, atol=1e-5)
    assert (answer[:, 0] - answer[:, 1]).abs().max() > 1e-3


@torch.no_grad()
def test_only_crossed_attention_answers_each_query_alone(masks: tuple[torch.Tensor, torch.Tensor]) -> None:
    visible, hidden = masks
    context = torch.randn(2, 5, WIDTH)
    for form in FORMS:
        predictor = build(form)
        alone, together = predictor(context, visible, hidden[:, :3], GRID), predictor(context, visible, hidden, GRID)
        same = torch.allclose(alone, together[:, :3], atol=1e-5)
        assert same == (form not in ("self", "window")), form  # a convolution fills the grid, whatever the queries


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_tokens_that_do_not_count_change_nothing(form: str, masks: tuple[torch.Tensor, torch.Tensor]) -> None:
    visible, hidden = masks
    predictor, context = build(form), torch.randn(2, 5, WIDTH)
    valid, hidden_valid = torch.ones(2, 4, dtype=torch.bool), torch.ones(2, 8, dtype=torch.bool)
    valid[1, 2:], hidden_valid[1, 5:] = False, False
    before = predictor(context, visible, hidden, GRID, valid, hidden_valid)
    context[1, 3:] = 9.0
    after = predictor(context, visible, hidden, GRID, valid, hidden_valid)
    torch.testing.assert_close(after[hidden_valid], before[hidden_valid], rtol=1e-4, atol=1e-5)
    assert (predictor(context, visible, hidden, GRID) - after)[1].abs().max() > 1e-3


@pytest.mark.parametrize("form", ["cross", "weighted"])
@torch.no_grad()
def test_positions_of_visible_tokens_are_those_of_the_grid_if_given(
    form: str, masks: tuple[torch.Tensor, torch.Tensor]
) -> None:
    visible, hidden = masks
    context = torch.randn(2, 5, *[2] * (form == "weighted"), WIDTH)
    there = torch.ones_like(visible, dtype=torch.bool)
    there[1, 3] = False
    for positions in (False, True):
        predictor = build(form, positions)
        answer = predictor(context, visible, hidden, GRID)
        elsewhere = predictor(context, visible.flip(1), hidden, GRID)
        assert torch.equal(answer, elsewhere) != positions
        order = torch.tensor([0, 4, 3, 2, 1])  # tokens with their positions are a set; the class token has none
        torch.testing.assert_close(predictor(context[:, order], visible.flip(1), hidden, GRID), answer)
        some = predictor(context, visible, hidden, GRID, there)
        torch.testing.assert_close(some[:1], answer[:1])
        torch.testing.assert_close(some[1:], predictor(context[1:, :4], visible[1:, :3], hidden[1:], GRID))


def test_convolutions_on_the_grid_reach_as_far_as_their_kernels(masks: tuple[torch.Tensor, torch.Tensor]) -> None:
    predictor = build("conv")
    visible, hidden = torch.tensor([[0, 1]]), torch.tensor([[2, 3, 6, 9]])
    context = torch.zeros(1, 3, WIDTH)
    changed = context.clone()
    changed[0, 1] = 1.0  # patch (0, 0): two layers reach columns 0 to 2
    with torch.no_grad():
        moved = (predictor(changed, visible, hidden, GRID) - predictor(context, visible, hidden, GRID)).abs().amax(-1)
    assert (moved[0, :3] > 1e-6).all() and moved[0, 3] == 0


def test_reconstruction_targets_are_standardised_patches() -> None:
    stem, mel = ConvStem(WIDTH, 32), torch.randn(2, 40, 32)
    target = standardised_patches(stem, mel)
    assert target.shape == (2, 6, 256)
    patch = mel[1, 16:32, 16:32]
    expected = (patch - patch.mean()) / patch.std(correction=0)
    torch.testing.assert_close(target[1, 3].view(16, 16), expected, rtol=1e-4, atol=1e-4)


SETTINGS = ["predictor.form=self", "predictor.form=conv", "teacher.frame=patches", "teacher.frame=layers+patches"]


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_form_learns(setting: str) -> None:
    small = {
        "model.encoder.depth": 1,
        "model.vector": "none",
        "predictor.depth": 1,
        "data.batch": 4,
        "losses.projector": (32, 16),
    }
    recipe = with_fields(recipes.get("aasp_tiny"), small | dict([setting.split("=")]))
    torch.manual_seed(0)
    objective = build_objective(recipe).train()
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], 2e-3)
    wave = 0.1 * torch.randn(4, 15_600) * torch.linspace(0.1, 1, 15_600) ** torch.arange(1, 5)[:, None]
    length = torch.tensor([15_600, 15_600, 12_000, 15_600])
    batch = {"wave": wave.masked_fill(torch.arange(15_600) >= length[:, None], 0.0), "length": length}
    frame = []
    for _ in range(12):
        optimizer.zero_grad()
        out = objective(batch, diagnose=True)
        out["loss"].backward()
        optimizer.step()
        frame.append(float(out["losses"]["frame"].detach()))
    assert sum(frame[-3:]) < 0.9 * sum(frame[:3])


@pytest.mark.parametrize("form", FORMS)
def test_heads_that_do_not_divide_the_width_are_refused(form: str) -> None:
    with pytest.raises(AaspError, match="predictor: width 192 must be a multiple of 4 and of heads 5"):
        PredictorConfig(form=form, heads=5)


@pytest.mark.parametrize("form", ["self", "conv", "window"])
@torch.no_grad()
def test_other_forms_have_context_positions_already(form: str, masks: tuple[torch.Tensor, torch.Tensor]) -> None:
    visible, hidden = masks
    context = torch.randn(2, 5, WIDTH)
    answer = build(form)(context, visible, hidden, GRID)
    assert torch.equal(build(form, True)(context, visible, hidden, GRID), answer)
    assert (build(form)(context, visible.flip(1), hidden, GRID) - answer).abs().max() > 1e-3
