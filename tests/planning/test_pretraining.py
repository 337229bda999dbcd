"""A plan is the counted cost at the stated rates, and the slowest resource sets the pace."""

from __future__ import annotations

import functools

import pytest

from aasp.config import with_fields
from aasp.errors import AaspError
from aasp.planning import pretraining
from aasp.planning.machines import Machines
from aasp.planning.pretraining import PretrainingPlan, pretraining_plan
from aasp.planning.step import step_cost
from aasp.pretrain import recipes

BASE = recipes.get("aasp_base")
ONCE = functools.cache(step_cost)


@pytest.fixture(autouse=True)
def _traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines differ from test to test, steps rarely."""
    monkeypatch.setattr(pretraining, "step_cost", ONCE)


def planned(gpus: int = 8, utilisation: float = 0.4, batch: int = 48, **rates: float) -> PretrainingPlan:
    return pretraining_plan(with_fields(BASE, {"data.batch": batch}), Machines(gpus, utilisation, **rates))


@pytest.mark.slow
def test_one_gpu_does_the_whole_step_and_sends_nothing() -> None:
    plan = planned(gpus=1, utilisation=0.5, peak=200.0)
    cost = step_cost(BASE)
    assert plan.step_flops == cost.total.flops
    single = cost.total.single  # log-mel, the maps, the teacher's targets, the contrastive loss
    assert 0 < single < 3e-4 * cost.total.flops
    assert plan.step_seconds == pytest.approx((cost.total.flops - single + single * 989 / 67) / 100e12)
    assert plan.gpu_hours == pytest.approx(400_000 * plan.step_seconds / 3600)
    assert plan.reduced_bytes == plan.gathered_bytes == 0


@pytest.mark.slow
def test_gpus_share_all_but_the_stems_maps() -> None:
    one, many = planned(gpus=1), planned(gpus=16)
    stems = {"student.stem", "teacher.model.stem"}
    for name in set(one.flops) - stems:
        assert many.flops[name] == one.flops[name]
    maps = 2 * 768 * (49 * 49 + 768 * 256 + 768 * 49)
    for name in stems:
        assert many.flops[name]["forward"] == one.flops[name]["forward"] + 15 * maps


@pytest.mark.slow
def test_averaging_gradients_is_a_ring() -> None:
    plan = planned(gpus=8)
    assert plan.reduced_bytes == 2 * 7 / 8 * 4 * plan.parameters["trained"]
    assert plan.limits["network"] == pytest.approx((plan.reduced_bytes + plan.gathered_bytes) / 450e9)
    many = planned(gpus=16)
    assert many.limits["network"] == pytest.approx((many.reduced_bytes + many.gathered_bytes) / 400e9)


@pytest.mark.parametrize(
    ("rates", "bottleneck"),
    [
        ({}, "computing"), ({"decoded": 0.01}, "decoding"), ({"cores": 0.1}, "decoding"),
        ({"network": 1.0}, "network"), ({"storage": 0.1}, "storage"),
    ],
)  # fmt: skip
def test_the_slowest_resource_sets_the_pace(rates: dict[str, float], bottleneck: str) -> None:
    plan = planned(**rates)
    assert plan.bottleneck == bottleneck
    assert plan.step_seconds == plan.limits[bottleneck] == max(plan.limits.values())


def test_cores_that_keep_up_take_as_long_as_the_gpu() -> None:
    plan = planned()
    matched = planned(cores=plan.decoding_cores_per_gpu)
    assert matched.limits["decoding"] == pytest.approx(matched.limits["computing"])


def test_the_schedule_is_eats_ten_epochs() -> None:
    plan = planned()
    assert plan.clips == 19_200_000
    assert plan.epochs == pytest.approx(10.1, abs=0.01)
    own = pretraining_plan(BASE, Machines(8, 0.4), hours=1000)
    assert own.epochs == pytest.approx(19_200_000 * BASE.data.crop_seconds / 3600 / 1000)
    assert own.set_bytes["wav"] == 1000 * 3600 * 32_000


@pytest.mark.slow
def test_muon_keeps_one_moment_of_the_matrices_of_blocks_and_codes_are_planned() -> None:
    plain = with_fields(recipes.get("aasp_tiny"), {"codebook": "none", "optimizer.matrices": "adamw"})
    codes = with_fields(plain, {"codebook": "kmeans"})
    muon = with_fields(codes, {"optimizer.matrices": "muon"})
    without, adamw, ours = (pretraining_plan(one, Machines(1, 0.4), hours=10) for one in (plain, codes, muon))
    encoder = 6 * (4 * 192**2 + 2 * 4 * 192**2)
    predictor = 2 * (4 * 192**2 + 2 * 4 * 192**2)
    saved = adamw.memory["weights and moments"] - ours.memory["weights and moments"]
    assert saved == adamw.checkpoint_bytes - ours.checkpoint_bytes == 4 * (encoder + predictor)
    assert "optimizer" not in adamw.flops
    square, wide = 2 * 192**2 * (2 * 192 + 17 * 192), 2 * 192**2 * (2 * 768 + 17 * 192)
    attention = 2 * 192**2 * (2 * 576 + 17 * 192) + square  # queries, keys and values are one matrix
    crossed = 2 * 192**2 * (2 * 384 + 17 * 192) + 2 * square  # keys and values are one
    assert ours.flops["optimizer"]["forward"] == 6 * (attention + 2 * wide) + 2 * (crossed + 2 * wide)
    more = adamw.parameters["trained"] - without.parameters["trained"]
    assert more == 512 * (192 + 1), "an output of the predictor's head for each code"


@pytest.mark.slow
def test_memory_shrinks_with_a_gpus_share_of_clips() -> None:
    few, many = planned(gpus=48).memory, planned(gpus=8).memory
    assert few["weights and moments"] == many["weights and moments"]
    assert many["activations"] == pytest.approx(6 * few["activations"], rel=0.02)


@pytest.mark.parametrize(
    ("machines", "message"),
    [
        ({"gpus": 0}, "--gpus is 0; give a number of at least 1"),
        ({"utilisation": 0}, "--utilisation is 0; .* 0.4 is 40 %"),
        ({"utilisation": 40}, "--utilisation is 40; .* 0.4 is 40 %"),
        ({"utilisation": float("nan")}, "--utilisation is nan"),
        ({"peak": 0.0}, "--peak is 0; give a positive number"),
        ({"network": -1.0}, "--network is -1; give a positive number"),
        ({"gpus": 64}, "data.batch is 48, for 64 GPUs; .* --set data.batch=64, or --gpus 48"),
        ({"gpus": 7}, "data.batch is 48, for 7 GPUs; .* --set data.batch=49, or --gpus 6"),
        ({"batch": 0}, "data.batch 0; give at least 1"),
    ],
)
def test_impossible_machines_are_refused(machines: dict[str, float], message: str) -> None:
    with pytest.raises(AaspError, match=message):
        planned(**machines)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("data.crop_seconds=0.01", "crop_seconds"),
        ("model.frontend.mels=100", "100 mel bins"),
        ("steps=0", "steps is 0"),
    ],
)
def test_impossible_recipes_are_refused(field: str, message: str) -> None:
    name, _, value = field.partition("=")
    with pytest.raises(AaspError, match=message):
        pretraining_plan(with_fields(BASE, {name: value}), Machines(8, 0.4))
