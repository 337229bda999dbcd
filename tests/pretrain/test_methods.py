"""EAT and M2D against what is published of them, and what every method must do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from aasp.config import flat, to_dict, with_fields
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain import recipes
from aasp.pretrain.encoding import encode_all, encode_visible, to_logmel
from aasp.pretrain.masking import draw_masks
from aasp.pretrain.methods import METHODS, Method
from aasp.pretrain.objective import build_objective
from aasp.pretrain.recipe import Recipe, comparable, inline_method
from aasp.pretrain.run import schedules_of
from aasp.pretrain.targets import averaged_layers, standardised_tokens
from plain import plain_tiny

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "own_method.py")
GRID = {"model.stem.patch": (16, 16), "model.window_seconds": 0.96, "data.crop_seconds": 0.975}
ADAMW = {"optimizer.lr": 1e-3, "optimizer.warmup": 0.1, "optimizer.matrices": "adamw"}
SIZES = {
    **GRID, **ADAMW, "model.encoder.width": 32, "model.encoder.depth": 2,
    "model.vector": "none", "model.encoder.heads": 2, "data.batch": 3,
}  # fmt: skip
FRAMES = {"model.stem.patch": (4, 128)}
SEGMENTS = {"seconds": 0.975, "data.crop_seconds": 1.95}
SMALL = {
    "aasp_tiny": {
        "predictor.width": 32,
        "predictor.heads": 2,
        "model.stem": "conv",
        "losses.projector": (32, 16),
        "codebook.count": 16,
    },
    "eat_tiny": {"predictor.depth": 2},
    "m2d_tiny": {"predictor.width": 32, "predictor.heads": 2},
    "byol_a_tiny": {"head": (32, 16)},
    "atst_frame_tiny": {"head": (32, 16), **FRAMES},
    "atst_clip_tiny": {"head": (32, 16), **FRAMES, **SEGMENTS},
    "cola_tiny": {"outputs": 16, **SEGMENTS},
    "lejepa_tiny": {"head": (32, 16), "gaussian": 0.05},
    "asit_tiny": {"head": (32, 16, 24), **SEGMENTS},
    f"{EXAMPLE}:recipe": {"predictor.width": 32, "predictor.heads": 2, "model.stem": "conv"},
}
OTHERS = {
    "matpac_tiny": {"predictor.width": 32, "predictor.heads": 2, "prototypes.hidden": 32, "prototypes.count": 24},
    "data2vec_tiny": {"predictor.depth": 2, "layers": 1},
    "sslam_tiny": {"predictor.depth": 2, "mixing.gaps": 0},
    "audio_mae_tiny": {"predictor.width": 32, "predictor.heads": 2},
    "mae_ast_tiny": {"predictor.width": 32, "predictor.heads": 2},
    "crossmae_tiny": {"predictor.width": 32, "predictor.heads": 2},
    "ssast_tiny": {},
    "beats_tiny": {"predictor.width": 32, "predictor.heads": 2, "tokenizer.count": 24},
}
CONVOLVED = ("eat_tiny", "sslam_tiny", "data2vec_tiny")
"""Whose decoder is of convolutions."""
TOKENIZER: dict[str, dict[str, object]] = {
    "beats_tokenizer_tiny": {"tokenizer.count": 24},
    "beats_next_tiny": {"predictor.width": 32, "predictor.heads": 2, "tokenizer.count": 24},
}


def small(name: str, **changes: object) -> Recipe:
    fields = {**SIZES, **(SMALL | OTHERS | TOKENIZER)[name], **changes}
    if fields.get("codebook") == "none":
        fields.pop("codebook.count", None)
    return with_fields(recipes.get(name), fields)


def build(name: str, **changes: object) -> Method:
    torch.manual_seed(0)
    return build_objective(small(name, **changes))


def batch(*samples: int, seed: int = 0) -> dict[str, Tensor]:
    """Noise with a modulation of its own in each clip."""
    generator = torch.Generator().manual_seed(seed)
    wave = torch.zeros(len(samples), max(samples))
    for k, length in enumerate(samples):
        swing = 1 + torch.sin(torch.arange(length) * (0.001 * (k + 1)))
        wave[k, :length] = 0.05 * swing * torch.randn(length, generator=generator)
    return {"wave": wave, "length": torch.tensor(samples)}


def numbers(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# What every method must do


@pytest.mark.parametrize("name", SMALL | OTHERS)
def test_trained_parameters_get_gradients_and_teachers_do_not(name: str) -> None:
    method = build(name)
    method(batch(20_000, 20_000, 20_000))["loss"].backward()
    for parameter_name, parameter in method.named_parameters():
        moved = parameter.grad is not None and parameter.grad.abs().sum() > 0
        assert moved != parameter_name.startswith(("teacher.", "teacher_head.")), parameter_name
        assert parameter.requires_grad == moved, parameter_name


@pytest.mark.parametrize("name", SMALL | OTHERS)
def test_a_batch_padded_further_has_the_same_losses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = build(name).eval()
    short, module = batch(12_000, 16_000, 9_000), __import__(type(method).__module__, fromlist=["draw_masks"])
    if hasattr(module, "draw_masks"):
        clips = to_logmel(next(part for part in method.modules() if isinstance(part, AudioEncoder)), short)
        # A mask of its own for each augmented view, or for each mixture.
        columns = clips.columns.repeat_interleave(2) if name in ("atst_frame_tiny", "asit_tiny") else clips.columns
        columns = columns.repeat(2) if name == "sslam_tiny" else columns
        if name == "asit_tiny":  # of two segments of six patches
            clips.grid, columns = (6, 8), columns.clamp(max=6)
        masks = draw_masks(method.config.masking, clips.grid, columns)
        monkeypatch.setattr(module, "draw_masks", lambda *_: masks)
    if name in CONVOLVED:  # the decoder's noise
        monkeypatch.setattr(torch, "randn", lambda *shape, device=None: torch.zeros(shape, device=device))
    longer = {"wave": nn.functional.pad(short["wave"], (0, 9_000)), "length": short["length"]}
    losses = []
    with torch.no_grad():
        for padded in (short, longer):
            torch.manual_seed(3)  # augmentations, directions, partners
            losses.append(method(padded)["losses"])
    first, second = losses
    if name in ("sslam_tiny", "data2vec_tiny"):
        assert second.pop("retention", 0.0) == pytest.approx(float(first.pop("retention", 0.0)), rel=0.05)
    if name in CONVOLVED:  # convolutions see the grid's edge: where padding begins, there was none
        assert second.pop("frame") == pytest.approx(float(first.pop("frame")), rel=0.05)
    for loss in first:
        torch.testing.assert_close(second[loss], first[loss], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_the_loss_of_a_toy_falls_and_a_teacher_follows(name: str) -> None:
    method, schedules = build(name).train(), schedules_of(small(name)).at(0)
    teacher = {key: value.clone() for key, value in method.state_dict().items() if key.startswith("teacher.")}
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], 2e-3)
    losses = []
    for _ in range(25):
        out = method(batch(16_000, 16_000, 12_000), diagnose=False)
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        method.after_step(schedules)
        losses.append(float((out["losses"]["reconstruction"] if name == "asit_tiny" else out["loss"]).detach()))
    # ASiT's prototypes are distinguished first, so that cross-entropies rise; of noise, little can be rebuilt.
    assert sum(losses[-5:]) < (0.9 if name == "asit_tiny" else 0.8) * sum(losses[:5])
    state = method.state_dict()
    moved = {key for key, value in teacher.items() if not torch.equal(value, state[key])}
    assert all(key in moved for key in teacher if key.endswith("blocks.0.mlp.0.weight"))


@pytest.mark.parametrize("name", ["eat_tiny", "m2d_tiny"])
def test_health_is_logged_and_collapse_is_detected(name: str) -> None:
    method = build(name)
    out = method(batch(16_000, 16_000, 16_000))
    out["loss"].backward()
    metrics = {key: float(value) for key, value in (out["diagnostics"] | method.gradient_diagnostics()).items()}
    assert {"target_variance", "prediction_variance", "embedding_rank", "ema_distance"} <= metrics.keys()
    assert method.check_health(metrics) is None
    assert build(name, **{"data.batch": 8}).check_health(metrics | {"embedding_rank": 1.0}) is not None
    torch.manual_seed(1)
    again = method(batch(16_000, 12_000, 16_000), diagnose=True)["loss"]
    torch.manual_seed(1)
    assert torch.equal(method(batch(16_000, 12_000, 16_000), diagnose=False)["loss"], again)


# EAT


def test_eat_has_the_published_numbers_of_parameters() -> None:
    """88 M in pre-training; 90.4 M with the table of fixed positions (768 x 8) and a head of 527 classes instead."""
    with torch.device("meta"):
        method = build_objective(recipes.get("eat_base"))
    encoder, width = numbers(method.student), 768
    mlp, norms = 4 * width * (width + 1) + width * (4 * width + 1), 4 * width
    block = 3 * width * (width + 1) + width * (width + 1) + mlp + norms
    assert encoder == 16 * 16 * width + width + width + 12 * block + 2 * width
    assert numbers(method.predictor) == 6 * (width * (width // 16) * 9 + width) + width * (width + 1)
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    assert round(trained / 1e6) == 88
    table, head = 768 * 8 * width, 527 * (width + 1)
    assert round((encoder + table + head) / 1e6, 1) == 90.4


def test_eat_masks_are_the_published_ones() -> None:
    """64 x 8 patches, sixteen clones, 102 visible in five blocks of 5 x 5, 410 hidden and all of them predicted."""
    masking = recipes.get("eat_base").method.masking
    assert int(512 * (masking.keep_ratio + masking.block_overlap) / masking.block**2) == 5
    masks = draw_masks(masking, (64, 8), torch.tensor([64, 64]))
    assert masks.visible.shape == (2, 16, 102) and masks.hidden.shape == (2, 16, 410)
    everything = torch.cat([masks.visible, masks.hidden], dim=-1).sort().values
    assert torch.equal(everything, torch.arange(512).expand(2, 16, 512))


def test_eat_schedules_are_the_published_ones() -> None:
    schedules = schedules_of(recipes.get("eat_base"))
    momentum, rate = schedules.arrays["momentum"], schedules.arrays["learning_rate"]
    assert momentum[0] == 0.9998 and momentum[100_000] == pytest.approx(0.99999) == momentum[-1]
    assert momentum[50_000] == pytest.approx((0.9998 + 0.99999) / 2)
    assert len(rate) == 400_000 and rate.argmax() in (53_332, 53_333) and rate.max() == pytest.approx(5e-4)


@torch.no_grad()
def test_eat_predicts_all_layers_of_a_teacher_that_sees_everything() -> None:
    method, data = build("eat_tiny").eval(), batch(16_000, 16_000, 12_000)
    with torch.no_grad():
        for parameter in method.student.parameters():  # the targets are not the student's
            parameter.add_(0.1 * torch.randn_like(parameter))
    clips = to_logmel(method.student, data)
    torch.manual_seed(5)
    out = method(data)
    torch.manual_seed(5)
    masks = draw_masks(method.config.masking, clips.grid, clips.columns)
    outputs = [x[:, 1:] for x in encode_all(method.teacher.model, clips, layers=True).ffn]
    assert len(outputs) == 2
    frame, summary = averaged_layers(outputs, clips.valid.float(), instance=True)
    x = encode_visible(method.student, clips, masks.visible, masks.visible_valid)
    predicted, cls = method.predictor.predict(x, masks, clips), x[:, 0].unflatten(0, (3, -1))
    errors, utterance = [], []
    for b in range(3):
        for v in range(masks.hidden.shape[1]):
            utterance.append((cls[b, v] - summary[b]).square().mean())
            own = masks.hidden_valid[b, v]
            errors += list((predicted[b, v][own] - frame[b, masks.hidden[b, v][own]]).square().mean(-1))
    torch.testing.assert_close(out["losses"]["frame"], torch.stack(errors).mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out["losses"]["utterance"], torch.stack(utterance).mean(), rtol=1e-4, atol=1e-5)


# M2D


def test_m2d_masks_are_the_published_ones() -> None:
    """0.7 of 5 x 38 patches: 133 hidden, which the target network sees, and 57 visible."""
    masks = draw_masks(METHODS.find("m2d")().masking, (38, 5), torch.tensor([38]))
    assert masks.visible.shape == (1, 1, 57) and masks.hidden.shape == (1, 1, 133)
    assert not set(masks.visible[0, 0].tolist()) & set(masks.hidden[0, 0].tolist())


def test_m2d_is_as_large_as_published() -> None:
    """ViT-Base of 85-86 M on both sides, a predictor of 8 x 512."""
    recipe = with_fields(recipes.get("eat_base"), {"method": "m2d"})
    with torch.device("meta"):
        method = build_objective(recipe)
    assert 85e6 < numbers(method.student) == numbers(method.teacher) < 86e6
    assert len(method.predictor.blocks) == 8 and method.predictor.mask_token.shape == (512,)
    assert schedules_of(recipe).at(0)["momentum"] == 0.99995
    assert schedules_of(recipe).at(recipe.steps - 1)["momentum"] == pytest.approx(0.99999, abs=1e-9)


@torch.no_grad()
def test_m2ds_target_network_sees_only_hidden_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    method, data = build("m2d_tiny").eval(), batch(16_000, 16_000, 16_000)
    clips = to_logmel(method.student, data)
    torch.manual_seed(5)
    masks = draw_masks(method.config.masking, clips.grid, clips.columns)
    seen: dict[str, list[Tensor]] = {"student": [], "teacher": []}
    for name, model in (("student", method.student), ("teacher", method.teacher.model)):
        encode = model.encoder.forward
        watch = lambda *a, name=name, encode=encode: seen[name].append(a[0].clone()) or encode(*a)
        monkeypatch.setattr(model.encoder, "forward", watch)
    noisy = clips.mel.clone()
    for b in range(3):  # noise where both views of a clip see: nothing of it may reach the target network
        for n in set(masks.visible[b, 0].tolist()) & set(masks.visible[b, 1].tolist()):
            block = noisy[b, (n // 8) * 16 : (n // 8 + 1) * 16, (n % 8) * 16 : (n % 8 + 1) * 16]
            block += torch.randn_like(block)
    for mel in (clips.mel, noisy):
        monkeypatch.setattr(method.student.frontend, "forward", lambda *_, mel=mel: (mel, torch.full((3,), 98)))
        torch.manual_seed(5)
        method(data)
    assert seen["teacher"][0].shape[:2] == (6, masks.hidden.shape[2])
    assert torch.equal(*seen["teacher"]) and not torch.equal(*seen["student"])


@torch.no_grad()
def test_m2d_compares_directions_of_standardised_tokens() -> None:
    method, data = build("m2d_tiny").eval(), batch(16_000, 16_000, 12_000)
    clips = to_logmel(method.student, data)
    torch.manual_seed(5)
    loss = method(data)["loss"]
    torch.manual_seed(5)
    masks = draw_masks(method.config.masking, clips.grid, clips.columns)
    predicted = method.predictor.predict(
        encode_visible(method.student, clips, masks.visible, masks.visible_valid), masks, clips
    )
    target = encode_visible(method.teacher.model, clips, masks.hidden, masks.hidden_valid)[:, 1:]
    target = standardised_tokens(target).unflatten(0, masks.hidden.shape[:2])
    p, t = (x[masks.hidden_valid] for x in (predicted, target))
    unit = lambda x: x / x.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(loss, (unit(p) - unit(t)).square().sum(-1).mean(), rtol=1e-4, atol=1e-5)


def test_m2d_refuses_to_predict_a_part() -> None:
    with pytest.raises(AaspError, match=r"masking: predicted is 0\.5: the target network sees what is predicted"):
        small("m2d_tiny", **{"masking.predicted": "0.5"})


# Recipes


def test_a_recipe_of_before_has_the_fingerprint_that_it_had() -> None:
    """A recipe.json, and its fingerprint, by the code before there were methods (commit 552322a)."""
    before = json.loads((Path(__file__).parent / "recorded" / "recipe_before_methods.json").read_text())
    changes = {"masking.views": "2", "teacher.frame": "patches", "predictor.depth": "1", "losses.projector": "64,32"}
    recipe = with_fields(plain_tiny(), {**changes, "model.stem": "conv"})
    assert recipe.fingerprint == before["fingerprint"]
    masking = before["recipe"]["masking"]
    masking |= {"keep_ratio": masking.pop("visible"), "block_overlap": masking.pop("surplus")}
    assert flat(comparable(before["recipe"])) == flat(comparable(to_dict(recipe)))
    assert plain_tiny().fingerprint == "4951215e678bee12"
    others = {with_fields(recipe, {"masking.views": "3"}).fingerprint, recipes.get("eat_tiny").fingerprint}
    assert before["fingerprint"] not in others and len(others) == 2


@pytest.mark.parametrize("name", SMALL | OTHERS)
def test_a_recipes_document_holds_every_field(name: str) -> None:
    document = to_dict(small(name))
    assert inline_method(document)["method"] == document["method"]["kind"]
    own = [field for field in document["method"] if field != "kind"]
    assert own and all(inline_method(document)[field] == document["method"][field] for field in own)
    assert inline_method(document).keys() == document.keys() | document["method"].keys() - {"kind"}


def test_a_method_s_fields_are_set_with_and_without_its_name() -> None:
    tiny = recipes.get("aasp_tiny")
    assert with_fields(tiny, {"masking.views": "2"}) == with_fields(tiny, {"method.masking.views": "2"})
    for settings in ({"method": "eat", "predictor.groups": "8"}, {"predictor.groups": "8", "method": "eat"}):
        recipe = with_fields(tiny, settings)
        assert (recipe.method.kind, recipe.method.predictor.groups) == ("eat", 8)
    own = with_fields(tiny, {"method": f"{EXAMPLE}:AutoencoderConfig", "masking.keep_ratio": "0.5"})
    assert type(own.method).__name__ == "AutoencoderConfig" and own.method.masking.keep_ratio == 0.5
    assert own.fingerprint != tiny.fingerprint


@pytest.mark.parametrize(
    ("recipe", "settings", "message"),
    [
        ("aasp_tiny", {"maskin.views": "2"}, "--set maskin.views: unknown field 'maskin'; did you mean 'masking'?"),
        ("aasp_tiny", {"optimzer.lr": "2"}, "--set optimzer.lr: unknown field 'optimzer'; did you mean 'optimizer'?"),
        ("aasp_tiny", {"masking.vews": "2"}, "unknown field 'vews'; did you mean 'views'?"),
        ("aasp_tiny", {"method": "eet"}, "; did you mean 'eat'? A method of your own is package.module:Name"),
        ("aasp_tiny", {"method.loses": "1"}, "did you mean 'losses'?"),
        ("m2d_tiny", {"losses.utterance": "2"}, "'losses' is a field of aasp and eat and "),
        ("eat_tiny", {"losses.contrastive": "2"}, "unknown field 'contrastive'; known: frame, utterance"),
        ("eat_tiny", {"losses.frame": "0", "losses.utterance": "0"}, "frame and utterance are both 0"),
        ("eat_tiny", {"masking.scheme": "block"}, "'block' is not one of inverse-block, random, structured"),
        ("m2d_tiny", {"predictor.form": "cros"}, "'cros' is not one of cross, self, conv"),
        (f"{EXAMPLE}:recipe", {"teacher.momentum": "0"}, "'teacher' is a field of aasp and eat"),
        (f"{EXAMPLE}:recipe", {"maskng.views": "2"}, "did you mean 'masking'?"),
    ],
)
def test_a_wrong_field_of_a_method_is_one_line(recipe: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(AaspError) as error:
        with_fields(recipes.get(recipe), settings)
    assert message in str(error.value) and "\n" not in str(error.value)


OWN = """
from dataclasses import dataclass, replace
from aasp.pretrain import recipes
from aasp.pretrain.methods import MethodConfig
import torch
number = 3
def nothing(): pass
def failing(): return 1 / 0
def asking(what): return what
def unset(): return replace(recipes.aasp_tiny(), method=Mine())
def nameless(): return replace(recipes.aasp_tiny(), method=Mine(exported="student."))
@dataclass(frozen=True)
class Mine(MethodConfig):
    exported: str = ""
    def build(self, recipe, gather):
        module = recipes.aasp_tiny().method.build(recipe, gather) if self.exported else torch.nn.Linear(1, 1)
        if self.exported:
            module.exported = "model."
        return module
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("number", "is of type int, not Recipe"),
        ("nothing", "is of type NoneType, not Recipe"),
        ("failing", "ZeroDivisionError: division by zero; fix it"),
        ("asking", "can't be made: TypeError"),
        ("nothin", "has no nothin; did you mean 'nothing'?"),
        ("unset", "method mine_{}:Mine: its build returns a Linear; let it return a aasp.pretrain.methods"),
        ("nameless", "method mine_{}:Mine: exported is 'model.', where it has no AudioEncoder"),
    ],
)
def test_a_wrong_user_recipe_is_one_line(name: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / f"mine_{name}.py"
    file.write_text(OWN)
    with pytest.raises(AaspError) as error:
        build_objective(recipes.get(f"{file}:{name}"))
    assert message.format(name) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    ["aasp_tiny", "aasp_tiny mamba", "aasp_tiny s4d", "audio_mae_tiny", "crossmae_tiny", "eat_tiny", "beats_tiny"],
)
def test_gradients_of_layer_norms_are_whole_under_autocast(name: str) -> None:
    """A bf16 input makes torch's CPU kernel add the gradients of many tokens in bf16: most of the sum is lost."""
    recipe_name, _, stem = name.partition(" ")
    recipe = recipes.get(recipe_name)
    recipe = with_fields(recipe, {"model.stem": stem}) if stem else recipe
    torch.manual_seed(0)
    objective = build_objective(recipe).train()
    for stem_module in (one.stem for one in objective.modules() if isinstance(one, AudioEncoder)):
        if hasattr(stem_module, "fuse"):  # zero at first: no gradient would reach the norm
            torch.nn.init.normal_(stem_module.fuse.weight, std=0.1)
    sums: dict[torch.nn.LayerNorm, list[torch.Tensor]] = {}

    def watch(norm: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        if isinstance(norm, torch.nn.LayerNorm) and output.requires_grad:
            of = sums.setdefault(norm, [])
            output.register_hook(lambda gradient: of.append(gradient.double().flatten(0, -2).sum(0)))

    for module in objective.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.register_forward_hook(watch)
    samples = round(recipe.data.crop_seconds * recipe.model.frontend.rate)
    wave = 0.1 * torch.randn(16, samples) * torch.linspace(0.1, 1, 16)[:, None]
    with torch.autocast("cpu", torch.bfloat16):
        out = objective({"wave": wave, "length": torch.full((16,), samples)}, False)
    out["loss"].backward()
    assert len(sums) > 10
    for norm, of in sums.items():
        if norm.bias is not None and norm.bias.requires_grad and of:
            whole = torch.stack(of).sum(0)
            assert norm.bias.grad is not None
            assert float((norm.bias.grad - whole).norm() / whole.norm()) < 0.02
