"""UrbanSound8K in its ten folds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from trees import urbansound8k

from aasp.datasets.benchmarks.urbansound8k import CLASSES, URBANSOUND8K
from aasp.errors import AaspError

MINIATURE = replace(URBANSOUND8K, counts={str(fold): 20 for fold in (1, 2, 3)})


def test_the_published_layout(tmp_path: Path) -> None:
    found = MINIATURE.open(urbansound8k(tmp_path, CLASSES))
    assert found.notes == [] and len(found) == 60
    assert found.groups is not None and len(set(found.groups)) == 30
    row = list(found.sounds).index(str(tmp_path / "audio" / "fold3" / "306-6-0-1.wav"))
    assert (found.labels[row], found.parts[row], found.groups[row]) == (("gun_shot",), "3", "306")


def test_counts_that_differ_from_the_published_are_noted(tmp_path: Path) -> None:
    notes = URBANSOUND8K.open(urbansound8k(tmp_path, CLASSES)).notes
    assert "part 1: 20 clips, published 873" in notes and "part 10: 0 clips, published 837" in notes


def test_a_recording_in_two_folds_is_noted(tmp_path: Path) -> None:
    table = urbansound8k(tmp_path, CLASSES) / "metadata" / "UrbanSound8K.csv"
    table.write_text(table.read_text().replace("101-1-0-0.wav,101,", "101-1-0-0.wav,200,"))
    assert MINIATURE.open(tmp_path).notes == [
        "groups in more than one fold: 1, the first 200; folds keep them together"
    ]


def test_a_class_that_is_not_its_number(tmp_path: Path) -> None:
    table = urbansound8k(tmp_path, CLASSES) / "metadata" / "UrbanSound8K.csv"
    table.write_text(table.read_text().replace(",1,car_horn", ",1,siren", 1))
    with pytest.raises(AaspError, match=r"UrbanSound8K\.csv, line 8: classID 1 is not 'siren'"):
        MINIATURE.open(tmp_path)


def test_a_copy_without_its_list(tmp_path: Path) -> None:
    with pytest.raises(AaspError, match=r"no such file: .*metadata.UrbanSound8K\.csv"):
        URBANSOUND8K.open(tmp_path)
