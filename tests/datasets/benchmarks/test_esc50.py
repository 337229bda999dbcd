"""ESC-50 and ESC-10, by the published list and by file names alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from trees import ESC50_COLUMNS, esc50, sound, table

from aasp.datasets.benchmarks.esc50 import CLASSES, ESC10, ESC10_CLASSES, ESC50
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError

MINIATURE = replace(ESC50, counts={"1": 100, "2": 50, "3": 50, "4": 50, "5": 50})


def folds_of_groups(found: LabelledSet) -> Counter[int]:
    """How many folds a recording is in, for all recordings."""
    assert found.groups is not None
    folds: dict[str, set[str]] = {}
    for group, fold in zip(found.groups, found.parts, strict=True):
        folds.setdefault(group, set()).add(fold)
    return Counter(map(len, folds.values()))


def test_the_published_layout(tmp_path: Path) -> None:
    found = MINIATURE.open(esc50(tmp_path, CLASSES))
    assert found.notes == [] and found.missing == []
    assert len(found) == 300 and tuple(found.classes) == CLASSES
    row = list(found.sounds).index(str(tmp_path / "audio" / "3-3041-A-41.wav"))
    assert (found.labels[row], found.parts[row]) == (("chainsaw",), "3")
    assert folds_of_groups(found) == {1: 250}


def test_file_names_give_the_same_set_as_the_list(tmp_path: Path) -> None:
    by_list = MINIATURE.open(esc50(tmp_path, CLASSES))
    (tmp_path / "meta" / "esc50.csv").unlink()
    by_name = MINIATURE.open(tmp_path)
    assert by_name.groups is not None and by_list.groups is not None
    facts = [set(zip(s.sounds, s.labels, s.parts, s.groups or (), strict=True)) for s in (by_list, by_name)]
    assert facts[0] == facts[1]
    assert [note for note in by_name.notes if "esc50.csv" in note] == by_name.notes


def test_esc10_is_the_part_of_ten_classes(tmp_path: Path) -> None:
    found = ESC10.open(esc50(tmp_path, CLASSES))
    assert {label for labels in found.labels for label in labels} == set(ESC10_CLASSES) == set(found.classes)
    assert len(found) == 60
    assert "part 1: 20 clips, published 80" in found.notes


def test_a_missing_clip_is_named(tmp_path: Path) -> None:
    gone = esc50(tmp_path, CLASSES) / "audio" / "2-2000-A-0.wav"
    gone.unlink()
    found = MINIATURE.open(tmp_path)
    assert [file.path for file in found.missing] == [str(gone)]
    assert "part 2: 49 clips, published 50" in found.notes
    assert f"missing: 1 clips, the first {gone}: no such file" in found.notes


def test_a_recording_in_two_folds_is_noted(tmp_path: Path) -> None:
    rows = [(f"{fold}-7-{take}-0.wav", fold, 0, "dog", True, 7, take) for fold, take in ((1, "A"), (2, "B"))]
    table(tmp_path / "meta" / "esc50.csv", ESC50_COLUMNS, rows)
    for row in rows:
        sound(tmp_path / "audio" / row[0])
    assert "groups in more than one fold: 1, the first 7; folds keep them together" in ESC50.open(tmp_path).notes


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (("1-1-A-0.wav", 1, 0, "cat", True, 1, "A"), "line 2: target 0 is not 'cat'"),
        (("1-1-A-50.wav", 1, 50, "dog", True, 1, "A"), "line 2: target 50 is not 'dog'"),
        (("1-1-A-0.wav", 1, "x", "dog", True, 1, "A"), "line 2: target x is not 'dog'"),
        (("1-1-A-0.wav", 1, 0, "dog"), "line 2: 4 values in 7 columns"),
    ],
)
def test_a_wrong_line(tmp_path: Path, row: tuple[object, ...], complaint: str) -> None:
    table(tmp_path / "meta" / "esc50.csv", ESC50_COLUMNS, [row])
    with pytest.raises(AaspError, match=complaint):
        ESC50.open(tmp_path)


def test_a_wrong_root(tmp_path: Path) -> None:
    with pytest.raises(AaspError, match=r"esc50: neither .*esc50\.csv nor clips in .*audio; `aasp benchmarks esc50`"):
        ESC50.open(tmp_path)


def test_an_unknown_file_among_the_clips(tmp_path: Path) -> None:
    sound(tmp_path / "audio" / "holiday.wav")
    with pytest.raises(AaspError, match=r"holiday\.wav: not named FOLD-CLIP-TAKE-TARGET"):
        ESC50.open(tmp_path)


def test_the_real_ten_classes(data_root: Path) -> None:
    found = ESC10.open(data_root / "esc10")
    assert ESC10.differences(found) == []
    assert len(found) == 400 and folds_of_groups(found) == {1: 304}
    assert Counter(found.labels) == {(name,): 40 for name in ESC10_CLASSES}
    fifty = ESC50.open(data_root / "esc10")
    assert list(fifty.labels) == list(found.labels) and tuple(fifty.classes) == CLASSES
    assert "classes with a clip: 10, published 50" in fifty.notes
