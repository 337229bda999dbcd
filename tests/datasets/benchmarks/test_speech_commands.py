"""Speech Commands in three forms, by its official lists."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from trees import sound, speech_commands

from aasp.audio.sounds import Excerpt, files, read_sound
from aasp.datasets.benchmarks.speech_commands import (
    COMMANDS,
    SILENCE,
    SPEECH_COMMANDS_V1,
    SPEECH_COMMANDS_V2,
    SPEECH_COMMANDS_V2_10,
    SPEECH_COMMANDS_V2_12,
    UNKNOWN,
    WORDS,
)
from aasp.errors import AaspError

SPEAKERS = {"train": ["aaaa0000", "aaaa0001"], "valid": ["bbbb0000"], "test": ["cccc0000"]}
TEST_SET = "speech_commands_test_set_v0.02"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return speech_commands(tmp_path / "copy", WORDS["v0.02"], SPEAKERS)


def test_all_words_by_the_lists(root: Path) -> None:
    found = replace(SPEECH_COMMANDS_V2, counts={"train": 70, "valid": 35, "test": 35}).open(root)
    assert found.notes == [] and list(found.classes) == sorted(found.classes) and len(found.classes) == 35
    assert found.groups is not None
    expected = {(speaker, part) for part, speakers in SPEAKERS.items() for speaker in speakers}
    assert set(zip(found.groups, found.parts, strict=True)) == expected
    assert len(WORDS["v0.01"]) == 30 and set(WORDS["v0.01"]) < set(WORDS["v0.02"])


def test_ten_commands(root: Path) -> None:
    found = replace(SPEECH_COMMANDS_V2_10, counts={"train": 20, "valid": 10, "test": 10}).open(root)
    assert found.notes == [] and tuple(found.classes) == COMMANDS


def test_a_listed_clip_that_is_missing_is_named(root: Path) -> None:
    (root / "go" / "bbbb0000_nohash_0.wav").unlink()
    found = SPEECH_COMMANDS_V2.open(root)
    assert [Path(file.path).name for file in found.missing] == ["bbbb0000_nohash_0.wav"]


def test_twelve_classes_in_tensorflows_proportions(root: Path) -> None:
    found = SPEECH_COMMANDS_V2_12.open(root)
    counts = Counter(zip(found.parts, (label for (label,) in found.labels), strict=True))
    for part, commands in (("train", 20), ("valid", 10), ("test", 10)):
        assert sum(counts[part, word] for word in COMMANDS) == commands
        assert counts[part, UNKNOWN] == counts[part, SILENCE] == commands // 10
    assert tuple(found.classes) == (*COMMANDS, UNKNOWN, SILENCE)
    for piece, label in zip(found.sounds, found.labels, strict=True):
        if label == (UNKNOWN,):
            assert Path(files(piece)[0]).parent.name in set(WORDS["v0.02"]) - set(COMMANDS)
    assert any("no speech_commands_test_set_v0.02" in note for note in found.notes)


def test_the_choice_is_the_same_wherever_the_copy_lies(root: Path, tmp_path: Path) -> None:
    other = root.rename(tmp_path / "elsewhere")
    again = SPEECH_COMMANDS_V2_12.open(other)
    first = SPEECH_COMMANDS_V2_12.open(other.rename(root))
    moved = [str(sound).replace(str(other), str(root)) for sound in again.sounds]
    assert moved == [str(sound) for sound in first.sounds]


def test_parts_share_no_sample_of_silence(tmp_path: Path) -> None:
    many = {part: [f"{part}{number}" for number in range(10)] for part in SPEAKERS}
    found = SPEECH_COMMANDS_V2_12.open(speech_commands(tmp_path, COMMANDS, many))
    used: dict[tuple[str, str], tuple[float, float]] = {}
    for piece, part in zip(found.sounds, found.parts, strict=True):
        if isinstance(piece, Excerpt):
            begin, end = used.get((piece.path, part), (piece.start, piece.start))
            used[piece.path, part] = min(begin, piece.start), max(end, piece.start + piece.seconds)
    assert len(used) == 6
    for path in {path for path, _ in used}:
        spans = [used[path, part] for part in ("train", "valid", "test")]
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
        assert spans[0][0] >= 0 and spans[-1][1] <= 12
    assert found.groups is not None
    groups = {(group, part) for group, part in zip(found.groups, found.parts, strict=True) if "noise" in group}
    assert len({group for group, _ in groups}) == len(groups)
    piece = next(piece for piece in found.sounds if isinstance(piece, Excerpt))
    assert len(read_sound(piece, rate=8_000)) == 8_000


@pytest.mark.parametrize("beside", [True, False])
def test_the_published_test_set_is_the_test_part(root: Path, beside: bool) -> None:
    folder = (root.parent if beside else root) / TEST_SET
    sound(folder / "yes" / "dddd0000_nohash_1.wav")
    sound(folder / UNKNOWN / "bed_eeee0000_nohash_0.wav")
    sound(folder / SILENCE / "1041.wav")
    found = SPEECH_COMMANDS_V2_12.open(root)
    rows = [row for row, part in enumerate(found.parts) if part == "test"]
    assert found.groups is not None
    assert [(found.labels[row][0], found.groups[row]) for row in rows] == [
        ("yes", "dddd0000"),
        (UNKNOWN, "eeee0000"),
        (SILENCE, "_silence_/1041"),
    ]
    assert not any("no speech_commands_test_set" in note for note in found.notes)


def test_noise_that_is_too_short(root: Path) -> None:
    for noise in (root / "_background_noise_").iterdir():
        sound(noise, seconds=5)
    with pytest.raises(AaspError, match="_background_noise_: no recording of 10 s or more to cut the silence of valid"):
        SPEECH_COMMANDS_V2_12.open(root)


def test_the_other_version_is_recognised(root: Path) -> None:
    with pytest.raises(AaspError, match=r"validation_list\.txt, line 1: 'backward/.*' is no clip of one of the 30"):
        SPEECH_COMMANDS_V1.open(root)


def test_a_copy_without_its_lists(root: Path) -> None:
    (root / "testing_list.txt").unlink()
    with pytest.raises(AaspError, match=r"no such file: .*testing_list\.txt"):
        SPEECH_COMMANDS_V2.open(root)


def test_the_real_test_set(data_root: Path, root: Path) -> None:
    (root / TEST_SET).symlink_to(data_root / "speech_commands_v2_test12" / "audio")
    found = SPEECH_COMMANDS_V2_12.open(root)
    tested = Counter(label for (label,), part in zip(found.labels, found.parts, strict=True) if part == "test")
    assert tested == dict.fromkeys(found.classes, 160)
