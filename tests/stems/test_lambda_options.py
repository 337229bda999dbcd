"""The Lambda Encoder's options: its rate, gain and range, one Λ for several patches, a loss on spectra."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aasp.config import from_dict, to_dict, with_fields
from aasp.errors import AaspError
from aasp.planning.step import step_cost
from aasp.pretrain import recipes
from aasp.pretrain.losses.spectrum import SpectrumHead, modulation_spectra, spectrum_loss
from aasp.pretrain.objective import build_objective
from aasp.stems.aape import AaPE, AaPEConfig
from aasp.stems.conv import ConvStem
from aasp.stems.lambda_encoder import as_blocks, of_patches
from aasp.training import optim

MELS, SMALL = 64, {"states": 4, "encoder_width": 16}
TINY = {
    "model.encoder.depth": 1,
    "model.vector": "none",
    "model.encoder.width": 24,
    "model.encoder.heads": 2,
    "predictor.depth": 1,
}
TINY |= {"predictor.width": 24, "predictor.heads": 2, "losses.projector": (8, 4), "data.batch": 2, "masking.views": 2}
TINY |= {"model.stem.states": 4, "model.stem.encoder_width": 16, "teacher.layers": 1}


def build(**fields: object) -> AaPE:
    torch.manual_seed(0)
    stem = AaPE(24, MELS, AaPEConfig(**SMALL, **fields))
    with torch.no_grad():
        stem.fuse.weight.add_(0.1 * torch.randn_like(stem.fuse.weight))
        stem.lambda_encoder.head.weight.normal_(std=0.3)
    return stem.eval()


def test_older_documents_are_unchanged() -> None:
    names = {"encoder_rate", "encoder_gain", "alpha_range", "shared"}
    assert (
        not names & to_dict(AaPEConfig()).keys()
        and "spectrum" not in to_dict(recipes.get("aasp_tiny"))["method"]["losses"]
    )
    wide = AaPEConfig(alpha_range=(0.005, 2.0), shared=(2, 4), encoder_gain=10.0, encoder_rate=5.0)
    assert names <= to_dict(wide).keys() and from_dict(AaPEConfig, to_dict(wide), "here") == wide


def test_the_lambda_encoder_has_its_share_of_the_rate_and_nothing_else_has() -> None:
    rates = {}
    for share in (1.0, 10.0):
        recipe = with_fields(recipes.get("aasp_tiny"), TINY | {"model.stem.encoder_rate": share})
        objective = build_objective(recipe)
        optimizer = optim.build(objective, recipe.optimizer, objective.learning_rate_share)
        optim.set_step(optimizer, 1e-3, 0.0)
        rates[share] = {name: group["lr"] for group in optimizer.param_groups for name in group["names"]}
    times = {name: rate / rates[1.0][name] for name, rate in rates[10.0].items()}
    faster = {name for name, ratio in times.items() if ratio == pytest.approx(10)}
    assert faster == {name for name in times if name.startswith("student.stem.lambda_encoder.")} and len(faster) > 10
    assert {ratio for name, ratio in times.items() if name not in faster} == {1.0}


@torch.no_grad()
def test_gain_moves_estimates_as_many_times_further_from_their_start() -> None:
    mel, found = torch.randn(1, 64, MELS), {}
    for gain in (1.0, 3.0):
        stem = build(encoder_gain=gain)
        found[gain] = stem.lambda_encoder(stem.cut(mel)) - stem.lambda_encoder.head.bias.view(2, 4)
    torch.testing.assert_close(found[3.0], 3 * found[1.0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_decays_range_is_a_setting_and_they_begin_where_they_did() -> None:
    stem = build(alpha_range=(0.005, 2.0))
    assert stem.bounds[0] == (0.005, 2.0)
    for one, usual in zip(stem.start(), build().start(), strict=True):
        torch.testing.assert_close(one, usual)
    stem.lambda_encoder.head.weight.mul_(1e4)
    alpha, _ = stem.estimate(torch.randn(4, 96, MELS))
    assert alpha.min() < 0.01 and 1.5 < alpha.max() <= 2.0
    assert float(stem.diagnostics(torch.randn(2, 96, MELS))["alpha_saturation"]) > 0.5


def test_blocks_are_patches_side_by_side() -> None:
    patches = torch.arange(1 * 3 * 4 * 2 * 5).float().view(1, 3, 4, 2, 5)  # 3 x 4 patches of 2 frames x 5 bins
    mel = patches.numpy()[0].transpose(0, 2, 1, 3).reshape(6, 20)
    mel = np.concatenate([mel, np.zeros((2, 20))])  # a fourth time patch
    blocks = as_blocks(patches, (2, 2))
    assert blocks.shape == (1, 2, 2, 4, 10)
    for g in range(2):
        for f in range(2):
            np.testing.assert_array_equal(blocks[0, g, f], mel[4 * g : 4 * g + 4, 10 * f : 10 * f + 10])
    numbers = torch.arange(4.0).view(1, 2, 2, 1)
    assert of_patches(numbers, (2, 2), 3)[0, ..., 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3]]


@torch.no_grad()
@pytest.mark.parametrize(
    "fields", [{"shared": (2, 2)}, {"shared": (3, 1), "taps": 32}, {"shared": (1, 4), "chirp": True}]
)
def test_a_block_has_one_lambda_of_all_that_a_view_sees_of_it_and_of_nothing_else(fields: dict[str, object]) -> None:
    stem, mel = build(**fields), torch.randn(2, 96, MELS)
    rows, columns = stem.config.shared
    alpha, beta = stem.estimate(mel)
    for values in (alpha, beta):
        blocks = values.unflatten(2, (-1, columns)).unflatten(1, (-1, rows))
        assert (
            blocks == blocks[:, :, :1, :, :1]
        ).all() and values.unique().numel() > values.numel() / rows / columns / 2
    every = torch.arange(24).expand(2, 1, -1)
    torch.testing.assert_close(stem.views(mel, every)[:, 0], stem(mel), rtol=1e-5, atol=1e-5)
    visible = torch.stack([torch.randperm(24)[:8] for _ in range(4)]).view(2, 2, 8)
    before = stem.views(mel, visible)
    for clip in range(2):
        for view in range(2):
            changed = mel.clone()
            for n in set(range(24)) - set(visible[clip, view].tolist()):
                g, f = divmod(n, 4)
                changed[:, 16 * g : 16 * g + 16, 16 * f : 16 * f + 16] += torch.randn(16, 16)
            after = stem.views(changed, visible)
            torch.testing.assert_close(after[clip, view], before[clip, view], rtol=0, atol=1e-6)
    short, valid = mel[:1, :59], stem.valid_patches(torch.tensor([59]), 96)
    padded = torch.cat([short, torch.zeros(1, 37, MELS)], dim=1)
    torch.testing.assert_close(stem(padded, valid)[:, :16], stem(short), rtol=1e-5, atol=1e-5)
    slow = stem.changed(lambda alpha, beta: (alpha, torch.full_like(beta, 0.25)))
    assert not torch.allclose(slow(mel), stem(mel))


def test_spectra_and_their_loss_in_plain_numpy() -> None:
    rng = np.random.default_rng(0)
    patches, predicted = rng.normal(size=(2, 3, 8, 5)), rng.normal(size=(2, 3, 4))
    spectra, valid = np.zeros((2, 3, 4)), np.array([[True, True, True], [True, False, False]])
    for b in range(2):
        for n in range(3):
            for k in range(1, 5):
                turn = np.exp(-2j * np.pi * k * np.arange(8) / 8)
                power = [abs((turn * (x - x.mean())).sum()) ** 2 / 8 for x in patches[b, n].T]
                spectra[b, n, k - 1] = np.log(1e-3 + np.mean(power))
    np.testing.assert_allclose(modulation_spectra(torch.from_numpy(patches)).numpy(), spectra, rtol=1e-9)
    known = spectra[valid]
    target = (known - known.mean(0)) / np.sqrt(known.var(0) + 1e-5)
    expected = np.square(predicted[valid] - target).mean()
    given = torch.from_numpy(predicted), torch.from_numpy(spectra)
    assert spectrum_loss(*given, torch.from_numpy(valid)).item() == pytest.approx(expected, rel=1e-9)
    assert spectrum_loss(torch.zeros(2, 3, 4).double(), given[1]).item() == pytest.approx(1, abs=1e-3)


def test_the_loss_is_there_where_it_is_weighed_and_reaches_the_lambda_encoder_alone() -> None:
    batch = {"wave": 0.1 * torch.randn(2, 16_000), "length": torch.tensor([16_000, 9_000])}
    plain = build_objective(with_fields(recipes.get("aasp_tiny"), TINY))
    assert plain.spectrum is None and "spectrum" not in plain(batch)["losses"]
    torch.manual_seed(0)
    objective = build_objective(with_fields(recipes.get("aasp_tiny"), TINY | {"losses.spectrum": 0.5}))
    losses = objective(batch)["losses"]
    losses["spectrum"].backward()
    reached = [name for name, p in objective.named_parameters() if p.grad is not None]
    assert all(name.startswith(("student.stem.lambda_encoder.", "spectrum.")) for name in reached)
    optimizer = torch.optim.Adam(objective.parameters(), 1e-2)
    mel = 0.5 * torch.randn(4, 96, 128) * torch.rand(4, 96, 1)
    for _ in range(40):
        loss = objective.spectrum(objective.student.stem, mel, None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.8 * 1.0, "a constant has 1"
    with pytest.raises(AaspError, match=r"this stem estimates nothing; set model\.stem=aape"):
        SpectrumHead(ConvStem(8, MELS))


@pytest.mark.slow
def test_the_cost_of_each_option_is_planned() -> None:
    cost = lambda **fields: step_cost(
        with_fields(recipes.get("aasp_tiny"), TINY | {"model.stem.patch": (16, 16)} | fields)
    )
    plain, spectral, shared = cost(), cost(**{"losses.spectrum": 0.1}), cost(**{"model.stem.shared": (3, 2)})
    assert "spectrum" not in plain.parts and spectral.parts["spectrum"].forward > 0
    assert shared.parts["teacher.model.stem"].forward < 0.6 * plain.parts["teacher.model.stem"].forward


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"alpha_range": (0.3, 1.0)}, "alpha_range is 0.3,1, and decays begin at 0.2; give a range around that"),
        ({"encoder_rate": 0.0}, "encoder_rate is 0.0; give a positive number"),
        ({"shared": (0, 1)}, "shared is 0; give a number of at least 1"),
        ({"shared": (2, 1), "parameters": "learned"}, "shared 2,1 is about estimates, and parameters are learned"),
    ],
)
def test_impossible_settings_are_one_line(fields: dict, message: str) -> None:
    with pytest.raises(AaspError) as error:
        AaPEConfig(**fields)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_block_must_divide_the_subbands() -> None:
    with pytest.raises(AaspError, match="the second of shared 1,3 must divide the 4 subbands"):
        AaPE(24, MELS, AaPEConfig(shared=(1, 3)))
