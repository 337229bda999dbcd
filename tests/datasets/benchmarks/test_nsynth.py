"""NSynth by Google's lists, and notes that only have NSynth's names."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from trees import nsynth, sound, table

from aasp.datasets.benchmarks import BENCHMARKS
from aasp.datasets.benchmarks.nsynth import FAMILIES, NSYNTH_FAMILY, NSYNTH_PITCH, NSYNTH_SOURCE, SOURCES
from aasp.errors import AaspError

INSTRUMENTS = {
    "train": [f"{family}_{SOURCES[k % 3]}_{k:03d}" for k, family in enumerate(FAMILIES)],
    "valid": ["bass_acoustic_020"],
    "test": ["vocal_synthetic_021", "reed_electronic_022"],
}
COUNTS = {"train": 22, "valid": 2, "test": 4}


def test_the_published_layout(tmp_path: Path) -> None:
    nsynth(tmp_path, INSTRUMENTS)
    family, pitch, source = (
        replace(one, counts=COUNTS).open(tmp_path) for one in (NSYNTH_FAMILY, NSYNTH_PITCH, NSYNTH_SOURCE)
    )
    assert family.notes == [] and source.notes == [] and pitch.notes == ["pitches that occur: 2 of the 128 numbers"]
    assert tuple(family.classes) == FAMILIES and tuple(source.classes) == SOURCES
    assert list(pitch.classes) == [str(number) for number in range(128)]
    path = tmp_path / "nsynth-train" / "audio" / "synth_lead_acoustic_009-060-100.wav"
    row = list(family.sounds).index(str(path))
    assert (family.labels[row], source.labels[row], pitch.labels[row]) == (("synth_lead",), ("acoustic",), ("60",))
    assert family.groups is not None and family.groups[row] == "synth_lead_acoustic_009"
    assert Counter(family.parts) == COUNTS


def test_one_part_alone_can_be_read_and_missing_parts_are_noted(tmp_path: Path) -> None:
    found = NSYNTH_FAMILY.open(nsynth(tmp_path, {"test": INSTRUMENTS["test"]}))
    assert set(found.parts) == {"test"}
    assert "part train: 0 clips, published 289,205" in found.notes


def test_a_missing_note_is_named(tmp_path: Path) -> None:
    gone = nsynth(tmp_path, INSTRUMENTS) / "nsynth-valid" / "audio" / "bass_acoustic_020-040-100.wav"
    gone.unlink()
    found = NSYNTH_FAMILY.open(tmp_path)
    assert [file.path for file in found.missing] == [str(gone)]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "not a list of notes by name"),
        ('{"a": {"pitch": 3}}', "a has no instrument, family, source or pitch"),
    ],
)
def test_a_broken_list(tmp_path: Path, content: str, complaint: str) -> None:
    path = nsynth(tmp_path, INSTRUMENTS) / "nsynth-train" / "examples.json"
    path.write_text(content)
    with pytest.raises(AaspError) as error:
        NSYNTH_FAMILY.open(tmp_path)
    assert str(path) in str(error.value) and complaint in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_family(tmp_path: Path) -> None:
    nsynth(tmp_path, {"train": ["kazoo_acoustic_001"]})
    with pytest.raises(AaspError, match="'kazoo' is not a class of nsynth_family"):
        NSYNTH_FAMILY.open(tmp_path)


def test_a_part_without_its_list(tmp_path: Path) -> None:
    (nsynth(tmp_path, INSTRUMENTS) / "nsynth-valid" / "examples.json").unlink()
    with pytest.raises(AaspError, match=r"no such file: .*nsynth-valid.examples\.json; fetch the archive"):
        NSYNTH_FAMILY.open(tmp_path)


def test_a_wrong_root(tmp_path: Path) -> None:
    with pytest.raises(AaspError, match="no nsynth-train/, -valid/ or -test/"):
        NSYNTH_FAMILY.open(tmp_path)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (("audio/bass_acoustic_001-60.wav", "train"), "line 2: bass_acoustic_001-60.wav is not named"),
        (("audio/kazoo_acoustic_001-060-100.wav", "train"), "line 2: kazoo_acoustic_001-060-100.wav is not named"),
        (("audio/bass_acoustic_001-060-100.wav", "dev"), "line 2: unknown part 'dev'"),
    ],
)
def test_user_notes_that_cannot_be_read(tmp_path: Path, row: tuple[str, str], complaint: str) -> None:
    sound(tmp_path / row[0])
    table(tmp_path / "index.csv", ("path", "split"), [row])
    with pytest.raises(AaspError, match=complaint):
        NSYNTH_FAMILY.open(tmp_path)


@pytest.mark.parametrize(("name", "column"), [("nsynth_family", "label"), ("nsynth_source", "instrument_source")])
def test_names_of_the_real_notes_agree_with_their_index(data_root: Path, name: str, column: str) -> None:
    from aasp.datasets.benchmarks.index import open_index

    index = data_root / "nsynth_like" / "index.csv"
    by_name = BENCHMARKS[name].open(index.parent)
    by_index = open_index(index, column, "split", "instrument")
    for field in ("sounds", "labels", "parts", "groups"):
        assert list(getattr(by_name, field)) == list(getattr(by_index, field))
    assert by_name.notes[0].startswith("not Google's release")
    assert "part train: 518 clips, published 289,205" in by_name.notes


def test_the_pitches_of_the_real_notes(data_root: Path) -> None:
    found = NSYNTH_PITCH.open(data_root / "nsynth_like")
    assert "pitches that occur: 72 of the 128 numbers" in found.notes and len(found.classes) == 128
    assert found.groups is not None
    instruments = set(zip(found.groups, found.parts, strict=True))
    assert len(instruments) == len({instrument for instrument, _ in instruments}) == 75
