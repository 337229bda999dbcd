"""Code shared by the readers: lists with clear errors, folders listed once, draws that are the same everywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from trees import sound

from aasp.audio.sounds import Excerpt
from aasp.datasets.benchmarks.files import Clip, Listing, draw, labelled_set, read_rows
from aasp.errors import AaspError


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("name,fold\na.wav,1\nb.wav\n", "line 3: 1 values in 2 columns"),
        ("name,fold\na.wav,1,2\n", "line 2: 3 values in 2 columns"),
        ("name,part\na.wav,1\n", "no column fold; it has name, part"),
        ("", "no column name; it has none"),
    ],
)
def test_a_broken_list_is_one_line_with_its_place(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(content)
    with pytest.raises(AaspError) as error:
        list(read_rows(path, ("name", "fold")))
    assert str(path) in str(error.value) and complaint in str(error.value) and "\n" not in str(error.value)


def test_a_list_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"name,fold\n\xff\xfe,1\n")
    with pytest.raises(AaspError, match="not a CSV file"):
        list(read_rows(tmp_path / "list.csv", ("name",)))


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AaspError, match=r"no such file: .*list\.csv; "):
        list(read_rows(tmp_path / "list.csv", ("name",)))


def test_each_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.wav", "b.flac", "c.txt"):
        (tmp_path / name).touch()
    listed = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or listdir(folder))
    monkeypatch.setattr(os.path, "exists", lambda path: pytest.fail("asked for one file"))
    listing = Listing()
    found = [listing.find(str(tmp_path / name)) for name in ("a.wav", "b.wav", "c.wav", "d.wav")]
    assert found == [str(tmp_path / "a.wav"), str(tmp_path / "b.flac"), None, None]
    assert listing.find(str(tmp_path / "none" / "a.wav")) is None
    assert listed == [str(tmp_path), str(tmp_path / "none")]


def test_the_published_format_comes_first(tmp_path: Path) -> None:
    for name in ("a.ogg", "a.wav", "a.flac"):
        (tmp_path / name).touch()
    assert Listing().sounds(tmp_path) == {"a": "a.wav"}


def test_missing_clips_are_listed_and_the_others_kept(tmp_path: Path) -> None:
    there, gone = str(sound(tmp_path / "a.wav")), str(tmp_path / "b.wav")
    clips = [Clip(gone, ("x",), "test", "g"), Clip(there, ("y",), "train", "h", (0.02, 0.05))]
    found = labelled_set("esc50", tmp_path, clips, ("x", "y"))
    assert found.sounds == [Excerpt(there, 0.02, 0.05)]
    assert (found.labels, found.parts, found.groups) == ([("y",)], ["train"], ["h"])
    assert found.missing == [(gone, "no such file")]


def test_a_set_of_which_nothing_is_there_is_refused(tmp_path: Path) -> None:
    clips = [Clip(str(tmp_path / "b.wav"), ("x",), "test")]
    with pytest.raises(AaspError, match=r"all 1 clips are missing, the first .*b\.wav; `aasp benchmarks esc50`"):
        labelled_set("esc50", tmp_path, clips, ("x",))


def test_draws_are_spread_and_never_change() -> None:
    drawn = [draw(str(number)) for number in range(2_000)]
    assert 0 <= min(drawn) < 0.01 and 0.99 < max(drawn) < 1
    assert abs(sum(drawn) / len(drawn) - 0.5) < 0.02
    assert draw("esc50") == pytest.approx(0.6787227682, abs=1e-10)
