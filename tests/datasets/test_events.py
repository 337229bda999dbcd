"""Tables of events: what is written is read back, each format as its own tools read it; mistakes are one line."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import soundfile

from aasp.datasets.benchmarks.open import open_labelled
from aasp.datasets.events import Event
from aasp.datasets.events.reading import read_events
from aasp.datasets.events.writing import check_events_output, format_of, write_events
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError

EVENTS = {
    "sounds/dog.wav": [
        Event("sounds/dog.wav", 0.16, 1.25, "bark, far", 0.75),
        Event("sounds/dog.wav", 0.5, 3.123456, "Vögel", 0.5),
    ],
    "sounds/still.wav": [],
    "more/dog.flac": [Event("more/dog.flac", 2.0, 2.04, "bark, far", 0.9)],
}
ALL = [event for ones in EVENTS.values() for event in ones]


def plain(events: list[Event], score: bool = True) -> list[tuple]:
    return [(Path(e.file).name, e.start, e.end, e.label, e.score if score else None) for e in events]


@pytest.mark.parametrize(("name", "kind"), [("a.csv", "csv"), ("a.parquet", "parquet"), ("a.tsv", "dcase")])
def test_a_table_in_one_file_is_read_back(name: str, kind: str, tmp_path: Path) -> None:
    out = tmp_path / name
    assert format_of(out, None) == kind
    write_events(out, kind, EVENTS)  # type: ignore[arg-type]
    found = read_events(out)
    assert plain(found.events, kind != "dcase") == plain(ALL, kind != "dcase")
    assert [event.file for event in found.events] == [event.file for event in ALL]
    assert ("sounds/still.wav" in found.files) == (kind == "dcase"), "DCASE's names a sound that holds nothing"


@pytest.mark.parametrize("kind", ["raven", "audacity"])
def test_tables_of_one_file_per_sound_are_read_back(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "labels"
    write_events(out, kind, EVENTS, band=(20.0, 8_000.0))  # type: ignore[arg-type]
    assert len(list(out.rglob("*.txt"))) == len(EVENTS), "also of the sound that holds nothing"
    found = read_events(out)
    assert sorted(plain(found.events, kind == "raven")) == sorted(plain(ALL, kind == "raven"))
    assert {Path(name).name for name in found.files} >= {"dog.wav", "dog.flac"}
    if kind == "raven":
        assert {(event.low_hz, event.high_hz) for event in found.events} == {(20.0, 8_000.0)}


def test_files_of_sounds_that_are_called_alike_do_not_meet(tmp_path: Path) -> None:
    paths = [str(tmp_path / folder / "x.wav") for folder in ("a", "b")]
    write_events(tmp_path / "out", "audacity", {path: [Event(path, 0, 1, path[-7])] for path in paths})
    assert (tmp_path / "out/a/x.wav.labels.txt").read_text() == "0.000000\t1.000000\ta\n"
    assert (tmp_path / "out/b/x.wav.labels.txt").read_text() == "0.000000\t1.000000\tb\n"


def test_the_columns_are_those_documented(tmp_path: Path) -> None:
    write_events(tmp_path / "a.parquet", "parquet", EVENTS)
    table = pa.parquet.read_table(tmp_path / "a.parquet")
    assert table.schema.names == ["file", "start", "end", "label", "score"]
    assert [str(kind) for kind in table.schema.types] == ["string", "double", "double", "string", "double"]
    write_events(tmp_path / "a.csv", "csv", EVENTS)
    first = (tmp_path / "a.csv").read_text().splitlines()[:2]
    assert first == ["file,start,end,label,score", 'sounds/dog.wav,0.16,1.25,"bark, far",0.75']
    write_events(tmp_path / "none.parquet", "parquet", {"a.wav": []})
    assert pa.parquet.read_table(tmp_path / "none.parquet").schema == table.schema


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = Path.write_text, []

    def full(self: Path, text: str, **named: str) -> int:
        written.append(self)
        if len(written) > 1:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write(self, text, **named)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=r"No space left.*labels'"):
        write_events(tmp_path / "labels", "raven", EVENTS)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="No space left"):
        write_events(tmp_path / "a.csv", "csv", EVENTS)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_refused_early(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").touch()
    (tmp_path / "empty").mkdir()
    check_events_output(tmp_path / "empty", "raven")
    for out, kind, message in (
        (tmp_path / "full", "raven", "output folder is not empty"),
        (tmp_path / "full/mine.txt", "audacity", "output is a file"),
        (tmp_path / "full/mine.txt", "csv", "output exists"),
        (tmp_path / "full/mine.txt/a.csv", "csv", "below a file"),
    ):
        with pytest.raises(AaspError, match=message):
            check_events_output(out, kind, overwrite=kind == "raven")  # type: ignore[arg-type]
    for out, format, message in (
        ("a.txt", None, "no format in the name a.txt"),
        ("a.csv", "raven", "whose name says csv"),
        ("a", "excel", "no such format: excel"),
    ):
        with pytest.raises(AaspError, match=message):
            format_of(Path(out), format)


READ = {
    "dcase, without a line of names": ("a.txt", "x.wav\t0.5\t1.0\tdog\nx.wav\t2\t3\tcat\n"),
    "dcase": ("a.tsv", "filename\tonset\toffset\tevent_label\nx.wav\t0.5\t1.0\tdog\ny.wav\t\t\t\nx.wav\t2\t3\tcat\n"),
    "semicolons": ("a.csv", "file;start;end;label\nx.wav;0.5;1.0;dog\nx.wav;2;3;cat\n"),
    "audacity": ("x.wav.txt", "0.5\t1.0\tdog\n\\\t100.0\t900.0\n2.0\t3.0\tcat\n"),
    "raven, a row for each of its views": (
        "x.wav.Table.1.selections.txt",
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tAnnotation\n"
        "1\tWaveform 1\t1\t0.5\t1.0\t0\t24000\tdog\n1\tSpectrogram 1\t1\t0.5\t1.0\t100\t900\tdog\n"
        "2\tWaveform 1\t1\t2\t3\t0\t24000\tcat\n",
    ),
    "raven, a row for each of two spectrograms": (
        "x.wav.Table.1.selections.txt",
        "Selection\tView\tBegin Time (s)\tEnd Time (s)\tAnnotation\n1\tSpectrogram 1\t0.5\t1.0\tdog\n"
        "1\tSpectrogram 2\t0.5\t1.0\tdog\n2\tSpectrogram 1\t2\t3\tcat\n2\tSpectrogram 2\t2\t3\tcat\n",
    ),
    "raven, tables of several times in one": (
        "x.wav.Table.1.selections.txt",
        "Selection\tView\tBegin Time (s)\tEnd Time (s)\tAnnotation\n1\tSpectrogram 1\t0.5\t1.0\tdog\n"
        "1\tWaveform 1\t2\t3\tcat\n",
    ),
    "raven, counting on over several sounds": (
        "all.txt",
        "Selection\tView\tBegin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tSpecies\n"
        "1\tSpectrogram 1\t60.5\t61.0\tx.wav\t0.5\tdog\n2\tSpectrogram 1\t62\t63\tx.wav\t2\tcat\n",
    ),
    "birdnet": (
        "b.csv",
        "Start (s),End (s),Scientific name,Common name,Confidence,File\n"
        "0.5,1.0,Canis,dog,0.9,x.wav\n2,3,Felis,cat,0.4,x.wav\n",
    ),
}


@pytest.mark.parametrize("kind", READ)
def test_tables_as_people_have_them(kind: str, tmp_path: Path) -> None:
    name, text = READ[kind]
    (tmp_path / name).write_text(text)
    found = read_events(tmp_path / name)
    events = [(Path(event.file).name, event.start, event.end, event.label) for event in found.events]
    assert events == [("x.wav", 0.5, 1.0, "dog"), ("x.wav", 2.0, 3.0, "cat")]
    if kind in ("audacity", "raven, a row for each of its views"):
        assert (found.events[0].low_hz, found.events[0].high_hz) == (100.0, 900.0)
    if kind == "birdnet":
        assert [event.score for event in found.events] == [0.9, 0.4]
    if kind == "dcase":
        assert found.files == ["x.wav", "y.wav"]


WRONG = {
    "no such table of events: .*a.csv; check": ("b.csv", ""),
    "row 1: 'dog' is at 2 to 1 s; an event ends after its start": ("a.csv", "file,start,end,label\nx,2,1,dog\n"),
    "row 2: 'soon' is not a number; give seconds": ("a.csv", "file,start,end,label\nx,1,2,dog\nx,soon,1,dog\n"),
    "row 1: 'nan' is not a number": ("a.csv", "file,start,end,label\nx,nan,1,dog\n"),
    "row 1: an event at 0 s has no label": ("a.csv", "file,start,end,label\nx,0,1,\n"),
    "row 1: 'dog' is at -1 to 1 s": ("a.csv", "file,start,end,label\nx,-1,1,dog\n"),
    "no column for the events' end; it has file, start, label": ("a.csv", "file,start,label\nx,1,dog\n"),
    "no column for the events' label; it has .*; give it with --label": (
        "a.csv",
        "file,start,end,what\nx,1,2,dog\n",
    ),
    "row 1 names no sound; fill the column file": ("a.csv", "file,start,end,label\n,1,2,dog\n"),
    "line 2 has 2 values; a label is its start, end and name": ("a.csv", "1\t2\tdog\n3\t4\n"),
    "line 1: 'dog' is at 1 to 1 s": ("a.csv", "1\t1\tdog\n"),
    "line 1: '0,5' is not a number; give seconds, with a decimal point": ("a.csv", "0,5\t1,5\tdog\n"),
    "row 1: '0,5' is not a number; give seconds": ("a.csv", "x.wav\t0,5\t1,5\tdog\n"),
    "row 1: '1,5' is not a number": ("a.csv", "file;start;end;label\nx;1;1,5;dog\n"),
    "row 1: 'sure' is not a number; give one": ("a.csv", "file,start,end,label,score\nx,1,2,dog,sure\n"),
    "row 1: an event without a start or an end; fill it": ("a.csv", "file,start,end,label\nx,1,,dog\n"),
    "line 2: 'dog' is at 2000 to 100 Hz; a band's upper end": ("a.csv", "1\t2\tdog\n\\\t2000\t100\n"),
    "line 1: .* is not a frequency band of a label": ("a.csv", "\\\t100\t2000\n1\t2\tdog\n"),
}


@pytest.mark.parametrize("message", WRONG)
def test_errors_in_a_table_name_file_and_line(message: str, tmp_path: Path) -> None:
    name, text = WRONG[message]
    (tmp_path / name).write_text(text)
    with pytest.raises(AaspError, match=message) as error:
        read_events(tmp_path / "a.csv")
    assert "\n" not in str(error.value)


def test_a_path_that_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "dog.wav").touch()
    (tmp_path / "bad.parquet").write_text("x")
    for path, message in (
        (tmp_path / "dog.wav", "not a table of events"),
        (tmp_path / "bad.parquet", "not a readable table of events"),
        (tmp_path / "none", "no such table of events"),
    ):
        with pytest.raises(AaspError, match=message):
            read_events(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AaspError, match=r"no tables of events in folder.*looked for .csv"):
        read_events(tmp_path / "empty")


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for name in ("train/a.wav", "train/b.flac", "test/c.wav", "test/deep/a.wav"):
        file = tmp_path / "audio" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, np.zeros(8_000), 8_000)
    (tmp_path / "e.csv").write_text("file,start,end,label\ntrain/a.wav,0,1,dog\nb,0.2,0.4,cat\nc.wav,0.1,0.2,dog\n")
    return tmp_path


def opened(folder: Path, table: str = "e.csv", **named: str) -> LabelledSet:
    return open_labelled(events=folder / table, **{"root": folder / "audio"} | named)  # type: ignore[arg-type]


def test_events_find_their_sounds_by_path_name_or_stem(sounds: Path) -> None:
    found = opened(sounds)
    assert found.classes == ["cat", "dog"] and found.multilabel
    by_name = {str(path)[len(str(sounds)) + 7 :]: row for row, path in enumerate(found.sounds)}
    assert found.events is not None
    assert [event.label for event in found.events[by_name["train/a.wav"]]] == ["dog"]
    assert [event.start for event in found.events[by_name["train/b.flac"]]] == [0.2]
    assert found.events[by_name["test/deep/a.wav"]] == [] and found.labels[by_name["test/deep/a.wav"]] == ()
    assert [found.parts[by_name[name]] for name in ("train/a.wav", "test/c.wav")] == ["train", "test"]
    assert "without an event: 1 of 4 sounds" in found.notes
    fewer = found.without([by_name["train/a.wav"]], [])
    assert fewer.events == [ones for row, ones in enumerate(found.events) if row != by_name["train/a.wav"]]


def test_an_event_listed_twice_is_counted_once_and_noted(sounds: Path) -> None:
    (sounds / "w.csv").write_text("file,start,end,label\nb,0,1,dog\nb,0,1,dog\nb,0.5,1,dog\nb,0,1,cat\n")
    found = opened(sounds, "w.csv")
    assert found.events is not None and sorted(map(len, found.events)) == [0, 0, 0, 3]
    assert "listed twice, counted once: 1 of 4 events" in found.notes


def test_a_sound_that_is_not_there_or_could_be_two_is_named(sounds: Path) -> None:
    for name, message in (
        ("gone.wav", "gone.wav is none of the 4 sounds"),
        ("a.wav", "a.wav can be .*a.wav or .*a.wav"),
    ):
        (sounds / "w.csv").write_text(f"file,start,end,label\n{name},0,1,dog\n")
        with pytest.raises(AaspError, match=message):
            opened(sounds, "w.csv")
    (sounds / "none.csv").write_text("file,start,end,label\n")
    with pytest.raises(AaspError, match="no event in it"):
        opened(sounds, "none.csv")


def test_names_of_two_files_do_not_meet_in_one_sound(sounds: Path) -> None:
    line = "{},0,1,{}\n"
    for names, both in (
        (("train/a.wav", "b", "c.wav", "train2/c.wav"), None),  # one of them is the end of the other
        (("site1/c.wav", "site2/c.wav"), "site1/c.wav and site2/c.wav"),
        (("test/c.wav", "site2/c.wav"), "test/c.wav and site2/c.wav"),
        (("audio/test/c.wav", "site2/c"), "audio/test/c.wav and site2/c"),
        (("/old/site1/c.wav", "c", "/old/site2/c.wav"), "/old/site1/c.wav and /old/site2/c.wav"),
        (("D:\\old\\c.wav", "E:\\old\\c.wav"), "D:.old.c.wav and E:.old.c.wav"),
        (("/old/train/a.wav", "/old/train/b.flac", "/old/test/c.wav", "/old/test/deep/a.wav"), None),  # a moved set
        (("test/c.wav", "c", f"{sounds}/audio/test/c.wav", "audio/../audio/test/c.wav", "./audio/test/c"), None),
    ):
        (sounds / "w.csv").write_text("file,start,end,label\n" + "".join(line.format(name, "dog") for name in names))
        if both is None:
            assert opened(sounds, "w.csv").events is not None
            continue
        with pytest.raises(AaspError, match=f"w.csv: {both} are two files, but both match .*test/c.wav; take") as error:
            opened(sounds, "w.csv")
        assert "\n" not in str(error.value)


def test_parts_come_from_the_index_or_a_random_division(sounds: Path, tmp_path: Path) -> None:
    (sounds / "i.csv").write_text("path,fold\naudio/train/a.wav,1\naudio/train/b.flac,2\naudio/test/c.wav,1\n")
    found = open_labelled(events=sounds / "e.csv", index=sounds / "i.csv", split="fold")
    assert list(found.parts) == ["1", "2", "1"] and found.labels[1] == ("cat",) and found.events is not None
    flat = tmp_path / "flat"
    flat.mkdir()
    for n in range(20):
        soundfile.write(flat / f"{n}.wav", np.zeros(800), 8_000)
    (sounds / "flat.csv").write_text("file,start,end,label\n3.wav,0,0.1,dog\n")
    once, again = (open_labelled(events=sounds / "flat.csv", root=flat) for _ in range(2))
    assert sorted(once.parts) == ["test"] * 4 + ["train"] * 14 + ["valid"] * 2 and once.parts == again.parts


def test_options_that_do_not_go_together(sounds: Path) -> None:
    for named, message in (
        ({"benchmark": "esc50"}, "--benchmark esc50: it has its own labels"),
        ({}, "name one of --root DIR and --index FILE"),
        ({"root": sounds / "audio", "split": "x"}, "--split with --root"),
        ({"index": sounds / "e.csv"}, "without --split"),
        ({"root": sounds / "nowhere"}, "no such folder"),
        ({"root": sounds / "audio", "numbers": True}, "--task regression with --events"),
    ):
        with pytest.raises(AaspError, match=message):
            open_labelled(events=sounds / "e.csv", **named)  # type: ignore[arg-type]
