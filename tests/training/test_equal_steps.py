"""Two processes compute what one does with all clips, for every method; so do micro-batches and recomputed blocks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from equal_steps import METHOD_NAMES, OWN, TASKS, across, batch, made, same_draws, step
from safetensors.torch import load_file
from torch import Tensor

from aasp.training import activations


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """To fp32 rounding: of the largest gradient, 3e-6 was the most that was seen, where a wrong count makes 1e-4."""
    assert found.keys() == expected.keys()
    scale = max(float(value.abs().max()) for name, value in expected.items() if name.startswith("gradient/"))
    for name, value in expected.items():
        bound = 1e-5 * (scale if name.startswith("gradient/") else max(1.0, float(value.abs().max())))
        torch.testing.assert_close(found[name], value, rtol=0, atol=bound, msg=f"{name} differs")


def alone(name: str, short: bool = True) -> dict[str, Tensor]:
    objective = made(name)
    return step(objective, objective, batch(short))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes computed, of everything, in one start."""
    out = tmp_path_factory.mktemp("two")
    script = Path(__file__).parent / "equal_steps.py"
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--standalone",
        str(script),
        str(out),
    ]
    subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=400)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", [*METHOD_NAMES, *TASKS])
def test_two_processes_compute_the_loss_and_gradients_of_one(two: Path, name: str) -> None:
    expected = alone(name)
    assert float(expected["loss"].abs()) > 1e-3 and len(expected) > 20
    same(load_file(two / f"{name}.ddp"), expected)
    same(load_file(two / f"{name}.fsdp"), expected)


def every(names: list[str]) -> list:
    """All of them when there is time, two always."""
    return [name if name in ("eat", "mae") else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", every([*METHOD_NAMES, *TASKS]))
def test_blocks_that_are_computed_again_give_the_same(name: str) -> None:
    objective = made(name)
    kept: list[int] = []
    blocks = activations.blocks_of(objective)
    activations.recompute(objective)
    before = {block: block.forward for block in blocks.values()}
    for block, forward in before.items():
        inner = forward.args[0]  # type: ignore[attr-defined]
        forward_again = lambda *given, inner=inner: kept.append(1) or inner(*given)
        block.forward = type(forward)(forward.func, forward_again, **forward.keywords)  # type: ignore[attr-defined]
    found = step(objective, objective, batch())
    assert len(kept) >= 2 * len(blocks) > 0, "each was computed forward, and again"
    same(found, alone(name))


@pytest.mark.parametrize("name", every([name for name in METHOD_NAMES if not across(name)] + ["finetune layer"]))
def test_micro_batches_add_up_to_the_step(name: str) -> None:
    objective, given = made(name), batch(short=False)
    losses = []
    for part in activations.micro_batches(given, 2):
        with same_draws(OWN):
            output = objective(part, False)
        (output["loss"] / 2).backward()
        losses.append(output)
    found = {f"gradient/{key}": p.grad for key, p in objective.named_parameters() if p.grad is not None}
    expected = {key: value for key, value in alone(name, short=False).items() if not key.startswith("buffer/")}
    same(found | {"loss": activations.mean(losses)["loss"]}, expected)


def test_methods_that_depend_on_micro_batches_state_it() -> None:
    depends = {name for name in METHOD_NAMES if across(name)}
    assert depends == set(METHOD_NAMES) - {"eat", "m2d", "mae", "beats", "ssast"}
