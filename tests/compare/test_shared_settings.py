"""A budget becomes steps once; every process that joins the folder uses the same steps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from aasp.compare import budget as budgets
from aasp.compare import shared_settings
from aasp.compare.budget import Budget, Costs, costs, seconds_per_step
from aasp.compare.folder import Folder
from aasp.compare.inputs import Given, Inputs
from aasp.compare.layout import Layout, named_recipes
from aasp.compare.shared_settings import TrainingOptions, resolve
from aasp.compare.training import stages
from aasp.config import with_fields
from aasp.errors import AaspError
from aasp.pretrain import recipes
from aasp.pretrain.recipe import Recipe

SMALL = {
    "model.encoder.width": "16", "model.encoder.depth": "1",
    "model.vector": "none", "model.encoder.heads": "2", "predictor.width": "16",
    "predictor.depth": "1", "predictor.heads": "2", "data.batch": "2",
}  # fmt: skip
FIVE = Budget("minutes", 5)


def shared(
    folder: Folder,
    recipes: Mapping[str, Recipe],
    sets: Mapping[str, str | Given] | None = None,
    *,
    budget: Budget = FIVE,
    data: str = "d1",
    stability: Given | None = None,
    options: TrainingOptions | None = None,
    **more: Any,
) -> Mapping[str, Costs]:
    """The costs of recipes in a folder, on data and sets of these hashes; a set without one has a constant hash."""
    given = {name: one if isinstance(one, Given) else Given(one, "h") for name, one in (sets or {}).items()}
    inputs = Inputs(Given("sounds", data), given, stability)
    return resolve(folder, recipes, budget, options or TrainingOptions("fp32", None, "cpu"), inputs, **more).costs


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return with_fields(recipes.get("m2d_tiny"), SMALL)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every step takes half a second and a thousand FLOPs; which recipes were timed."""
    names: list[str] = []

    def half(recipe: Recipe, *_: Any) -> float:
        names.append(recipe.name)
        return 0.5

    plan = SimpleNamespace(step_flops=1000, memory={"all": 9}, parameters={"trained": 5}, checkpoint_bytes=7)
    monkeypatch.setattr(budgets, "pretraining_plan", lambda recipe, machines: plan)
    monkeypatch.setattr(budgets, "seconds_per_step", half)
    return names


def test_each_unit_becomes_steps(recipe: Recipe, timed: list[str]) -> None:
    of = lambda unit, amount: costs("m", recipe, Budget(unit, amount), "fp32", "cpu")
    assert of("steps", 7).steps == 7 and of("minutes", 2).steps == 240
    assert of("flops", 10_500).to_dict() == {
        "steps": 10, "seconds": 0.5, "flops": 1000, "memory": 9, "parameters": 5, "checkpoint": 7
    }  # fmt: skip
    with pytest.raises(AaspError, match=r"--minutes 0.001: a step of m takes 0.0083 minutes; give more"):
        of("minutes", 0.001)
    with pytest.raises(AaspError, match=r"--flops 1: a step of m takes .* FLOPs; give more"):
        of("flops", 1.0)


@pytest.mark.parametrize("amount", [0, -1, float("inf"), float("nan")])
def test_a_budget_of_nothing_is_refused(amount: float) -> None:
    with pytest.raises(AaspError, match=r"--minutes is .*; give a positive number"):
        Budget("minutes", amount)


def test_timing_draws_no_random_number(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "LONG_ENOUGH", 0.0)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert 0 < seconds_per_step(recipe, "fp32", "cpu") < 10
    assert torch.equal(torch.get_rng_state(), before)


def test_a_step_is_timed_on_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[Any] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda *devices: waited.extend(devices))
    budgets._now(torch.device("cuda:1"))
    assert waited == [torch.device("cuda:1")]


@pytest.mark.parametrize(("accumulate", "recompute"), [(1, False), (2, False), (2, True)])
def test_a_step_is_timed_as_it_is_trained(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, accumulate: int, recompute: bool
) -> None:
    """In micro-batches, and with blocks that are recomputed, where the optimizer's settings say so."""
    clips: list[int] = []
    recomputed: list[bool] = []

    class Objective(torch.nn.Linear):
        def forward(self, batch: Mapping[str, torch.Tensor], diagnose: bool) -> dict[str, torch.Tensor]:
            clips.append(len(batch["wave"]))
            return {"loss": super().forward(batch["wave"][:, :2]).mean()}

        def after_step(self, now: Any) -> None:
            pass

    monkeypatch.setattr(budgets, "LONG_ENOUGH", 0.0)
    monkeypatch.setattr(budgets, "build_objective", lambda recipe: Objective(2, 1))
    monkeypatch.setattr(budgets.activations, "recompute", lambda objective: recomputed.append(True))
    fields = {"optimizer.accumulate": str(accumulate), "optimizer.recompute": str(recompute).lower()}
    assert seconds_per_step(with_fields(recipe, fields), "fp32", "cpu") > 0
    assert clips == [2 // accumulate] * accumulate * (budgets.WARM_UP + budgets.MIN_STEPS)
    assert recomputed == [True] * recompute
    with pytest.raises(AaspError, match=r"optimizer\.accumulate is 3, for 2 clips a step; give a divisor of 2"):
        seconds_per_step(with_fields(recipe, {"optimizer.accumulate": "3"}), "fp32", "cpu")


def test_steps_are_found_once_and_kept(recipe: Recipe, timed: list[str], tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out", "comparison")
    resolve = lambda recipes, sets={"words": "a:b:c"}, **more: shared(folder, recipes, sets, **more)
    assert resolve({"m": recipe}, dry_run=True)["m"].steps == 600 and not folder.path.exists()
    resolve({"m": recipe})
    found = json.loads((folder.path / "settings.json").read_text())
    found["recipes"]["m"]["steps"] = 123  # as another machine found
    folder.write_settings(found)
    timed.clear()
    both = resolve({"m": recipe, "n": recipe}, {"sounds": "d:e:f"})
    assert (both["m"].steps, both["n"].steps) == (123, 600) and timed == ["m2d_tiny"]
    assert folder.settings["sets"] == {"words": "a:b:c", "sounds": "d:e:f"}
    with pytest.raises(AaspError, match=r"another comparison: .* has budget = 5 minutes, this one 6 minutes"):
        resolve({"m": recipe}, budget=Budget("minutes", 6))
    with pytest.raises(AaspError, match="has a recipe m with other fields; choose another --out"):
        resolve({"m": with_fields(recipe, {"optimizer.lr": "1"})})
    with pytest.raises(AaspError, match=r"--benchmarks g:b:c: .* has measured a:b:c as words"):
        resolve({"m": recipe}, {"words": "g:b:c"})


def test_a_new_folder_without_settings_is_removed(recipe: Recipe, timed: list[str], tmp_path: Path) -> None:
    with pytest.raises(AaspError, match="give more"):
        shared(Folder(tmp_path / "out"), {"m": recipe}, budget=Budget("minutes", 0.001))
    assert not (tmp_path / "out").exists()


def test_recipes_have_short_names_that_differ() -> None:
    found = named_recipes(["m2d_tiny", "aasp.pretrain.systems.eat:eat_tiny"], {"data.batch": "3"})
    assert list(found) == ["m2d_tiny", "eat_tiny"] and {one.data.batch for one in found.values()} == {3}
    with pytest.raises(AaspError, match="two recipes are called eat_tiny: eat_tiny and aasp"):
        named_recipes(["eat_tiny", "aasp.pretrain.systems.eat:eat_tiny"], {})
    with pytest.raises(AaspError, match="recipe 'eat_tny' is unknown; did you mean 'eat_tiny'"):
        named_recipes(["eat_tny"], {})


def test_cells_seeds_first_and_one_untrained_encoder_an_architecture(recipe: Recipe, timed: list[str]) -> None:
    wide = with_fields(recipe, {"model.encoder.width": "32"})
    given = {"a": recipe, "b": wide, "c": with_fields(recipe, {"optimizer.lr": "1"})}
    layout = Layout(
        given, {name: costs(name, one, Budget("steps", 9), "fp32", "cpu") for name, one in given.items()}, 2
    )
    cells = [(cell.name, cell.seed) for cell in layout.cells([])]
    names = ("untrained-a", "untrained-b", "a", "b", "c")
    assert cells == [("log-mel-40", 0), ("log-mel-128", 0), *((name, seed) for seed in (0, 1) for name in names)]
    last = layout.cells([])[-1]
    assert last.recipe is not None and (last.recipe.steps, last.recipe.seed, last.stages) == (9, 1, (2, 4))
    assert layout.untrained == {"a": "untrained-a", "b": "untrained-b", "c": "untrained-a"}


def test_stages_are_a_quarter_and_a_half() -> None:
    assert [stages(steps) for steps in (1, 2, 3, 4, 400)] == [[], [1], [1, 2], [1, 2], [100, 200]]


def test_an_encoder_has_the_name_of_no_other_row(recipe: Recipe, timed: list[str], tmp_path: Path) -> None:
    """Neither of this command's rows nor of those that are already in the folder."""
    folder = Folder(tmp_path / "out", "comparison")
    shared(folder, {"m": recipe}, frozen={"theirs": "1"})
    for name in ("m", "untrained-m", "log-mel-40"):
        with pytest.raises(AaspError, match=f"--encoder {name}: .* has another row of this name; rename the encoder"):
            shared(folder, {"n": recipe}, frozen={name: "2"})
    with pytest.raises(AaspError, match=r"theirs: .* has an --encoder of this name; rename the recipe"):
        shared(folder, {"theirs": recipe})
    assert list(folder.settings["recipes"]) == ["m"] and list(folder.settings["frozen"]) == ["theirs"]


def test_recipes_are_timed_on_one_machine(
    recipe: Recipe, timed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path / "out", "comparison")
    shared(folder, {"m": recipe})
    here = folder.settings["machine"]
    assert here.startswith("cpu ") and len(here) > 5
    monkeypatch.setattr(shared_settings, "model_of", lambda device: "cuda X")
    assert shared(folder, {"m": recipe})["m"].steps == 600, "another machine may join"
    with pytest.raises(
        AaspError, match=rf"n: .* has timed its recipes on {re.escape(here)}, this is cuda X; add it there"
    ):
        shared(folder, {"m": recipe, "n": recipe})
    assert folder.settings["machine"] == here
    counted = Folder(tmp_path / "counted", "comparison")
    for recipes_ in ({"m": recipe}, {"n": recipe}):
        shared(counted, recipes_, budget=Budget("steps", 5))  # steps don't depend on the machine
        monkeypatch.setattr(shared_settings, "model_of", lambda device: "cuda Y")


def test_precision_and_threads_are_settled_within_the_lock(
    recipe: Recipe, timed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes start at once at a new folder: the second one waits, then takes what the first one found."""
    folder = Folder(tmp_path / "out", "comparison")
    monkeypatch.setattr(shared_settings, "has_fast_bf16", lambda device: True)
    locked, auto = Folder.setup_lock, TrainingOptions("auto", None, "cpu")

    @contextmanager
    def late(self: Folder) -> Iterator[None]:
        monkeypatch.setattr(Folder, "setup_lock", locked)
        shared(folder, {"m": recipe}, options=TrainingOptions("fp32", 3, "cpu"))
        torch.set_num_threads(1)
        with locked(self):
            yield

    monkeypatch.setattr(Folder, "setup_lock", late)
    try:
        shared(folder, {"m": recipe}, options=auto)
        assert torch.get_num_threads() == 3
        assert (folder.settings["precision"], folder.settings["threads"]) == ("fp32", 3)
        with pytest.raises(AaspError, match="has threads = 3, this one 2; choose another --out"):
            shared(folder, {"m": recipe}, options=TrainingOptions("auto", 2, "cpu"))
    finally:
        torch.set_num_threads(1)
