"""AudioSet: Google's lists, and files of many names in many folders."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aasp.datasets.benchmarks.audioset import AUDIOSET_2M, AUDIOSET_20K
from aasp.datasets.index import Skipped
from aasp.errors import AaspError

CLASSES = """index,mid,display_name
0,/m/09x0r,"Speech"
1,/m/05zppz,"Male speech, man speaking"
2,/m/04rlf,"Music"
"""
HEADER = """# Segments csv created Sun Mar  5 10:54:25 2017
# num_ytids=2, num_segs=2, num_unique_labels=3, num_positive_labels=4
# YTID, start_seconds, end_seconds, positive_labels
"""
BALANCED = '-0RWZT-miFs, 420.000, 430.000, "/m/05zppz,/m/09x0r"\nY_Yabcdefgh, 0.000, 10.000, "/m/04rlf"\n'
UNBALANCED = '--4gqARaEJE, 30.000, 40.000, "/m/05zppz,/m/09x0r"\n'
EVAL = 'zzzzzzzzzzz, 30.000, 40.000, "/m/04rlf"\n4-567890_12, 7.000, 17.000, "/m/09x0r"\n'


@pytest.fixture
def lists(list_of: Callable[[str, str], None]) -> None:
    list_of("class_labels_indices.csv", CLASSES)
    list_of("balanced_train_segments.csv", HEADER + BALANCED)
    list_of("unbalanced_train_segments.csv", HEADER + UNBALANCED)
    list_of("eval_segments.csv", HEADER + EVAL)


@pytest.mark.usefixtures("lists")
def test_a_balanced_copy(plant) -> None:
    root = plant("bal/-0RWZT-miFs.wav", "bal/Y_Yabcdefgh.flac", "eval/zzzzzzzzzzz.ogg", "eval/4-567890_12.mp3")
    found = AUDIOSET_20K.open(root)
    zipped = zip(found.sounds, found.labels, found.parts, strict=True)
    clips = {os.path.basename(path): (labels, part) for path, labels, part in zipped}
    assert clips == {
        "-0RWZT-miFs.wav": (("Male speech, man speaking", "Speech"), "train"),
        "Y_Yabcdefgh.flac": (("Music",), "train"),
        "zzzzzzzzzzz.ogg": (("Music",), "test"),
        "4-567890_12.mp3": (("Speech",), "test"),
    }
    assert found.classes == ["Speech", "Male speech, man speaking", "Music"]
    assert found.multilabel and found.groups is None and not found.missing
    assert found.notes == [
        "part train: 2 clips, published 22,160",
        "part test: 2 clips, published 20,371",
        "classes with a clip: 3, published 527",
    ]


@pytest.mark.usefixtures("lists")
def test_the_large_train_part_is_both_lists_and_shares_its_labels(plant) -> None:
    root = plant("bal/-0RWZT-miFs.wav", "bal/Y_Yabcdefgh.wav", "a/b/--4gqARaEJE.wav", "zzzzzzzzzzz.wav")
    found = AUDIOSET_2M.open(root)
    assert sorted(found.parts) == ["test", "train", "train", "train"]
    several = [labels for labels in found.labels if len(labels) == 2]
    assert len(several) == 2 and several[0] is several[1], "two million clips, one tuple for each combination"
    assert sum(AUDIOSET_2M.counts.values()) == 2_041_789 + 22_160 + 20_371


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize(
    "name",
    [
        "-0RWZT-miFs",
        "Y-0RWZT-miFs",
        "-0RWZT-miFs_420",
        "-0RWZT-miFs_420.000_430.000",
        "-0RWZT-miFs_420-430",
        "-0RWZT-miFs_420000",
        "-0RWZT-miFs_420000_430000",
        "Y-0RWZT-miFs_000420",
    ],
)
def test_the_names_that_copies_use(plant, name: str) -> None:
    found = AUDIOSET_20K.read(plant(f"somewhere/{name}.wav"))
    assert [os.path.basename(str(path)) for path in found.sounds] == [f"{name}.wav"]
    assert found.parts == ["train"]


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize("name", ["-0RWZT-miFs_10", "-0RWZT-miFs_42", "-0RWZT-miFs_x", "x-0RWZT-miFs", "-0RWZT-miF"])
def test_a_file_of_another_moment_or_video_is_not_the_clip(plant, name: str) -> None:
    found = AUDIOSET_20K.read(plant("zzzzzzzzzzz.wav", f"{name}.wav"))
    assert found.parts == ["test"]


@pytest.mark.usefixtures("lists")
def test_an_id_that_begins_with_y_is_not_mistaken(plant) -> None:
    found = AUDIOSET_20K.read(plant("Y_Yabcdefgh.wav"))
    assert found.labels == [("Music",)]
    again = AUDIOSET_20K.read(plant("YY_Yabcdefgh_0_10.flac"))
    assert again.labels == [("Music",)]
    assert again.notes == ["files not used because another one holds the same clip: 1"]


@pytest.mark.usefixtures("lists")
def test_missing_clips_are_counted_listed_and_noted(plant) -> None:
    root = plant("-0RWZT-miFs.wav", "zzzzzzzzzzz.wav")
    (root / "Y_Yabcdefgh.mpc").write_bytes(b"sound, but none that we read")
    found = AUDIOSET_20K.open(root)
    assert found.missing == [
        Skipped("Y_Yabcdefgh", "format not supported (.mpc); convert it to a supported one"),
        Skipped("4-567890_12", "no file of this YouTube id (test)"),
    ]
    assert found.notes[-1].startswith("missing: 2 clips, the first Y_Yabcdefgh: format not supported (.mpc)")


@pytest.mark.usefixtures("lists")
def test_each_folder_is_listed_once(plant, monkeypatch: pytest.MonkeyPatch) -> None:
    root = plant("a/-0RWZT-miFs.wav", "a/zzzzzzzzzzz.wav", "b/4-567890_12.wav")
    listed: list[str] = []
    scan = os.scandir

    def scandir(path):
        listed.append(os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    AUDIOSET_20K.read(root)
    assert sorted(listed) == sorted([str(root), str(root / "a"), str(root / "b")])


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("eval_segments.csv", HEADER + EVAL + "zzzzzzzzzz2, 30.000\n", "line 6: 2 values instead of 4"),
        ("eval_segments.csv", HEADER + 'zzzz, 30.000, 40.000, "/m/04rlf"\n', "line 4: 'zzzz' is not a YouTube id"),
        ("eval_segments.csv", HEADER + EVAL + BALANCED, "line 6: -0RWZT-miFs is listed twice"),
        ("eval_segments.csv", HEADER + 'zzzzzzzzzzz, 3, 4, "/m/04rlf,/m/0"\n', "line 4: '/m/0' is not in class_labels"),
        ("eval_segments.csv", HEADER + 'zzzzzzzzzzz, soon, 4, "/m/04rlf"\n', "line 4: start 'soon' is not a number"),
        ("class_labels_indices.csv", CLASSES + '4,/m/0,"Owl"\n', "line 5: class out of order or repeated"),
        ("class_labels_indices.csv", CLASSES + '3,/m/0,"Music"\n', "line 5: class out of order or repeated"),
        ("class_labels_indices.csv", "index,mid\n", "no column display_name"),
    ],
)
def test_a_damaged_list_is_one_line(plant, list_of, file: str, text: str, message: str) -> None:
    list_of(file, text)
    with pytest.raises(AaspError) as error:
        AUDIOSET_20K.open(plant("-0RWZT-miFs.wav"))
    assert message in str(error.value) and file in str(error.value) and "\n" not in str(error.value)


def test_a_wrong_root(tmp_path: Path, plant, list_of) -> None:
    with pytest.raises(AaspError, match="audioset_20k: no such folder"):
        AUDIOSET_20K.open(tmp_path / "nowhere")
    with pytest.raises(AaspError, match=r"no such file: .*class_labels_indices\.csv"):
        AUDIOSET_20K.open(plant("-0RWZT-miFs.wav"))
    list_of("class_labels_indices.csv", CLASSES)
    list_of("balanced_train_segments.csv", HEADER + BALANCED)
    list_of("eval_segments.csv", HEADER + EVAL)
    (tmp_path / "-0RWZT-miFs.wav").rename(tmp_path / "dog.wav")
    with pytest.raises(AaspError, match="none of the 4 listed clips is under"):
        AUDIOSET_20K.open(tmp_path)
    with pytest.raises(AaspError, match=r"no such file: .*unbalanced_train_segments\.csv"):
        AUDIOSET_2M.open(tmp_path)
