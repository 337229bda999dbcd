"""The rows and columns of results: nothing is mixed, and differences are noted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aasp.evaluate.published import peers
from aasp.evaluate.records import Record
from aasp.report.table import OWN, Cell, Row, Table, tables

ONE = Record("tiny", "runs/tiny", "a1", "evar", "e1", "esc50", "linear", "1", 0, "accuracy", 0.8, 400, 0, "0.1.0")

UNFINISHED = "Unfinished: 2 of 5 folds."


def folds(*values: float, **changes: object) -> list[Record]:
    return [replace(ONE, split=str(k), value=value, **changes) for k, value in enumerate(values, start=1)]


def only(records: list[Record], **options: bool) -> Table:
    (table,) = tables(records, **options)
    return table


def labels(table: Table) -> list[tuple[str, str]]:
    return [(row.system, row.recipe) for row in table.rows]


def cell(row: Row, column: int = 0) -> Cell:
    found = row.cells[column]
    assert found is not None
    return found


def test_a_system_s_benchmarks_share_a_row_in_the_paper_s_order() -> None:
    speech = replace(ONE, benchmark="a_set_of_mine", split="test", clips=50)
    table = only([speech, *folds(0.7, 0.9), *folds(0.5, 0.7, system="small", model_hash="b2")])
    assert [column.title for column in table.columns] == ["ESC-50", "a_set_of_mine"]
    assert labels(table) == [("tiny", "evar"), ("small", "evar")]
    assert table.rows[1].cells[1] is None
    assert [cell(row).summary.mean for row in table.rows] == pytest.approx([0.8, 0.6])


def test_protocols_are_tables_of_their_own() -> None:
    found = tables([replace(ONE, protocol="rare"), replace(ONE, protocol="finetune"), ONE], published=False)
    assert [table.title for table in found] == ["Linear evaluation", "Fine-tuning", "rare"]
    assert all(len(table.rows) == 1 for table in found)


def test_metrics_are_columns_of_their_own() -> None:
    table = only([ONE, replace(ONE, metric="macro_f1", value=0.5)])
    assert [column.title for column in table.columns] == ["ESC-50", "ESC-50 (macro_f1)"]
    esc50 = next(peer for peer in peers() if peer.model == "M2D")
    assert [column.published(esc50) for column in table.columns] == [("91.3", "r"), ("", "")]


def test_recipes_models_and_settings_are_rows_of_their_own() -> None:
    assert labels(only([ONE, replace(ONE, recipe="logistic", value=0.1)])) == [("tiny", "evar"), ("tiny", "logistic")]
    assert labels(only([ONE, replace(ONE, model_hash="b2", seed=1)])) == [("tiny #a1", "evar"), ("tiny #b2", "evar")]
    assert labels(only([ONE, replace(ONE, recipe_hash="e2", seed=1)])) == [("tiny", "evar #e1"), ("tiny", "evar #e2")]


def test_recipes_of_the_benchmarks_share_a_row() -> None:
    nsynth = replace(ONE, benchmark="nsynth_like", recipe="nsynth", recipe_hash="n", split="test")
    table = only([replace(ONE, recipe="esc50"), nsynth], published=False)
    assert labels(table) == [("tiny", OWN)] and None not in table.rows[0].cells


@pytest.mark.parametrize("benchmark", ["clips/", "clips/index.csv"])
def test_a_folder_called_as_a_recipe_is_no_benchmark_of_it(benchmark: str) -> None:
    assert labels(only([replace(ONE, benchmark=benchmark, recipe="clips")])) == [("tiny", "clips")]


def test_another_version_of_a_benchmark_is_not_averaged_in() -> None:
    table = only([*folds(0.7, 0.9), *folds(0.1, 0.1, seed=1, clips=390)])
    assert labels(table) == [("tiny", "evar")] * 2
    assert [(cell(row).summary.mean, cell(row).summary.clips) for row in table.rows] == [
        (pytest.approx(0.8), 800),
        (pytest.approx(0.1), 780),
    ]
    assert all(cell(row).show_clips for row in table.rows)
    assert not cell(only(folds(0.7, 0.9)).rows[0]).show_clips


def test_missing_clips_have_a_note_on_their_cells() -> None:
    table = only([*folds(0.7, 0.9), *folds(0.6, 0.7, system="b", model_hash="b", missing=1012)])
    (note,) = table.notes
    assert note == "1,012 clips of the published set missing, which shifts the score."
    assert [cell(row).notes for row in table.rows] == [(), (1,)]
    assert table.common == ["Mean ± sample standard deviation over the folds of one seed.", UNFINISHED]


def test_notes_distinguish_deviations_over_seeds_and_folds() -> None:
    seeds = [replace(ONE, benchmark="x", split="valid", seed=seed) for seed in (0, 1)]
    single = replace(ONE, benchmark="y", split="test", low=0.7, high=0.9)
    both = [record for seed in (0, 1, 2) for record in folds(0.7, 0.9, system="b", model_hash="b", seed=seed)]
    table = only([*folds(0.7, 0.9), *seeds, single, *both])
    notes = [[table.notes[number - 1] for number in found.notes] for row in table.rows for found in row.cells if found]
    assert table.common == []
    assert notes == [
        ["Mean ± sample standard deviation over the folds of one seed.", UNFINISHED],
        ["Mean ± sample standard deviation over 2 seeds.", "Scored on the valid part."],
        ["One seed; in brackets the 95 % interval over clips or their groups."],
        ["Mean ± sample standard deviation over 3 seeds.", UNFINISHED],
    ]


def test_a_single_score_without_an_interval_states_the_reason() -> None:
    alone = replace(ONE, benchmark="y", split="test")
    assert only([alone]).common == ["One seed; too few clips or groups for an interval."]
    assert only(folds(0.7)).common == ["One seed.", "Unfinished: 1 of 5 folds."]


def test_complete_folds_have_no_note() -> None:
    assert only(folds(0.1, 0.2, 0.3, 0.4, 0.5)).common == [
        "Mean ± sample standard deviation over the folds of one seed."
    ]
    assert "Unfinished" not in " ".join(only([replace(ONE, benchmark="mine")]).common)


def test_peers_stand_beside_their_own_protocol_and_benchmarks() -> None:
    assert {peer.protocol for peer in only([ONE]).peers} == {"linear"}
    (table,) = tables([replace(ONE, protocol="finetune")])
    assert "EAT (10 epochs)" in {peer.model for peer in table.peers}
    assert "EAT (30 epochs)" not in {peer.model for peer in table.peers}, "no ESC-50 published"
    assert only([ONE], published=False).peers == []
    assert only([replace(ONE, benchmark="mine")]).peers == []
    assert only([replace(ONE, protocol="from scratch")]).peers == []
