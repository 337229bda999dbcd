"""VoxForge: with EVAR's list, and without."""

from __future__ import annotations

import os

import pytest

from aasp.datasets.benchmarks.own_split import part_of
from aasp.datasets.benchmarks.voxforge import LANGUAGES, VOXFORGE, speaker_of
from aasp.errors import AaspError

LIST = """file_name,label,split
ralf-20070819-de1/wav/de1-01.wav,de,train
Ralf-20080101-abc/wav/de1-02.wav,de,valid
anonymous-20080723-xyz/wav/a0001.wav,en,test
"""


def test_with_the_list(plant, list_of) -> None:
    list_of("voxforge.csv", LIST)
    files = [line.split(",")[0] for line in LIST.splitlines()[1:]]
    found = VOXFORGE.open(plant(*files[:2], files[2].replace(".wav", ".flac")))
    assert [os.path.splitext(os.path.relpath(str(path), found.source))[0] for path in found.sounds] == [
        os.path.splitext(file)[0] for file in files
    ]
    assert found.labels == [("de",), ("de",), ("en",)]
    assert found.parts == ["train", "valid", "test"]
    assert found.groups == ["ralf", "ralf", "anonymous-20080723-xyz"]
    assert not any("our own split" in note for note in found.notes)
    assert sum(VOXFORGE.counts.values()) == 176_428


def test_without_the_list_speakers_are_divided_and_a_note_says_so(plant) -> None:
    sessions = [f"{LANGUAGES[who % 6]}/who{who}-2008010{day}-abc" for who in range(30) for day in (1, 2)]
    root = plant(*(f"{session}/wav/a.wav" for session in sessions), "de/who0-20090101-new/flac/b.flac")
    found = VOXFORGE.open(root)
    assert "our own split" in found.notes[0] and "not comparable" in found.notes[0]
    assert len(found) == len(sessions) + 1 and found.classes == LANGUAGES
    where = {}
    for group, part in zip(found.groups, found.parts, strict=True):
        assert where.setdefault(group, part) == part, "a speaker in two parts"
    assert len(where) == 30 and set(where.values()) == {"train", "valid", "test"}
    assert VOXFORGE.read(root).parts == found.parts


@pytest.mark.parametrize(
    ("session", "speaker"),
    [
        ("ralfherzog-20070819-de1", "ralfherzog"),
        ("Jean-Luc-20080101-xyz", "jean-luc"),
        ("anonymous-20080723-xyz", "anonymous-20080723-xyz"),
        ("Anónimo-20080723-xyz", "Anónimo-20080723-xyz"),
        ("somebody", "somebody"),
    ],
)
def test_speaker_of_a_session(session: str, speaker: str) -> None:
    assert speaker_of(session) == speaker


def test_the_shares_of_our_split() -> None:
    shares = {"train": 0.7, "valid": 0.15, "test": 0.15}
    parts = [part_of(f"speaker {number}", shares) for number in range(4000)]
    for part, share in shares.items():
        assert abs(parts.count(part) / 4000 - share) < 0.03  # four deviations


def test_bad_input(plant, list_of) -> None:
    list_of("voxforge.csv", LIST + "a/wav/b.wav,de,dev\n")
    with pytest.raises(AaspError, match=r"voxforge\.csv, line 5: not SESSION/wav/FILE with train, valid or test"):
        VOXFORGE.open(plant("a/wav/b.wav"))
    list_of("voxforge.csv", LIST + "b.wav,de,train\n")
    with pytest.raises(AaspError, match=r"voxforge\.csv, line 5"):
        VOXFORGE.open(plant("b.wav"))


def test_a_wrong_root(plant) -> None:
    with pytest.raises(AaspError, match=r"voxforge: neither .*voxforge\.csv nor sessions in the folders de, en"):
        VOXFORGE.open(plant("ralf-20070819-de1/wav/de1-01.wav"))
