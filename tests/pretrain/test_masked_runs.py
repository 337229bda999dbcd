"""Masked systems learn, continue exactly, and begin with each other's weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from test_masked_parts import unit
from test_methods import OTHERS, SIZES, TOKENIZER, batch, build

import aasp
from aasp.cli.main import main
from aasp.errors import AaspError
from aasp.model.positions import sincos_positions
from aasp.pretrain.encoding import encode_all, to_logmel
from aasp.pretrain.initial import Initial
from aasp.pretrain.methods import Method
from aasp.training.checkpoint import latest, read_tensors
from aasp.training.tracking import read_metrics

# Learning


@pytest.mark.parametrize("name", OTHERS)
def test_the_loss_of_a_toy_falls(name: str) -> None:
    method, data = build(name).train(), batch(12_000, 12_000, 9_000)
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], 5e-3)
    losses = []
    for _ in range(8):
        out = method(data, diagnose=False)
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        losses.append(out["loss"].item())
    assert sum(losses[-3:]) < 0.85 * sum(losses[:3]), losses


def test_only_targets_that_move_can_collapse() -> None:
    """Patches and their labels stay: a rank near one, as early steps have it, must not end a run."""
    stopped = {name for name in OTHERS if build(name, **{"data.batch": 8}).check_health({"embedding_rank": 1.0})}
    assert stopped == {"matpac_tiny", "data2vec_tiny", "sslam_tiny"}


# Tokenizers


def test_a_tokenizer_needs_something_to_be_distilled_from() -> None:
    with pytest.raises(AaspError, match=r"tokenizer distilled: its weights are random.*--from a run of .*beats_tok"):
        build("beats_next_tiny")(batch(12_000, 12_000))
    with pytest.raises(AaspError, match="beats_tokenizer: the teacher's weights are random; give --from"):
        build("beats_tokenizer_tiny")(batch(12_000, 12_000))


def test_a_further_tokenizer_starts_as_its_teacher() -> None:
    """A run of the model before holds the previous tokenizer under the same names."""
    before, method = build("beats_next_tiny"), build("beats_tokenizer_tiny")
    with torch.no_grad():
        for parameter in before.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    centres = method.tokenizer.codebook.centres.clone()
    facts = {"model": "run", "recipe": "beats_next_tiny", "step": 1, "model_hash": "0" * 16, "weights": "a run's"}
    Initial(facts, before.student, before.state_dict(), before.exported).load_into(method)
    model = before.student.state_dict()
    for encoder in (method.teacher, method.tokenizer.encoder):
        assert all(torch.equal(own, model[name]) for name, own in encoder.state_dict().items())
    assert torch.equal(method.tokenizer.codebook.centres, centres)
    resumed = build("beats_tokenizer_tiny")
    Initial(facts, method.tokenizer.encoder, method.state_dict(), method.exported).load_into(resumed)
    assert all(torch.equal(own, method.state_dict()[name]) for name, own in resumed.state_dict().items())


def distiller() -> Method:
    method = build("beats_tokenizer_tiny")
    with torch.no_grad():
        for parameter in method.teacher.parameters():  # what --from does
            parameter.add_(0.1 * torch.randn_like(parameter))
    return method


def test_codes_predict_the_teachers_tokens() -> None:
    method, data = distiller(), batch(16_000, 16_000, 12_000)
    method.train()(data)  # the codebook begins
    clips = to_logmel(method.teacher, data)
    with torch.no_grad():
        out = method.eval()(data)
        vectors = method.tokenizer.vectors(clips, method.teacher.stem)
        directions = unit(method.tokenizer.codebook.centres.numpy())
        codes = method.tokenizer(clips, method.teacher.stem).numpy()
        near = vectors.double().numpy() @ directions.T  # of two that are equally near, rounding chooses
        np.testing.assert_allclose(np.take_along_axis(near, codes[..., None], -1)[..., 0], near.max(-1), atol=1e-5)
        x = method.enter(torch.tensor(directions[codes])) + sincos_positions((7, 8), 32)
        for each in method.estimator:
            x, _ = each(x, clips.valid)
        predicted, target = method.head(x).numpy(), encode_all(method.teacher, clips).last[:, 1:].numpy()
    there = clips.valid.numpy()
    cosine = (unit(predicted) * unit(target)).sum(-1)[there]
    distance = ((vectors.numpy() - directions[codes]) ** 2).sum(-1)[there]
    assert float(out["losses"]["distillation"]) == pytest.approx(1 - cosine.mean(), rel=1e-4)
    assert float(out["losses"]["commitment"]) == pytest.approx(distance.mean(), rel=1e-3)


def test_a_tokenizer_learns_and_its_teacher_does_not() -> None:
    method, data = distiller().train(), batch(12_000, 12_000, 9_000)
    method(data)["loss"].backward()
    for name, parameter in method.named_parameters():
        moved = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert moved != name.startswith("teacher."), name
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], 2e-3)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = method(data, diagnose=False)["loss"]
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]
    health = {name: float(value) for name, value in method(data)["diagnostics"].items()}
    assert method.check_health(health) is None and "code" in str(method.check_health(health | {"codes_used": 1.0}))


# Runs


def run(recipe: str, sounds: Path, out: Path, *more: str, **changes: object) -> list[dict[str, float]]:
    """`aasp pretrain` at toy size, four steps with a checkpoint after two; its record without the clock."""
    sizes = {**SIZES, **(OTHERS | TOKENIZER)[recipe], "data.batch": 4, "data.crop_seconds": 0.5, **changes}
    words = ["pretrain", recipe, "--data", str(sounds), "--out", str(out), "--steps", "4", "--log-every=1"]
    words += ["--threads=1", "--checkpoint-every=2", "--precision=fp32", *more, "--set"]
    assert main([*words, *(f"{name}={value}" for name, value in sizes.items())]) == 0
    clock = {"seconds", "clips_per_second", "waiting_share"}
    return [{name: value for name, value in line.items() if name not in clock} for line in read_metrics(out)]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, random = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for k in range(8):
        soundfile.write(folder / f"{k}.wav", 0.1 * random.standard_normal(16_000), 16_000)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_a_run_resumes_exactly_and_its_model_loads(name: str, sounds: Path, tmp_path: Path) -> None:
    whole = run(name, sounds, tmp_path / "whole")
    half = next(path for path in sorted((tmp_path / "whole" / "checkpoints").iterdir()) if "2" in path.name)
    again = run(name, sounds, tmp_path / "again", "--resume", str(half))
    assert again[-2:] == whole[-2:] and len(whole) == 4
    ends = [read_tensors(latest(tmp_path / out) / "model.safetensors") for out in ("whole", "again")]
    assert all(torch.equal(tensor, ends[1][key]) for key, tensor in ends[0].items())
    model = aasp.load(tmp_path / "whole")
    assert model(torch.randn(1, 16_000)).clip.shape == (1, 32)


@pytest.mark.slow
def test_beats_tokenizer_and_next_iteration_resume_exactly(sounds: Path, tmp_path: Path) -> None:
    """What `--from` brought is in the checkpoint: the tokenizer's teacher, and the labels of the next iteration."""
    run("beats_tiny", sounds, tmp_path / "first")
    start = tmp_path / "first"
    for name in ("beats_tokenizer_tiny", "beats_next_tiny"):
        out, again = tmp_path / name, tmp_path / f"{name}-again"
        whole = run(name, sounds, out, "--from", str(start))
        half = next(path for path in sorted((out / "checkpoints").iterdir()) if "2" in path.name)
        assert run(name, sounds, again, "--resume", str(half))[-2:] == whole[-2:] and len(whole) == 4
        ends = [read_tensors(latest(place) / "model.safetensors") for place in (out, again)]
        assert ends[0].keys() == ends[1].keys()
        assert all(torch.equal(tensor, ends[1][key]) for key, tensor in ends[0].items())
        start = out


@pytest.mark.slow
def test_beats_goes_from_iteration_to_iteration(sounds: Path, tmp_path: Path) -> None:
    first, tokens, second, more = (tmp_path / name for name in ("first", "tokens", "second", "more"))
    run("beats_tiny", sounds, first)
    run("beats_tokenizer_tiny", sounds, tokens, "--from", str(first))
    run("beats_next_tiny", sounds, second, "--from", str(tokens))
    run("beats_tokenizer_tiny", sounds, more, "--from", str(second))
    of = lambda out: read_tensors(latest(out) / "model.safetensors")
    states = {out: of(out) for out in (first, tokens, second, more)}
    for teacher, whose in ((tokens, first), (more, second)):
        mine = [key for key in states[teacher] if key.startswith("teacher.")]
        theirs = [key.replace("teacher.", "student.", 1) for key in mine]
        both = zip(mine, theirs, strict=True)
        assert mine and all(torch.equal(states[teacher][ours], states[whose][other]) for ours, other in both)
    kept = {key: value for key, value in states[tokens].items() if key.startswith("tokenizer.")}
    assert kept and all(torch.equal(value, states[second][key]) for key, value in kept.items()), "labels stay"
    assert not torch.equal(states[more]["tokenizer.codebook.centres"], kept["tokenizer.codebook.centres"])


@pytest.mark.slow
def test_sslam_starts_from_eat(sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("data2vec_tiny", sounds, tmp_path / "eat", method="eat")
    run("sslam_tiny", sounds, tmp_path / "sslam", "--from", str(tmp_path / "eat"))
    output = capsys.readouterr().out
    assert "a run's" in output and "  new:" not in output and "did not fit" not in output
