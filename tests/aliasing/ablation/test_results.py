"""Differences between cells: pairing, confidence intervals, and the smallest detectable effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aasp.aliasing.ablation.results import document, rows, table
from aasp.aliasing.ablation.suite import Cell, Suite
from aasp.compare.folder import Folder
from aasp.compare.measures import Scores
from aasp.errors import AaspError
from aasp.evaluate.intervals import clear

CELLS = (Cell("full", "all"), Cell("less", "less?", {"steps": "9"}, "full"), Cell("other", "other?", {}, "full"))
SUITE = Suite("toy", "a toy", CELLS)
CLUSTERS = [f"speaker {n // 4}" for n in range(80)]


def keep(folder: Folder, cell: str, seed: int, values: np.ndarray) -> None:
    trained = folder.trained(cell, seed)
    trained.keep("set", Scores("accuracy", values.tolist(), CLUSTERS[: len(values)], None, 0.1))


def simulated(tmp_path: Path, effect: float, rng: np.random.Generator, seeds: int = 3) -> Folder:
    """Scores that vary by speaker and by seed, equally in all cells, and are lower by `effect` in one."""
    folder = Folder(tmp_path)
    speaker = 0.1 * rng.standard_normal(20)[np.arange(80) // 4]
    for seed in range(seeds):
        common = 0.7 + speaker + 0.02 * rng.standard_normal()
        for cell, less in (("full", 0.0), ("less", effect), ("other", 0.0)):
            own = 0.02 * rng.standard_normal()  # what another training would have changed
            keep(folder, cell, seed, common - less + own + 0.1 * rng.standard_normal(80))
    return folder


def found(folder: Folder) -> dict[str, dict[str, Any]]:
    return {row["cell"]: row for row in rows(folder, SUITE, ["set"], 3)}


def clear_of_zero(lead: dict[str, Any]) -> bool:
    return clear(lead["low"], lead["high"])


def test_a_simulated_effect_is_found_and_no_false_one(tmp_path: Path) -> None:
    row = found(simulated(tmp_path, 0.2, np.random.default_rng(0)))
    (difference,) = row["less"]["differences"]
    assert difference["against"] == "full" and abs(difference["lead"]["estimate"] + 0.2) < 0.05
    assert clear_of_zero(difference["lead"]) and not clear_of_zero(row["other"]["differences"][0]["lead"])
    assert not row["full"]["differences"]
    assert row["less"]["chance"] == 0.1 and len(row["less"]["seeds"]) == 3
    spread = difference["lead"]["high"] - difference["lead"]["low"]
    assert difference["detectable"] == pytest.approx(spread * 2.8 / 3.92)
    # Speakers vary by 0.1: paired, that is no part of the difference.
    assert spread < row["less"]["score"]["high"] - row["less"]["score"]["low"]


@pytest.mark.slow
def test_the_intervals_of_differences_cover(tmp_path: Path) -> None:
    """Nominally 95 %; with three seeds a side they are slightly narrow: measured 93 %."""
    rng, covered, found_it = np.random.default_rng(1), 0, 0
    for trial in range(150):
        lead = found(simulated(tmp_path / str(trial), 0.05, rng))["less"]["differences"][0]["lead"]
        covered += lead["low"] <= -0.05 <= lead["high"]
        found_it += lead["high"] < 0
    assert 0.86 < covered / 150 <= 0.99
    assert found_it / 150 > 0.5


def test_only_seeds_that_both_have_are_compared(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for cell, seeds in (("full", (0, 1)), ("less", (1, 2))):
        for seed in seeds:
            keep(folder, cell, seed, np.arange(80) % 2 + (0.5 * seed if cell == "less" else 0.0))
    row = found(folder)["less"]
    lead = row["differences"][0]["lead"]
    assert lead["estimate"] == pytest.approx(0.5) and lead["seeds"] == 1
    assert row["score"]["seeds"] == 2 and "other" not in found(folder)


def test_scores_of_other_clips_are_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    keep(folder, "full", 0, np.zeros(80))
    keep(folder, "less", 0, np.zeros(40))
    with pytest.raises(AaspError, match="of other clips; remove them"):
        found(folder)


def test_a_damaged_score_is_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    keep(folder, "full", 0, np.zeros(80))
    file = tmp_path / "cells" / "full" / "seed-0" / "scores" / "set.json"
    file.write_text('{"metric": ')
    with pytest.raises(AaspError, match=f"{file}: not readable as JSON .*remove it"):
        found(folder)


def test_table_and_document(tmp_path: Path) -> None:
    folder = simulated(tmp_path, 0.2, np.random.default_rng(0))
    lines = table(rows(folder, SUITE, ["set"], 3))
    assert len(lines) == 5 and all(line.count("|") == 7 for line in lines)
    assert "**−2" in lines[3] and "**" not in lines[4] and "| full |" in lines[3]
    (tmp_path / "settings.json").write_text("{}")
    written = document(folder, SUITE, ["set"], 3)
    assert [cell["name"] for cell in written["cells"]] == ["full", "less", "other"]
    assert (
        written["cells"][1]["changes"] == {"steps": "9"} and written["rows"][1]["differences"][0]["against"] == "full"
    )
