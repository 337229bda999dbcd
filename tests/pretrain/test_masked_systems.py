"""Steps of masked systems in plain numpy, and what is published of these systems."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_masked_parts import patches_of, softmax, unit
from test_methods import batch, build, numbers
from torch import Tensor, nn

from aasp.cli.main import main
from aasp.errors import AaspError
from aasp.pretrain import recipes
from aasp.pretrain.encoding import Clips, encode_all, encode_masked, encode_visible, to_logmel
from aasp.pretrain.losses.patches import discriminative_loss
from aasp.pretrain.masking import Masks, draw_masks
from aasp.pretrain.methods import Method
from aasp.pretrain.objective import build_objective
from aasp.pretrain.run import schedules_of
from aasp.pretrain.systems import beats, eat, m2d, mae, ssast

NAMES = [recipe.__name__ for one in (eat, m2d, mae, ssast, beats) for recipe in one.RECIPES]
TINY = [name for name in NAMES if name.endswith("_tiny")]
BASE = [name for name in NAMES if name not in TINY]


def step(method: Method, clips: Clips, data: dict[str, Tensor]) -> tuple[dict, Masks]:
    """The method's step on a batch, and the masks that it drew."""
    torch.manual_seed(5)
    with torch.no_grad():
        out = method(data)
    torch.manual_seed(5)
    return out, draw_masks(method.config.masking, clips.grid, clips.columns)


# Steps


def test_hidden_patches_are_reconstructed() -> None:
    for name in ("audio_mae_tiny", "mae_ast_tiny", "ssast_tiny"):
        method, data = build(name).eval(), batch(16_000, 16_000, 12_000)
        clips = to_logmel(method.student, data)
        out, masks = step(method, clips, data)
        with torch.no_grad():
            if name == "ssast_tiny":
                x = encode_masked(method.student, clips, masks, method.mask_token)[:, 1:]
                x = torch.stack([x[b][masks.hidden[b, 0]] for b in range(3)])[:, None]
                predicted = [method.heads[kind](x) for kind in ("generative", "discriminative")]
            else:
                x = encode_visible(method.student, clips, masks.visible, masks.visible_valid)
                predicted = list(method.predictor.predict(x, masks, clips).split(256, dim=-1))
        patches = patches_of(clips.mel)
        if name == "audio_mae_tiny":
            patches = (patches - patches.mean(-1, keepdims=True)) / np.sqrt(patches.var(-1, keepdims=True) + 1e-6)
        target = np.stack([patches[b][masks.hidden[b]] for b in range(3)])
        errors = ((predicted[0].numpy() - target) ** 2).mean(-1)[masks.hidden_valid.numpy()]
        assert float(out["losses"]["generative"]) == pytest.approx(errors.mean(), rel=1e-3), name
        if name == "audio_mae_tiny":
            assert out["loss"] == out["losses"]["generative"] and len(predicted) == 1
            continue
        contrast = discriminative_loss(predicted[1], torch.tensor(target).float(), masks.hidden_valid)
        torch.testing.assert_close(out["losses"]["discriminative"], contrast, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(out["loss"], 10 * out["losses"]["generative"] + out["losses"]["discriminative"])


@torch.no_grad()
def test_ssast_sees_nothing_of_a_hidden_patch() -> None:
    method = build("ssast_tiny").eval()
    clips = to_logmel(method.student, batch(16_000, 16_000))
    masks = draw_masks(method.config.masking, clips.grid, clips.columns)
    before = encode_masked(method.student, clips, masks, method.mask_token)
    for n in masks.hidden[0, 0].tolist():
        clips.mel[0, n // 8 * 16 : n // 8 * 16 + 16, n % 8 * 16 : n % 8 * 16 + 16] += 1.0
    torch.testing.assert_close(encode_masked(method.student, clips, masks, method.mask_token), before)
    assert before.shape == (2, 1 + 56, 32)


@torch.no_grad()
def test_matpac_classifies_what_the_target_network_sees() -> None:
    method, data = build("matpac_tiny"), batch(16_000, 16_000, 12_000)
    method.teacher_head.model.prototypes.weight.mul_(torch.linspace(-1, 1, 24)[:, None])  # no longer the student's
    method.eval().centre.mean.copy_(torch.linspace(0, 0.1, 24))
    clips = to_logmel(method.student, data)
    out, masks = step(method, clips, data)
    predicted = method.predictor.predict(
        encode_visible(method.student, clips, masks.visible, masks.visible_valid), masks, clips
    )
    target = encode_visible(method.teacher.model, clips, masks.hidden, masks.hidden_valid)[:, 1:].unflatten(0, (3, 2))
    counts = masks.hidden_valid.numpy()
    distance = 2 - 2 * (unit(predicted.numpy()) * unit(target.numpy())).sum(-1)
    p = softmax((method.teacher_head.model(target).numpy() - method.centre.mean.numpy()) / 0.04)
    terms = -(p * np.log(softmax(method.head(predicted).numpy() / 0.1))).sum(-1)
    assert float(out["losses"]["frame"]) == pytest.approx(distance[counts].mean(), rel=1e-4)
    assert float(out["losses"]["prototypes"]) == pytest.approx(terms[counts].mean(), rel=1e-3)
    assert float(out["loss"]) == pytest.approx((distance[counts].mean() + terms[counts].mean()) / 2, rel=1e-3)
    assert torch.equal(method.centre.mean, torch.linspace(0, 0.1, 24)), "what is only measured moves no centre"
    method.train()(data)
    assert not torch.equal(method.centre.mean, torch.linspace(0, 0.1, 24))


def test_matpac_schedules_are_the_published_ones() -> None:
    recipe = recipes.get("matpac_base")
    schedules = schedules_of(recipe)
    assert schedules.at(0)["teacher_temperature"] == 0.04 and schedules.at(9_827)["teacher_temperature"] == 0.07
    assert schedules.at(0)["head_momentum"] == 0.998 and schedules.at(recipe.steps - 1)["head_momentum"] > 0.99999
    assert schedules.arrays["learning_rate"].argmax() in (19_653, 19_654)
    method = build("matpac_tiny")
    method.after_step({"momentum": 1.0, "head_momentum": 1.0, "teacher_temperature": 0.06})
    assert float(method.state_dict()["temperature"]) == pytest.approx(0.06), "the next step's, in every checkpoint"


@torch.no_grad()
def test_sslam_predicts_the_sources_of_a_mixture() -> None:
    method, data = build("sslam_tiny", **{"mixing.gaps": 2}).eval(), batch(16_000, 16_000)
    mel = to_logmel(method.student, data).mel  # of two clips each is the other's partner
    torch.manual_seed(5)
    out = method(data)
    torch.manual_seed(5)
    torch.randint(1, 2, ())
    gaps = torch.rand(2, 5 + 2).argsort(1)[:, :2]  # of seven patches, two are gaps of one
    alone = torch.zeros(2, 7, dtype=torch.bool).scatter(1, gaps, True)
    frames = alone.repeat_interleave(16, 1)[:, : mel.shape[1], None]
    mels = torch.cat([mel, torch.where(frames, mel, torch.maximum(mel, mel.flip(0)))])
    both = Clips(mels, (7, 8), torch.full((4,), 7), None, torch.full((4,), mel.shape[1]))
    masks = draw_masks(method.config.masking, both.grid, both.columns)
    x = encode_visible(method.student, both, masks.visible, masks.visible_valid)
    predicted, cls = method.predictor.predict(x, masks, both).numpy(), x[:, 0].unflatten(0, (4, 2)).numpy()
    layers = [y[:, 1:].numpy() for y in encode_all(method.teacher.model, both, layers=True).ffn]
    instance = lambda y: (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + 1e-5)
    norm = lambda y: (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
    target, summary = norm(np.mean([instance(y) for y in layers], axis=0)), norm(instance(layers[-1])).mean(1)
    at = lambda targets, clips: np.stack([y[masks.hidden[c].numpy()] for y, c in zip(targets, clips, strict=True)])
    gap, own = alone.repeat_interleave(8, 1), []
    for clip in range(2):  # the teacher sees the partner's patches in the mixture alone
        seen = (~gap[clip]).nonzero().T[None]
        partner = replace(both, mel=mel[1 - clip][None], columns=both.columns[:1], frames=both.frames[:1])
        tokens = method.teacher.model.stem(partner.mel)[:, seen[0, 0]]
        places = method.teacher.model.places(partner.mel, seen[0])
        output = [y[0, 1:].numpy() for y in method.teacher.model.encoder(tokens, places, None, True).ffn]
        own.append(np.zeros_like(target[0]))
        own[-1][seen[0, 0]] = norm(np.mean([instance(y[None])[0] for y in output], axis=0))
    sources = np.where(gap.numpy()[..., None], target[:2], (target[:2] + np.stack(own)) / 2)
    expected = {
        "frame": ((predicted - at(target, range(4))) ** 2).mean(),
        "utterance": ((cls - summary[:, None]) ** 2).mean(),
        "retention": ((predicted[2:] - at(sources, (2, 3))) ** 2).mean(),
    }
    assert {name: float(loss) for name, loss in out["losses"].items()} == pytest.approx(expected, rel=1e-3)
    assert float(out["loss"]) == pytest.approx(sum(expected.values()), rel=1e-3)


def test_sslam_needs_a_partner_for_each_clip() -> None:
    with pytest.raises(AaspError, match=r"data.batch is 1: a clip for each process, which leaves none to mix it with"):
        build("sslam_tiny", **{"data.batch": 1})
    with pytest.raises(AaspError, match="give 128 or more"):
        recipes.get("sslam_base").method.check(recipes.get("sslam_base"), 64)


@torch.no_grad()
def test_data2vec_predicts_the_configured_number_of_last_layers() -> None:
    method, data = build("data2vec_tiny").eval(), batch(16_000, 16_000)  # the last of two
    clips = to_logmel(method.student, data)
    out, masks = step(method, clips, data)
    x = encode_visible(method.student, clips, masks.visible, masks.visible_valid)
    predicted = method.predictor.predict(x, masks, clips).numpy()
    last = encode_all(method.teacher.model, clips, layers=True).ffn[-1][:, 1:].numpy()
    target = (last - last.mean(1, keepdims=True)) / np.sqrt(last.var(1, keepdims=True) + 1e-5)
    target = (target - target.mean(-1, keepdims=True)) / np.sqrt(target.var(-1, keepdims=True) + 1e-5)
    at = np.stack([target[b][masks.hidden[b]] for b in range(2)])
    assert float(out["losses"]["frame"]) == pytest.approx(((predicted - at) ** 2).mean(), rel=1e-4)
    utterance = (x[:, 0].unflatten(0, (2, -1)).numpy() - target.mean(1)[:, None]) ** 2
    weighted = 0.01 * float(utterance.mean()) + float(out["losses"]["frame"])
    assert float(out["loss"]) == pytest.approx(weighted, rel=1e-4)


@torch.no_grad()
def test_beats_predicts_the_labels_of_hidden_patches() -> None:
    method, data = build("beats_tiny").eval(), batch(16_000, 16_000, 12_000)
    clips = to_logmel(method.student, data)
    out, masks = step(method, clips, data)
    x = encode_visible(method.student, clips, masks.visible, masks.visible_valid)
    probability = softmax(method.predictor.predict(x, masks, clips).double().numpy())
    labels = method.tokenizer(clips, method.student.stem).numpy()
    positions = np.argwhere(masks.hidden_valid.numpy())
    predicted = [(probability[b, v, i], labels[b, masks.hidden[b, v, i]]) for b, v, i in positions]
    assert float(out["loss"]) == pytest.approx(-np.mean([np.log(p[label]) for p, label in predicted]), rel=1e-4)
    right = np.mean([p.argmax() == label for p, label in predicted])
    assert float(out["diagnostics"]["accuracy"]) == pytest.approx(right, abs=1e-6)
    assert int(out["diagnostics"]["labels_used"]) == len({int(label) for _, label in predicted})


# What is published of them


@functools.cache
def on_meta(name: str) -> Method:
    with torch.device("meta"):
        return build_objective(recipes.get(name))


def trained(module: nn.Module) -> float:
    """Millions of parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad) / 1e6


def block(width: int, hidden: int | None = None) -> int:
    """Parameters of a transformer block: attention, MLP, two norms."""
    hidden = hidden or 4 * width
    return 4 * width * (width + 1) + hidden * (width + 1) + width * (hidden + 1) + 4 * width


@pytest.mark.parametrize("name", BASE)
def test_a_base_has_the_published_shape(name: str) -> None:
    """Tokens, hidden and visible ones, and millions of parameters of the encoder, where the paper states them."""
    tokens, hidden, encoder = {
        "eat_base": (512, 410, 86), "asda_base": (512, 410, 92),
        "data2vec_base": (512, 410, 86), "sslam_base": (512, 410, 86), "eat_large": (512, 384, 303),
        "m2d_base": (190, 133, 86), "matpac_base": (190, 133, 86), "audio_mae_base": (512, 410, 86),
        "maskspec_base": (496, 372, 86), "mae_ast_base": (512, 384, 86), "mae_ast_frame_base": (512, 384, 86),
        "crossmae_base": (512, 128, 86), "ssast_base": (512, 400, 86), "beats_base": (496, 372, 86),
        "beats_tokenizer_base": (496, None, 86), "beats_next_base": (496, 372, 86),
    }[name]  # fmt: skip
    recipe = recipes.get(name)
    frontend, stem = recipe.model.frontend, recipe.model.stem
    frames = frontend.frames(round(recipe.data.crop_seconds * frontend.rate))
    grid = (frames // stem.patch[0], frontend.bins // stem.patch[1])
    assert frames % stem.patch[0] == 0 and grid[0] * grid[1] == tokens
    if hidden:
        masks = draw_masks(recipe.method.masking, grid, torch.tensor([grid[0]]))
        assert masks.hidden.shape[2] == hidden
    method = on_meta(name)
    model = method.get_submodule(method.exported.removesuffix("."))
    assert numbers(model) / 1e6 == pytest.approx(encoder, rel=0.01)


def test_decoders_and_heads_are_as_large_as_published() -> None:
    """Computed layer by layer from the published sizes; EAT-Large's 309 M and BEATs' 90 M are published."""
    made = {name: on_meta(name) for name in BASE}
    mae = lambda depth, width, outputs: (  # MAE's decoder: entry, mask token, blocks, norm, head
        768 * width + width + width + depth * block(width) + 2 * width + outputs * (width + 1)
    )
    decoders = {"audio_mae_base": mae(16, 512, 256), "maskspec_base": mae(8, 512, 256), "m2d_base": mae(8, 512, 768)}
    decoders |= {"mae_ast_base": mae(2, 768, 512), "mae_ast_frame_base": mae(2, 768, 512)}
    for name, count in decoders.items():
        assert numbers(made[name].predictor) == count, name
    assert trained(made["eat_large"]) == pytest.approx(309, rel=0.01)
    positions = 768 * (768 // 16) * 128 + 768  # the convolution of positions that ours does not have
    assert (numbers(made["beats_base"].student) + positions) / 1e6 == pytest.approx(90, rel=0.01)
    head = 768 * 2048 + 2048 + 2048 * 2049 + 256 * 2049 + 2048 * (256 + 1)  # with a gain for each prototype
    assert numbers(made["matpac_base"].head) == head == numbers(made["matpac_base"].teacher_head)
    assert numbers(made["ssast_base"].heads) == 2 * (768 * 769 + 256 * 769)


def test_rates_and_weights_are_the_published_ones() -> None:
    published = {
        "audio_mae_base": (4e-4, 512), "maskspec_base": (2e-3, 512), "mae_ast_base": (1e-4, 52),
        "ssast_base": (1e-4, 24), "beats_base": (5e-4, 560), "beats_tokenizer_base": (5e-5, 140),
        "m2d_base": (2.4e-3, 2048), "atst_clip_base": (1.2e-3, 1536),
        "matpac_base": (3e-4, 2048), "sslam_base": (5e-5, 48), "data2vec_base": (1e-3, 256), "eat_large": (4e-4, 48),
    }  # fmt: skip
    assert {name: (recipes.get(name).optimizer.lr, recipes.get(name).data.batch) for name in published} == published
    weights = {name: recipes.get(name).method.losses for name in ("sslam_base", "data2vec_base", "eat_large")}
    sums = {"sslam_base": 12 * 8 * 2, "data2vec_base": 0.01 * 16 * 16, "eat_large": 12 * 16}
    assert {name: losses.utterance for name, losses in weights.items()} == pytest.approx(sums)
    asda = recipes.get("asda_base")
    assert (asda.steps, asda.steps * asda.optimizer.warmup) == (800_000, pytest.approx(106_666))
    assert (asda.method.losses.utterance, asda.steps * asda.method.teacher.ramp) == (0.5 * 12 * 16, 100_000)
    assert recipes.get("data2vec_base").optimizer.betas == (0.9, 0.95)
    assert recipes.get("m2d_base").model.frontend.triangles == "slaney"
    beats = recipes.get("beats_base").model.frontend
    assert beats.mean + 2 * np.log(2.0**15) == pytest.approx(15.41663, abs=1e-4) and beats.std == 2 * 6.55582


def test_tiny_systems_differ_from_aasp_tiny_in_method_and_stem_alone() -> None:
    tiny = recipes.get("aasp_tiny")
    for name in TINY:
        recipe = recipes.get(name)
        encoder = replace(recipe.model.encoder, attention=tiny.model.encoder.attention)  # ASDA's is its own
        assert (encoder, recipe.data, recipe.steps) == (tiny.model.encoder, tiny.data, tiny.steps), name
        assert recipe.model.frontend == tiny.model.frontend and recipe.model.window_seconds == 1.92
        tokens = 192 // recipe.model.stem.patch[0] * 128 // recipe.model.stem.patch[1]
        assert tokens == 96, name


SOME = ("matpac_tiny", "sslam_tiny", "beats_next_tiny")  # the others take as long and show no more


@pytest.mark.parametrize(
    "name", [name if name in SOME else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_a_system_is_planned(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ("--set", "model.encoder.depth=1", "model.vector=none", "data.batch=2")
    assert main(["plan", name, "--gpus", "1", "--utilisation", "0.4", *sizes]) == 0
    assert "student.encoder" in (shown := capsys.readouterr().out) or "tokenizer.encoder" in shown
