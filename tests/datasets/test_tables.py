"""Tables as spreadsheets and scripts write them: read correctly, or refused in one line that names the remedy."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from aasp.datasets.index import read_index
from aasp.errors import AaspError

ROWS = [{"path": "a.wav", "label": "dog"}, {"path": "sub/b.wav", "label": "Möwe, groß"}]
PLAIN = 'path,label\na.wav,dog\nsub/b.wav,"Möwe, groß"\n'


def rows(path: Path, path_column: str | None = None) -> list[dict[str, object]]:
    """The rows of an index, paths relative to its folder again."""
    found = read_index(str(path), path_column).to_pylist()
    return [row | {"path": row["path"].removeprefix(f"{path.parent}/")} for row in found]


def refused(path: Path, path_column: str | None = None) -> str:
    with pytest.raises(AaspError) as error:
        read_index(str(path), path_column)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert "; " in str(error.value) or ": rename" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace(",", ";").replace("; ", ", "),
        'sep=;\r\n"path";"label"\r\n"a.wav";"dog"\r\n"sub/b.wav";"Möwe, groß"\r\n',
        PLAIN.replace(",", "\t").replace("\t ", ", "),
        PLAIN.replace(",", "|").replace("| ", ", "),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.removesuffix("\n"),
        PLAIN + "\n\n  \n\n",
        "\n\n" + PLAIN,
        PLAIN + ",\n,\n",
        PLAIN.replace("path,label", "Path,label"),
        PLAIN.replace("path,label", " path , label "),
        ',path,label\n0,a.wav,dog\n1,sub/b.wav,"Möwe, groß"\n',
        'path,label,,\na.wav,dog,,\nsub/b.wav,"Möwe, groß",,\n',
        PLAIN.replace("a.wav", " a.wav "),
        PLAIN.replace("a.wav", "./a.wav").replace("sub/", "sub//./"),
        PLAIN.replace("sub/", "sub\\"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_one_table_in_many_dialects(tmp_path: Path, text: str, encoding: str) -> None:
    for name in ("i.csv", "I.CSV", "i.tsv"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        assert rows(tmp_path / name) == ROWS


def test_a_value_with_a_line_end(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text('path,label\na.wav,"one\ntwo"\nb.wav,5" nail\n')
    assert [row["label"] for row in rows(tmp_path / "i.csv")] == ["one\ntwo", '5" nail']


def test_a_quotation_mark_that_is_not_closed_swallows_no_rows(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text('path,label\na.wav,"dog\nb.wav,cat\n')
    assert "not a readable .csv index" in refused(tmp_path / "i.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("i.csv", PLAIN.encode("latin-1"), "line 3 is not UTF-8 (byte 0xf6); save it as UTF-8"),
        ("i.csv", PLAIN.encode("utf-16-le"), "NUL byte in line 1"),
        ("i.csv", b"path,label\na.wav,d\0g\n", "NUL byte in line 2"),
        ("i.csv", b"PK\x03\x04rest", "not CSV but a zip or Excel file; save its sheet as CSV"),
        ("i.csv", b"PAR1rest", "not CSV but a Parquet file; end its name in .parquet"),
        ("i.csv", gzip.compress(PLAIN.encode(), mtime=0), "compressed with gzip; decompress it"),
        ("i.csv.gz", gzip.compress(PLAIN.encode(), mtime=0), "unpack it, or name"),
        ("i.xlsx", b"PK\x03\x04rest", "not a folder, .csv or .parquet"),
        ("i.parquet", PLAIN.encode(), "not a readable .parquet index"),
        ("i.csv", b"path,label\na.wav,dog,more\n", "Expected 2 columns, got 3"),
        ("i.csv", b"a.wav,dog\nb.wav,cat\n", "no line of column names, it starts with a.wav, dog; put path"),
        ("i.csv", b"path:label\na.wav:dog\n", "separate columns by a comma, semicolon or tab"),
        ("i.csv", b"filename,label\na.wav,dog\n", "filename, label: rename one to path, or --path-column filename"),
        ("i.csv", b"label;file\ndog;a.wav\n", "it has label, file: rename one to path, or --path-column file"),
        ("i.csv", b"file\na.wav\n", "no column path; it has file; rename it to path, or --path-column file"),
        ("i.csv", b"label,fold\ndog,1\n", "give the column of paths with --path-column"),
        ("i.csv", b"Path,PATH\na.wav,b.wav\n", "no column path; it has Path, PATH"),
        ("i.csv", b"path,seconds\na.wav,\"2,5\"\n", "column seconds: "),
        ("i.csv", b"path;seconds\na.wav;2,5\n", "give numbers, with a decimal point"),
        ("i.csv", b"path\nhttps://example.org/a.wav\n", "https://example.org/a.wav is not on this machine; fetch it"),
        ("i.csv", b"path\nC:\\sounds\\a.wav\n", "C:\\sounds\\a.wav is a Windows path; make paths relative"),
        ("i.csv", b"path\n\\\\server\\sounds\\a.wav\n", "is a Windows path"),
        ("i.csv", b"", "no column path; it has none"),
    ],
)  # fmt: skip
def test_ambiguous_tables_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert message in refused(tmp_path / name)


def test_a_column_of_another_name(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("path;file;label\nx;a.wav;dog\n")
    assert rows(tmp_path / "i.csv", "file") == [{"path": "a.wav", "label": "dog"}]
    assert "no column 'wav'; it has path, file, label" in refused(tmp_path / "i.csv", "wav")
    pa.parquet.write_table(pa.table({"Path": ["a.wav"], "n": [1]}), tmp_path / "i.parquet")
    assert rows(tmp_path / "i.parquet") == [{"path": "a.wav", "n": 1}]
    assert rows(tmp_path / "i.parquet", "Path") == [{"path": "a.wav", "n": 1}]


def test_paths_with_a_tilde_or_a_file_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    here = f"file://{tmp_path}/a%20b.wav"
    (tmp_path / "i.csv").write_text(f"path\n~/a.wav\n{here}\nfile://localhost/x/c.wav\n12:30.wav\n")
    found = read_index(str(tmp_path / "i.csv"))["path"].to_pylist()
    names = ("me/a.wav", "a b.wav")
    assert found == [*(str(tmp_path / name) for name in names), "/x/c.wav", str(tmp_path / "12:30.wav")]


def test_a_backslash_that_is_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "a\\b.wav").touch()
    (tmp_path / "i.csv").write_text("path\na\\b.wav\nc\\d.wav\n")
    assert [row["path"] for row in rows(tmp_path / "i.csv")] == ["a\\b.wav", "c/d.wav"]


def test_seconds_beside_blanks_and_gaps(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("path; seconds\na.wav; 2.5 \nb.wav; \n")
    assert read_index(str(tmp_path / "i.csv"))["seconds"].to_pylist() == [2.5, None]
