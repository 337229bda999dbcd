"""The peers' numbers: every cell has a number and known marks, sums agree with the source, benchmarks are known."""

from __future__ import annotations

import re

import pytest

from aasp.datasets.benchmarks import BENCHMARKS
from aasp.evaluate.published import MARKS, peers

LINEAR = {peer.model: peer for peer in peers() if peer.protocol == "linear"}
FINETUNE = {peer.model: peer for peer in peers() if peer.protocol == "finetune"}


def test_every_number_has_a_source() -> None:
    for peer in peers():
        assert peer.values.keys() == peer.marks.keys() and peer.values, peer.model
        for benchmark, value in peer.values.items():
            assert re.fullmatch(r"\d\d\.\d(–\d\d\.\d)?", value), (peer.model, benchmark)
            assert peer.marks[benchmark] and set(peer.marks[benchmark]) <= MARKS.keys()
        assert re.fullmatch(r"20[12]\d", peer.year)
    assert len(peers()) == len(LINEAR) + len(FINETUNE)


@pytest.mark.parametrize(
    ("model", "average"),
    {
        "M2D": 80.2,
        "ATST-Clip": 77.9,
        "ATST-Frame": 79.9,
        "BEATs iter3": 72.1,
        "EAT base": 70.0,
        "SSLAM": 69.4,
        "BYOL-A": 72.4,
    }.items(),
)
def test_evar_s_rows_have_evar_s_average(model: str, average: float) -> None:
    values = [float(value) for value in LINEAR[model].values.values()]
    assert len(values) == 9 and sum(values) / 9 == pytest.approx(average, abs=0.06)


def test_the_paper_s_own_numbers() -> None:
    assert FINETUNE["AaPE v1"].values == {"esc50": "97.5", "nsynth_family": "80.5"}
    assert LINEAR["AaPE v1"].values == {"urbansound8k": "89.7"}
    assert all("p" in marks for peer in (FINETUNE, LINEAR) for marks in peer["AaPE v1"].marks.values())


def test_the_columns_are_benchmarks_of_the_registry() -> None:
    named = {benchmark for peer in peers() for benchmark in peer.values}
    assert named <= BENCHMARKS.keys(), sorted(named - BENCHMARKS.keys())
