"""Every cell of a suite differs from another in one thing, and every recipe can be built."""

from __future__ import annotations

import pytest

from aasp.aliasing.ablation.suite import SUITES, Cell, Suite
from aasp.config import flat, to_dict
from aasp.errors import AaspError
from aasp.pretrain.objective import build_objective

CELLS = [(suite, cell) for suite in SUITES.values() for cell in suite]
# A stride is a patch and, for AaPE, a window that goes with it. A convolution has no window of its own to begin with.
TOGETHER = {"stride": {"model.stem.patch.0", "model.stem.patch.1", "model.stem.patch", "model.stem.taps"}}


def fields(cell: Cell) -> dict[str, object]:
    return flat(to_dict(cell.recipe(10, 0)))


@pytest.mark.parametrize(("suite", "cell"), CELLS, ids=[f"{s.name}: {c.name}" for s, c in CELLS])
def test_a_cell_differs_from_another_in_one_thing(suite: Suite, cell: Cell) -> None:
    by_name = {one.name: one for one in suite}
    if cell.against is None:
        assert cell is suite.cells[0] and not cell.changes
        return
    other = by_name[cell.against]
    assert suite.cells.index(other) < suite.cells.index(cell), "a cell stands after what it is compared with"
    ours, theirs = fields(cell), fields(other)
    differing = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    replaced = [
        part for part in ("model.stem", "method.codebook") if ours.get(f"{part}.kind") != theirs.get(f"{part}.kind")
    ]
    if replaced:  # another stem, or none instead of a codebook, is one thing, with all its fields
        assert len(replaced) == 1 and all(name.startswith(f"{replaced[0]}.") for name in differing)
    else:
        assert len(differing) == 1 or set() < differing <= TOGETHER.get(suite.name, set()), differing


@pytest.mark.parametrize(("suite", "cell"), CELLS, ids=[f"{s.name}: {c.name}" for s, c in CELLS])
@pytest.mark.filterwarnings("ignore:masking.views is 1")
def test_its_recipe_can_be_built(suite: Suite, cell: Cell) -> None:
    recipe = cell.recipe(7, 3)
    assert (recipe.steps, recipe.seed) == (7, 3)
    build_objective(recipe)
    assert cell.asks


def test_a_cell_has_the_same_recipe_in_every_suite() -> None:
    known: dict[str, dict[str, object]] = {}
    for _, cell in CELLS:
        assert known.setdefault(cell.name, fields(cell)) == fields(cell)


def test_some_cells_are_taken_in_the_suites_order() -> None:
    suite = SUITES["isolation"]
    assert [cell.name for cell in suite.only(("conv", "full"))] == ["full", "conv"]
    assert suite.only(()) == suite
    with pytest.raises(AaspError, match="cell of suite isolation 'cnv' is unknown; did you mean 'conv'"):
        suite.only(("cnv",))
