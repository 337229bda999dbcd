"""BYOL-A, ATST, COLA and the reference after LeJEPA against what is published of them, trained, stopped and resumed."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from test_methods import batch, build, numbers
from torch import Tensor

import aasp
from aasp.cli.main import main
from aasp.config import with_fields
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.planning.step import step_cost
from aasp.pretrain import recipes
from aasp.pretrain.augment import augmented, corrupted, repeated, swapped
from aasp.pretrain.encoding import encode_all, encode_masked, mean_tokens, to_logmel
from aasp.pretrain.initial import Initial
from aasp.pretrain.masking import draw_masks
from aasp.pretrain.objective import build_objective
from aasp.pretrain.run import schedules_of
from aasp.pretrain.segments import segments
from aasp.training import checkpoint
from aasp.training.tracking import read_metrics

NAMES = ("byol_a", "atst_frame", "atst_clip", "cola", "lejepa", "asda", "asit")
OTHERS = [name for name in NAMES if name != "atst_frame"]


def unit(x: Tensor) -> np.ndarray:
    x = x.double().numpy()
    return x / np.sqrt((x * x).sum(-1, keepdims=True))


# What is published


@pytest.mark.parametrize(
    ("name", "front", "tokens", "batch", "momentum"),
    [
        ("byol_a_base", (64, 1024, 160), (6, 4), 256, (0.99, 0.99)),
        ("atst_frame_base", (64, 1024, 160), (250, 1), 864, (0.9996, 1.0)),
        ("atst_clip_base", (64, 1024, 160), (150, 1), 1536, (0.9995, 1.0)),
        ("cola_base", (64, 400, 160), (6, 4), 1024, None),
        ("asit_base", (128, 400, 160), (37, 8), 48, (0.996, 1.0)),
        ("asda_base", (128, 400, 160), (64, 8), 48, (0.9998, 0.99999)),
    ],
)
def test_base_recipes_have_the_published_numbers(
    name: str, front: tuple, tokens: tuple, batch: int, momentum: tuple | None
) -> None:
    recipe = recipes.get(name)
    with torch.device("meta"):
        method = build_objective(recipe)
    encoder = dict(method.named_modules())[method.exported.removesuffix(".")]
    f = recipe.model.frontend
    assert (f.mels, f.window, f.hop) == front and recipe.data.batch == batch
    bins = ("hertz", True) if name[:4] in ("byol", "atst") else ("mel", False)  # and whether frames are centred
    assert (f.triangles, f.centered) == bins
    assert recipe.model.encoder.drop_path == (0.1 if name[:4] in ("atst", "asit") else 0.0)
    seconds = getattr(recipe.method, "seconds", recipe.data.crop_seconds)
    assert encoder.stem.grid(f.frames(round(seconds * f.rate))) == tokens
    size = 92.3e6 if name == "asda_base" else 85.4e6  # twice the queries and keys, MLPs of 3.5 times the width
    assert numbers(encoder) == pytest.approx(size, rel=0.01), "ViT-Base"
    schedules = schedules_of(recipe)
    if momentum is None:
        assert "momentum" not in schedules.arrays
    else:
        ends = schedules.at(0)["momentum"], schedules.at(recipe.steps - 1)["momentum"]
        assert ends == pytest.approx(momentum, abs=1e-7)


def test_heads_are_as_large_as_byol_s() -> None:
    """4,096 and 256 with batch norm, behind 768 and behind 256; COLA's projection to 512 and its bilinear form."""
    with torch.device("meta"):
        byol, cola = (build_objective(recipes.get(name)) for name in ("byol_a_base", "cola_base"))
    head = lambda width: width * 4096 + 2 * 4096 + 4096 * 256 + 256
    assert numbers(byol.student.projector) == head(768) and numbers(byol.predictor) == head(256)
    assert numbers(cola.projector) == 768 * 512 + 3 * 512 and numbers(cola.similarity) == 512 * 512


@pytest.mark.parametrize(("name", "grid", "hidden"), [("atst_frame", (250, 1), 0.65), ("asit", (37, 8), 0.7)])
def test_the_published_share_of_tokens_is_hidden_in_groups(name: str, grid: tuple[int, int], hidden: float) -> None:
    masking, count = recipes.get(f"{name}_base").method.masking, grid[0] * grid[1]
    masks = draw_masks(masking, grid, torch.tensor([grid[0]]))
    assert masks.hidden.shape == (1, 1, count - round((1 - hidden) * count)) and masking.block == 5
    assert masks.hidden.shape[2] == pytest.approx(hidden * count, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_tiny_recipes_compare_with_aasp_tiny(name: str) -> None:
    tiny, ours = recipes.get(f"{name}_tiny"), recipes.get("aasp_tiny")
    assert (tiny.optimizer, tiny.steps, tiny.seed) == (ours.optimizer, ours.steps, ours.seed)
    crops = 2 if name in ("cola", "atst_clip", "asit") else 1
    assert tiny.data == dataclasses.replace(ours.data, crop_seconds=crops * ours.data.crop_seconds)
    assert tiny.model.frontend == ours.model.frontend and tiny.model.window_patches * tiny.model.stem.patch[0] == 192
    size = lambda recipe: dataclasses.replace(recipe.model.encoder, attention=ours.model.encoder.attention)
    assert size(tiny) == ours.model.encoder


# What is compared


@torch.no_grad()
def test_byol_a_compares_each_view_with_the_average_s_of_the_other() -> None:
    method, data = build("byol_a_tiny").eval(), batch(16_000, 12_000, 16_000)
    for parameter in method.student.parameters():  # the targets are not the student's
        parameter.add_(0.1 * torch.randn_like(parameter))
    torch.manual_seed(5)
    loss = method(data)["loss"]
    torch.manual_seed(5)
    pairs = augmented(to_logmel(method.student.encoder, data), method.config.augment, method.gather)
    mean = lambda network: mean_tokens(encode_all(network.encoder, pairs).last, pairs)
    z = unit(method.predictor(method.student.projector(mean(method.student))))
    t = unit(method.teacher.model.projector(mean(method.teacher.model)))
    terms = [((z[2 * b + v] - t[2 * b + 1 - v]) ** 2).sum() for b in range(3) for v in range(2)]
    assert float(loss) == pytest.approx(np.mean(terms), rel=1e-4)
    token_mean = encode_all(method.student.encoder, pairs).last[2, 1:][pairs.valid[2]].mean(0)
    torch.testing.assert_close(mean(method.student)[2], token_mean, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_atst_frame_compares_hidden_frames_with_a_teacher_s_that_sees_everything() -> None:
    method, data = build("atst_frame_tiny").eval(), batch(16_000, 12_000, 16_000)
    torch.manual_seed(5)
    loss = method(data)["loss"]
    torch.manual_seed(5)
    clips = to_logmel(method.student.encoder, data)
    second, pairs = augmented(clips, method.config.augment, method.gather, views=1), repeated(clips, 2)
    pairs.mel[1::2] = second.mel  # the first view is the clip itself
    assert not torch.equal(second.mel, clips.mel)
    masks = draw_masks(method.config.masking, pairs.grid, pairs.columns)
    x = encode_masked(method.student.encoder, pairs, masks, method.mask_token)[:, 1:]
    tokens = encode_all(method.teacher.model.encoder, pairs).last[:, 1:]
    places = [(c, n) for c in range(6) for n in masks.hidden[c, 0][masks.hidden_valid[c, 0]].tolist()]
    assert len(places) == 2 * (25 - 9 + 19 - 7 + 25 - 9)
    z = unit(method.predict(torch.stack([x[c, n] for c, n in places])))
    t = unit(method.target(torch.stack([tokens[c ^ 1, n] for c, n in places])))
    assert float(loss) == pytest.approx(((z - t) ** 2).sum(-1).mean(), rel=1e-4)


@torch.no_grad()
def test_atst_clip_compares_class_tokens_of_two_segments() -> None:
    method, data = build("atst_clip_tiny").eval(), batch(32_000, 12_000, 32_000)
    torch.manual_seed(5)
    loss = method(data)["loss"]
    torch.manual_seed(5)
    encoder = method.student.encoder
    pairs = segments(encoder, to_logmel(encoder, data), 0.975)
    assert pairs.mel.shape[1] == 96
    pairs = augmented(pairs, method.config.augment, method.gather, views=1, segments=2)
    z = unit(method.predict(encode_all(encoder, pairs).last[:, 0]))
    t = unit(swapped(method.target(encode_all(method.teacher.model.encoder, pairs).last[:, 0])))
    assert float(loss) == pytest.approx(((z - t) ** 2).sum(-1).mean(), rel=1e-4)


@torch.no_grad()
def test_cola_finds_the_other_segment_of_a_clip_among_all() -> None:
    method, data = build("cola_tiny").eval(), batch(32_000, 12_000, 32_000)
    torch.manual_seed(5)
    loss = method(data)["loss"]
    torch.manual_seed(5)
    pairs = segments(method.student, to_logmel(method.student, data), 0.975)
    g = method.projector(mean_tokens(encode_all(method.student, pairs).last, pairs)).double().numpy()
    w = method.similarity.weight.double().numpy()
    terms = []
    for b in range(3):
        scores = np.array([g[2 * b] @ w @ g[2 * c + 1] for c in range(3)])
        terms.append(np.log(np.exp(scores).sum()) - scores[b])
    assert float(loss) == pytest.approx(np.mean(terms), rel=1e-4)


@torch.no_grad()
def test_asit_reconstructs_corrupted_patches_and_predicts_the_teacher() -> None:
    method, data = build("asit_tiny").eval(), batch(32_000, 12_000, 32_000)
    for centre in method.centres:
        centre.mean.normal_()
    torch.manual_seed(5)
    found = method(data)["losses"]
    torch.manual_seed(5)
    student, teacher = method.student, method.teacher.model
    pairs = segments(student.encoder, to_logmel(student.encoder, data), 0.975)
    masks = draw_masks(method.config.masking, pairs.grid, pairs.columns)
    x = encode_all(student.encoder, dataclasses.replace(pairs, mel=corrupted(pairs, masks, (16, 16), segments=2))).last
    y = encode_all(teacher.encoder, pairs).last
    softmax = lambda z: (np.exp(z - z.max()) / np.exp(z - z.max()).sum()).astype(np.float64)
    cross_entropy = lambda s, t, k: (
        -(softmax((t - method.centres[k].mean).numpy() / 0.04) * np.log(softmax(s.numpy() / 0.1))).sum()
    )
    rebuilt, local = [], []
    for c in range(6):
        for n in masks.hidden[c, 0][masks.hidden_valid[c, 0]].tolist():
            patch = pairs.mel[c, n // 8 * 16 : n // 8 * 16 + 16, n % 8 * 16 : n % 8 * 16 + 16].flatten()
            rebuilt.append((method.decoder(x[c, 1 + n])[: len(patch)] - patch).abs().mean())
            local.append(cross_entropy(student.local(x[c, 1 + n]), teacher.local(y[c, 1 + n]), 0))
    across = [cross_entropy(student.whole(x[c, 0]), teacher.whole(y[c ^ 1, 0]), 1) for c in range(6)]
    assert float(found["reconstruction"]) == pytest.approx(float(np.mean(rebuilt)), rel=1e-4)
    assert float(found["local"]) == pytest.approx(np.mean(local), rel=1e-3)
    assert float(found["global"]) == pytest.approx(np.mean(across), rel=1e-3)


@pytest.mark.parametrize("name", ["byol_a_tiny", "cola_tiny", "lejepa_tiny"])
def test_a_clip_alone_is_refused_in_one_line(name: str) -> None:
    recipe = with_fields(recipes.get(name), {"data.batch": "1"})
    with pytest.raises(AaspError, match=r"data\.batch is 1: .*; give 2 or more"):
        build_objective(recipe)
        recipe.method.check(recipe, 1)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("atst_frame_tiny", {"masking.views": "2"}, "masking.views is 2: what is encoded whole has one mask"),
        ("asit_tiny", {"masking.views": "2"}, "masking.views is 2: what is encoded whole has one mask"),
        ("lejepa_tiny", {"masking.views": "1"}, "masking.views is 1: a single view has nothing to agree with"),
        ("lejepa_tiny", {"masking.predicted": "0.5"}, "predicted is 0.5: nothing is predicted of what is hidden"),
        ("byol_a_tiny", {"augment.mixup": "1"}, "mixup"),
        ("byol_a_tiny", {"augment.time": "1.5,0.6"}, "augment: time is 1.5,0.6; give the lower bound first"),
        ("cola_tiny", {"outputs": "0"}, "outputs"),
    ],
)
def test_settings_that_make_no_sense_are_one_line(name: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(AaspError) as error:
        with_fields(recipes.get(name), settings)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("source", "target"), [("byol_a_tiny", "eat_tiny"), ("eat_tiny", "byol_a_tiny")])
def test_methods_that_nest_their_encoders_otherwise_start_from_each_other(source: str, target: str) -> None:
    theirs, ours = build(source), build(target)
    model = dict(theirs.named_modules())[theirs.exported.removesuffix(".")]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    facts = {"model": "run", "recipe": source, "step": 1, "model_hash": "0" * 16, "weights": "a run's"}
    lines = Initial(facts, model, theirs.state_dict()).load_into(ours)
    assert "taken: student and teacher: " in lines[1]
    for encoder in (part for part in ours.modules() if isinstance(part, AudioEncoder)):
        assert all(torch.equal(own, model.state_dict()[name]) for name, own in encoder.state_dict().items())


# Runs


def small(name: str, batch: int = 4) -> dict[str, str]:
    sizes = {
        "model.encoder.width": "16",
        "model.encoder.depth": "1",
        "model.vector": "none",
        "model.encoder.heads": "2",
    }
    own = {"masking.views": "2"} if name == "asda" else {"outputs": "8"} if name == "cola" else {"head": "16,8"}
    own = {"head": "16,8,8"} if name == "asit" else own
    seconds = {"seconds": "0.3"} if name in ("cola", "atst_clip", "asit") else {}
    return sizes | own | seconds | {"data.batch": str(batch), "data.crop_seconds": "0.5"}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    for k in range(6):
        noise = 0.1 * np.random.default_rng(k).standard_normal(12_000 - 1_000 * k)
        soundfile.write(folder / f"{k}.wav", noise, 16_000)
    return folder


def words(name: str, sounds: Path, out: Path, steps: int) -> list[str]:
    settings = [f"{field}={value}" for field, value in small(name).items()]
    more = (f"--steps={steps}", "--threads=1", "--precision=fp32", "--log-every=1", "--checkpoint-every=2")
    return ["pretrain", f"{name}_tiny", "--data", str(sounds), "--out", str(out), *more, "--set", *settings]


def outcome(run: Path) -> tuple[list[dict], dict[str, bytes]]:
    last = checkpoint.load(checkpoint.latest(run))
    clock = {"seconds", "clips_per_second", "waiting_share"}
    lines = [{key: value for key, value in line.items() if key not in clock} for line in read_metrics(run)]
    return lines, {name: tensor.numpy().tobytes() for name, tensor in last.model.items()}


@pytest.mark.parametrize("name", ["atst_frame", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_a_run_resumes_exactly_and_its_encoder_loads(name: str, sounds: Path, tmp_path: Path) -> None:
    run, line = tmp_path / "run", words(name, sounds, tmp_path / "run", 4)
    assert main(line) == 0
    whole = outcome(run)
    shutil.rmtree(run / "checkpoints/step-00000004")  # as a kill between two checkpoints leaves it
    assert main(line) == 0
    assert outcome(run) == whole
    model = aasp.load(run)
    assert torch.isfinite(model(0.1 * torch.randn(1, 20_000)).clip).all()
    exported = {key.rpartition("encoder.class_token")[0] for key in whole[1] if key.endswith("encoder.class_token")}
    prefix = "student." if name in ("cola", "lejepa", "asda", "byol_a") else "teacher.model."
    prefix = prefix + "encoder." if name in ("atst_frame", "atst_clip", "asit", "byol_a") else prefix
    assert prefix in exported
    kept = whole[1][f"{prefix}encoder.class_token"]
    assert model.encoder.class_token.detach().numpy().tobytes() == kept


@pytest.mark.parametrize("name", NAMES)
def test_a_step_can_be_planned_without_data(name: str) -> None:
    cost = step_cost(with_fields(recipes.get(f"{name}_tiny"), small(name)), gpus=2)
    encoder = "student.encoder" if name in ("asda", "cola", "lejepa") else "student.encoder.encoder"
    assert cost.parts[encoder].forward > 0 and cost.parts[encoder].backward >= 1.9 * cost.parts[encoder].forward
    count_of_patches = 2 * 4  # bytes: a number of each process
    assert cost.trained > 0 and (cost.gathered > count_of_patches) == (name != "asda")


@pytest.mark.slow
def test_two_processes_train_every_method(sounds: Path, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import json, sys\nfrom aasp.cli.main import main\n"
        "sys.exit(max(main(line) for line in json.loads(sys.argv[1])))\n"
    )
    lines = [[*words(name, sounds, tmp_path / name, 2), "data.batch=4"] for name in NAMES]
    source = str(Path(aasp.__file__).parents[1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": source}
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", str(script), json.dumps(lines)]
    done = subprocess.run([sys.executable, *launch], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    for name in NAMES:
        assert [line["step"] for line in read_metrics(tmp_path / name)] == [1, 2]
        assert all(np.isfinite(line["loss"]) for line in read_metrics(tmp_path / name))
