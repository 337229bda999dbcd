"""The step as a whole."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from aasp.config import to_dict, with_fields
from aasp.errors import AaspError
from aasp.pretrain.masking import Masks
from aasp.pretrain.methods import Method
from aasp.pretrain.mixtures import MixingConfig
from aasp.pretrain.objective import build_objective
from aasp.pretrain.recipe import Recipe
from aasp.stems.contract import Stem
from plain import plain_tiny

SMALL = {
    "model.encoder.width": 32, "model.encoder.depth": 2,
    "model.vector": "none", "model.encoder.heads": 4, "predictor.depth": 1,
    "predictor.width": 32, "predictor.heads": 4, "losses.projector": (64, 16), "model.stem.states": 4,
    "model.stem.encoder_width": 16, "masking.views": 3, "losses.utterance": 1.0, "losses.contrastive": 0.5,
}  # fmt: skip


def small(**changes: object) -> Recipe:
    settings = SMALL | {name.replace("__", "."): value for name, value in changes.items()}
    if settings.get("model.stem") == "conv":
        settings = {name: value for name, value in settings.items() if not name.startswith("model.stem.")}
    return with_fields(plain_tiny(), settings)


def batch(*samples: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    wave = torch.zeros(len(samples), max(samples))
    for row, length in zip(wave, samples, strict=True):
        row[:length] = 0.1 * torch.randn(length, generator=generator)
    return {"wave": wave, "length": torch.tensor(samples)}


def build(recipe: Recipe) -> Method:
    torch.manual_seed(0)
    objective = build_objective(recipe)
    if recipe.model.stem.kind == "aape":
        for model in (objective.student, objective.teacher.model):
            torch.manual_seed(1)
            with torch.no_grad():
                model.stem.fuse.weight.add_(0.1 * torch.randn_like(model.stem.fuse.weight))
    return objective


STEMS = {"conv": {"model__stem": "conv"}, "local": {}, "wide": {"model__stem__taps": 48}}


@pytest.mark.parametrize("stem", STEMS)
def test_every_trained_parameter_gets_a_gradient_and_the_teacher_does_not(stem: str) -> None:
    objective = build(small(**STEMS[stem]))
    out = objective(batch(20_000, 20_000, 20_000))
    out["loss"].backward()
    for name, p in objective.named_parameters():
        if name.startswith("teacher."):
            assert p.grad is None
        else:
            assert p.grad is not None and p.grad.abs().sum() > 0, name
    weights = objective.config.losses
    total = sum(getattr(weights, name) * value for name, value in out["losses"].items())
    torch.testing.assert_close(out["loss"], total)


@pytest.mark.parametrize("stem", STEMS)
def test_a_batch_padded_further_has_the_same_losses(stem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short clips train as if alone: the same masks on a batch with more padding give the same losses."""
    objective = build(small(**STEMS[stem])).eval()
    short = batch(12_000, 16_000, 9_000)
    masks = {}
    from aasp.pretrain.methods import aasp as module

    draw = module.draw_masks

    def once(config, grid, columns):
        if not masks:
            masks["all"] = draw(config, grid, columns)
        return masks["all"]

    monkeypatch.setattr(module, "draw_masks", once)
    longer = {"wave": torch.nn.functional.pad(short["wave"], (0, 9_000)), "length": short["length"]}
    with torch.no_grad():
        first, second = objective(short), objective(longer)
    for name in ("frame", "utterance", "contrastive"):
        torch.testing.assert_close(second["losses"][name], first["losses"][name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stem", STEMS)
def test_the_student_sees_nothing_of_hidden_patches(stem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise in every patch that no view sees leaves the class tokens, and so two of three losses' inputs, alone."""
    objective = build(small(masking__views=1, losses__contrastive=0.0, **STEMS[stem])).eval()
    seen: list[torch.Tensor] = []
    encode = objective.student.encoder.forward
    monkeypatch.setattr(
        objective.student.encoder, "forward", lambda *a, **k: seen.append(a[0].detach().clone()) or encode(*a, **k)
    )
    data = batch(20_000, 20_000)
    mel, frames = objective.student.frontend(data["wave"], data["length"])
    torch.manual_seed(3)
    objective(data)
    torch.manual_seed(3)
    from aasp.pretrain.methods import aasp as module

    masks = module.draw_masks(objective.config.masking, objective.student.stem.grid(mel.shape[1]), -(-frames // 16))
    noisy = mel.clone()
    for b in range(2):
        hidden = set(range(64)) - set(masks.visible[b, 0].tolist())
        for n in hidden:
            block = noisy[b, (n // 8) * 16 : (n // 8 + 1) * 16, (n % 8) * 16 : (n % 8 + 1) * 16]
            block += torch.randn_like(block)
    monkeypatch.setattr(objective.student.frontend, "forward", lambda *_: (noisy, frames))
    torch.manual_seed(3)
    objective(data)
    assert isinstance(objective.student.stem, Stem)
    assert torch.equal(seen[0], seen[1])


def test_training_lowers_the_loss() -> None:
    objective = build(small(optimizer__lr=1e-3))
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], 2e-3)
    losses = []
    for step in range(30):
        out = objective(batch(16_000, 16_000, 16_000, 16_000, seed=step % 3))
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        objective.after_step({"momentum": 0.99})
        losses.append(out["loss"].item())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_health_checks_name_the_cause() -> None:
    objective = build(small())
    out = objective(batch(16_000, 16_000, 16_000))
    out["loss"].backward()
    metrics = {name: float(value) for name, value in (out["diagnostics"] | objective.gradient_diagnostics()).items()}
    for name in ("target_variance", "prediction_variance", "summary_deviation", "embedding_rank", "window_cut",
                 "alpha_mean", "alpha_spread", "alpha_saturation", "beta_mean", "beta_spread", "beta_saturation",
                 "sblu_gradient_norm", "ema_distance"):  # fmt: skip
        assert metrics[name] == metrics[name], name
    assert objective.check_health(metrics) is None
    assert "same for every clip" in objective.check_health(metrics | {"summary_deviation": 0.0})
    assert "rank 1.0" in objective.check_health(metrics | {"embedding_rank": 1.0})


def test_the_loss_is_the_same_with_and_without_diagnostics() -> None:
    found = []
    for diagnose in (True, False):
        objective = build(small())
        torch.manual_seed(1)
        found.append(objective(batch(16_000, 12_000), diagnose))
    assert found[0]["loss"].item() == found[1]["loss"].item()
    assert found[0]["diagnostics"] and not found[1]["diagnostics"]


def test_a_single_view_warns_that_the_contrastive_loss_is_zero() -> None:
    with pytest.warns(UserWarning, match=r"masking\.views is 1"):
        objective = build(small(masking__views=1))
    out = objective(batch(16_000, 16_000))
    assert out["losses"]["contrastive"] == 0 and out["loss"].isfinite()


@pytest.mark.filterwarnings("ignore:data.batch is 1")
def test_a_single_clip_trains_on_the_frame_loss_without_collapse_error() -> None:
    recipe = small(data__batch=1)
    with pytest.warns(UserWarning, match=r"data\.batch is 1") as warned:
        objective = build(recipe)
    assert [str(one.message).partition(", the ")[2].partition(" stays")[0] for one in warned] == [
        "contrastive loss",
        "utterance loss",
    ]
    out = objective(batch(16_000))
    assert out["losses"]["contrastive"] == out["losses"]["utterance"] == 0
    assert out["loss"] == out["losses"]["frame"] > 0
    out["loss"].backward()
    metrics = {name: float(value) for name, value in out["diagnostics"].items()}
    assert "summary_deviation" not in metrics and objective.check_health(metrics) is None


@pytest.mark.filterwarnings("ignore:data.batch is 1")
def test_a_single_clip_keeps_an_utterance_target_that_needs_no_others() -> None:
    objective = build(small(data__batch=1, teacher__utterance="mean"))
    assert objective(batch(16_000))["losses"]["utterance"] > 0


@pytest.mark.filterwarnings("ignore:data.batch is 1")
def test_a_single_clip_without_a_frame_loss_has_nothing_to_learn() -> None:
    with pytest.raises(AaspError, match=r"nothing would be learned: data\.batch is 1"):
        build(small(data__batch=1, losses__frame=0.0))


def test_all_layers_are_averaged_when_more_are_requested() -> None:
    found = []
    for layers in (2, 12):
        objective = build(small(teacher__layers=layers))
        torch.manual_seed(2)
        found.append(objective(batch(16_000, 12_000))["loss"])
    assert torch.equal(*found)


def test_bf16_autocast_keeps_losses_in_fp32() -> None:
    objective = build(small())
    with torch.autocast("cpu", torch.bfloat16):
        out = objective(batch(16_000, 16_000))
    assert out["loss"].dtype == torch.float32 and out["loss"].isfinite()


def test_a_clip_of_one_window_trains() -> None:
    out = build(small())(batch(400, 16_000))
    assert out["loss"].isfinite()


def test_the_contrast_may_compare_token_means_of_what_belongs_to_a_clip() -> None:
    recipe = small(losses__compared="tokens")
    method, data = build(recipe).train(), batch(20_000, 9_000)
    inputs: list[torch.Tensor] = []
    method.projector.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    seen: list[torch.Tensor] = []
    method.student.encoder.register_forward_hook(lambda _, __, out: seen.append(out.last))
    masks: list[Masks] = []
    with pytest.MonkeyPatch.context() as patch:
        module = sys.modules[type(method).__module__]
        draw = module.draw_masks
        patch.setattr(module, "draw_masks", lambda *given: masks.append(draw(*given)) or masks[-1])
        method(data)
    valid = masks[0].visible_valid
    tokens = seen[0][:, 1:].unflatten(0, valid.shape[:2])
    for clip, view in np.ndindex(*valid.shape[:2]):
        expected = tokens[clip, view][valid[clip, view]].mean(0)
        torch.testing.assert_close(inputs[0][clip, view], expected)
    assert "compared" not in to_dict(small())["method"]["losses"]
    assert to_dict(recipe)["method"]["losses"]["compared"] == "tokens"


@torch.no_grad()
def test_mixtures_add_source_retention_and_leave_the_losses_of_clips_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, mixed = (build(small(losses__retention=weight, codebook="kmeans")).eval() for weight in (0.0, 0.5))
    data, module = batch(20_000, 9_000), sys.modules[type(mixed).__module__]
    monkeypatch.setattr(module, "MixingConfig", lambda: MixingConfig(gaps=0))
    masks = module.draw_masks(mixed.config.masking, (8, 8), torch.tensor([8, 4, 8, 4]))
    rows = lambda end: Masks(*(x[:end] for x in vars(masks).values()))
    monkeypatch.setattr(module, "draw_masks", lambda config, grid, columns: rows(len(columns)))
    predictions: list[torch.Tensor] = []
    predict = mixed.predictor.predict
    monkeypatch.setattr(
        mixed.predictor, "predict", lambda *given: predictions.append(predict(*given)) or predictions[-1]
    )
    alone, both = plain(data), mixed(data)
    for name in ("utterance", "contrastive"):
        torch.testing.assert_close(both["losses"][name], alone["losses"][name], rtol=1e-5, atol=1e-5)

    clips = module.to_logmel(mixed.student, data)
    targets = mixed.targets(clips)[0].numpy()
    heard = np.arange(64) < 32  # of two clips, each is the other's partner; both are mixed as long as the shorter
    first = replace(clips, mel=clips.mel[:1, :64], grid=(4, 8), columns=torch.tensor([4]), valid=None)
    partners = np.zeros_like(targets)
    partners[0, :32] = targets[1, :32]
    partners[1, :32] = mixed.targets(replace(first, frames=torch.tensor([64])))[0].numpy()[0]
    sources = np.where(heard[:, None], (targets + partners) / 2, targets)
    predicted, errors = predictions[0][2:, ..., : targets.shape[-1]].numpy(), []
    for clip, view in np.ndindex(2, 3):
        places = masks.hidden[2 + clip, view][masks.hidden_valid[2 + clip, view]].numpy()
        errors.append((predicted[clip, view, : len(places)] - sources[clip, places]) ** 2)
    assert float(both["losses"]["retention"]) == pytest.approx(np.concatenate(errors).mean(), rel=1e-4)
    weights = vars(mixed.config.losses) | {"codes": mixed.config.codebook.weight}
    total = sum(weights[name] * float(value) for name, value in both["losses"].items())
    assert float(both["loss"]) == pytest.approx(total, rel=1e-5) and "retention" not in alone["losses"]


def test_mixtures_need_two_clips() -> None:
    with pytest.raises(AaspError, match=r"data.batch is 1: a clip for each process, which leaves none to mix it with"):
        build(small(data__batch=1, losses__retention=1.0))
    recipe = small(data__batch=2, losses__retention=1.0)
    with pytest.raises(AaspError, match=r"data.batch is 2: a clip for each process"):
        recipe.method.check(recipe, processes=2)
    assert "clips are mixed with others" in recipe.method.across(recipe)
    assert "retention" not in to_dict(small())["method"]["losses"]
