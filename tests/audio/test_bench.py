"""A thousand files of all kinds, whole and spoilt: each is read as ffmpeg reads it, or refused for the right reason.

The files that ffmpeg, sox and lame write are made in the slow tests, and skipped where those programs are missing; what
Python alone can make, and knows the samples of, is in the fast ones. `benchmarks/reliability.py` counts the same files.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.case import Case
from bench.catalogue import SHELVES, cases
from bench.oracle import judged
from bench.workshop import Unavailable, Workshop

ALL = list(cases())
# The number of each family that needs no program at all.
MIN_WITHOUT_TOOLS = {"uncompressed": 90, "mp3": 1, "ogg_flac": 8, "containers": 1, "neighbours": 25}


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Workshop:
    """One folder of made files for all processes that run tests."""
    base = tmp_path_factory.getbasetemp()
    return Workshop((base if worker_id == "master" else base.parent) / "workshop")


def test_no_two_files_are_the_same() -> None:
    assert len({(case.family, case.name) for case in ALL}) == len(ALL) > 1000


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids=lambda case: f"{case.family}-{ascii(case.name)[1:-1]}")
def test_a_file_is_read_correctly_or_refused_for_the_right_reason(
    case: Case, workshop: Workshop, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg, to tell what is right")
    try:
        content = case.make(workshop)
    except Unavailable as why:
        pytest.skip(str(why))
    path = tmp_path / case.name
    path.write_bytes(content)
    outcome = judged(path, case)
    assert outcome.verdict == ("refused rightly" if case.refused else "read right"), outcome.detail
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("shelf", MIN_WITHOUT_TOOLS)
def test_files_made_by_python_alone(shelf: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    workshop = Workshop(tmp_path / "workshop", tools=False)
    tried, wrong = 0, []
    for case in SHELVES[shelf]():
        path = tmp_path / case.name
        try:
            path.write_bytes(case.make(workshop))
            outcome = judged(path, case, tools=False)
        except Unavailable:
            continue
        tried += 1
        if outcome.verdict == "wrong":
            wrong.append(f"{case.name}: {outcome.detail}")
    assert wrong == []
    assert tried >= MIN_WITHOUT_TOOLS[shelf]
    assert capfd.readouterr().err == ""
