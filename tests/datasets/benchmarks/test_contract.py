"""Notes on a copy's differences from the published set, and what every benchmark of the registry states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aasp.datasets import benchmarks
from aasp.datasets.benchmarks import BENCHMARKS
from aasp.datasets.benchmarks.contract import Benchmark
from aasp.datasets.index import Skipped
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError


def copy(parts: list[str], labels: str, groups: str | None = None, missing: tuple[Skipped, ...] = ()) -> LabelledSet:
    sounds = [f"{number}.wav" for number in range(len(parts))]
    marks = [(label,) for label in labels]
    return LabelledSet("toy", "toy", sounds, marks, parts, "ab", groups and list(groups), missing=missing)


@pytest.fixture
def toy() -> Benchmark:
    whole = copy(["1", "1", "2", "2"], "abab", "xyzz")
    return replace(BENCHMARKS["esc50"], name="toy", classes=2, counts={"1": 2, "2": 2}, read=lambda root: whole)


def test_a_whole_copy_differs_in_nothing(toy: Benchmark, tmp_path: Path) -> None:
    assert toy.open(tmp_path).notes == []


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (copy(["1", "2", "2"], "aba"), "part 1: 1 clips, published 2"),
        (copy(["1", "1", "2", "2", "3"], "ababa"), "part 3: 1 clips, published 0"),
        (copy(["1", "1", "2", "2"], "aaaa"), "classes with a clip: 1, published 2"),
        (copy(["1", "1", "2", "2"], "abab", "xyyz"), "groups in more than one fold: 1, the first y"),
        (copy(["1", "1", "2"], "aba", missing=(Skipped("9.wav", "no such file"),)), "missing: 1 clips, the first 9"),
    ],
)
def test_each_difference_is_noted(toy: Benchmark, tmp_path: Path, found: LabelledSet, message: str) -> None:
    notes = replace(toy, read=lambda root: found).open(tmp_path).notes
    assert any(note.startswith(message) for note in notes)


def test_groups_may_be_in_two_parts_where_parts_are_no_folds(toy: Benchmark) -> None:
    speakers = replace(toy, counts={"train": 2, "test": 2})
    assert speakers.differences(copy(["train", "train", "test", "test"], "abab", "xyxy")) == []


def test_classes_that_never_occur_are_no_difference_where_it_is_known(toy: Benchmark) -> None:
    found = copy(["1", "1", "2", "2"], "aaaa")
    assert toy.differences(found) != []
    assert replace(toy, all_occur=False).differences(found) == []


def test_a_root_that_is_not_there(toy: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(AaspError, match=r"toy: no such folder: .*x; `aasp benchmarks toy`"):
        toy.open(tmp_path / "x")


def test_the_papers_seven_come_first() -> None:
    seven = ["audioset_2m", "audioset_20k", "esc50", "urbansound8k", "nsynth_family", "speech_commands_v2", "crema_d"]
    assert benchmarks.names()[:7] == seven
    assert benchmarks.get("crema_d").name == "crema_d"


def test_an_unknown_benchmark_names_a_near_one() -> None:
    with pytest.raises(AaspError, match=r"benchmark 'esc51' is unknown; did you mean 'esc50'\?"):
        benchmarks.get("esc51")
    with pytest.raises(AaspError, match="known: audioset_2m, "):
        benchmarks.get("qqqqq")


@pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=list(BENCHMARKS))
def test_every_benchmark_states_its_downloads_and_layout(benchmark: Benchmark) -> None:
    assert BENCHMARKS[benchmark.name] is benchmark
    assert benchmark.classes > 1 and all(count > 0 for count in benchmark.counts.values())
    parts = set(benchmark.counts)
    assert {"train", "test"} <= parts <= {"train", "valid", "test"} or parts == set(map(str, range(1, len(parts) + 1)))
    assert benchmark.layout and benchmark.reference and benchmark.downloads
    for download in benchmark.downloads:
        assert download.url.startswith("http") and download.licence and download.what


PUBLISHED = {
    "esc50": 2_000,
    "esc10": 400,
    "urbansound8k": 8_732,
    "nsynth_family": 305_979,
    "speech_commands_v2": 105_829,
    "speech_commands_v1": 64_721,
    "crema_d": 7_438,
    "crema_d_evar": 7_438,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parts_add_up_to_the_published_total(name: str) -> None:
    assert sum(BENCHMARKS[name].counts.values()) == PUBLISHED[name]
