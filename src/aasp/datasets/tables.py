"""CSV tables from spreadsheets and scripts, with any common delimiter and line ending, and Parquet tables.

Ambiguous input, such as an 8-bit encoding, is rejected with a one-line error: a guess could give wrong labels silently.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from aasp.errors import AaspError

SUFFIXES = (".csv", ".tsv", ".parquet")
"""Suffixes of supported tables, in lower case."""

MAX_ROWS, MAX_BYTES = 10**8, 8 * 2**30
"""Limits of a Parquet file, uncompressed."""
ROWS, _READ_BYTES = 16_384, 2**20  # of a Parquet file at once

_DELIMITERS = (",", ";", "\t", "|")
_HEAD = 1_000_000  # characters that must contain the header
_HINT = re.compile(r"\A[\"']?sep=(.)[\"']?[ \t]*(?:\r\n|\n|\r)")  # for Excel, before the header
_SHEET = "save its sheet as CSV UTF-8"
_NO_TEXT = {
    b"PK\x03\x04": f"a zip or Excel file; {_SHEET}",
    b"\xd0\xcf\x11\xe0": f"an Excel file; {_SHEET}",
    b"PAR1": "a Parquet file; end its name in .parquet",
    b"\x1f\x8b": "compressed with gzip; decompress it",
}
_MARKS = {b"\xff\xfe\x00\x00": "utf-32", b"\x00\x00\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def is_list_of_text(kind: pa.DataType) -> bool:
    """Whether a column's values are lists of strings."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(test(kind) for test in lists):
        return False
    value = kind.value_type.value_type if pa.types.is_dictionary(kind.value_type) else kind.value_type
    return pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_null(value)


def read_csv(source: str, key: str) -> pa.Table:
    """A CSV file's columns as text, without blank rows and unnamed columns.

    Args:
        source: UTF-8, or UTF-16 or UTF-32 with a byte order mark; lines end in LF, CRLF or CR.
        key: a column that should exist: the delimiter that yields it is used.

    Raises:
        AaspError: the file is not such a table.
        pyarrow.ArrowInvalid: a row has more or fewer values than there are columns.
        OSError: the file can't be read.
    """
    names, delimiter, body = _header(source, _text(source), key)
    named = [name for name in names if name]
    if len(set(named)) < len(named):
        raise AaspError(f"{source}: two columns with the same name in {', '.join(named)}; rename one")
    if not body.strip():
        return pa.table({name: pa.array([], pa.string()) for name in named})
    places = [str(place) for place in range(len(names))]
    table = pa.csv.read_csv(
        pa.BufferReader(body.encode()),
        read_options=pa.csv.ReadOptions(column_names=places),
        parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values='"' in body),
        # Arrow infers a column's type from the file's first block and may fail on a later one, so all is read as text.
        convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(places, pa.string())),
    )
    if pc.any(pc.equal(pc.utf8_trim_whitespace(table.column(0)), "")).as_py():
        values = pc.utf8_trim_whitespace(pc.binary_join_element_wise(*table.columns, ""))
        table = table.filter(pc.not_equal(values, ""))
    return table.select([place for place, name in zip(places, names, strict=True) if name]).rename_columns(named)


def read_parquet(source: str, what: str = ".parquet index") -> pa.Table:
    """A Parquet file's columns; arguments and errors as in `parquet_parts`."""
    return pa.concat_tables(parquet_parts(source, what))


def parquet_parts(source: str, what: str = ".parquet index") -> Iterator[pa.Table]:
    """A Parquet file's columns, some rows at a time, so that a million strings are never in memory twice.

    Spaces around column names are removed. There is at least one part.

    Args:
        source: the file.
        what: kind of file, for messages.

    Raises:
        AaspError: the file is damaged, or has more rows or bytes than allowed.
        OSError: the file can't be read.
    """
    if os.path.isdir(source):
        raise IsADirectoryError(source)
    os.stat(source)  # raises FileNotFoundError
    try:
        with pa.parquet.ParquetFile(source, pre_buffer=False, buffer_size=_READ_BYTES) as file:
            metadata = file.metadata
            size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
            if max(metadata.num_rows, -size) > MAX_ROWS or not 0 <= size <= MAX_BYTES:
                stated = f"it states {metadata.num_rows:,} rows and {size:,} bytes"
                raise AaspError(f"{source}: {stated}, more than {MAX_ROWS:,} and {MAX_BYTES:,}; split it")
            names, empty = [name.strip() for name in file.schema_arrow.names], True
            for batch in limited(source, file.iter_batches(ROWS, use_threads=False)):
                batch.validate(full=True)
                yield pa.Table.from_batches([batch]).rename_columns(names)
                pa.default_memory_pool().release_unused()
                empty = False
            if empty:
                yield file.schema_arrow.empty_table().rename_columns(names)
    except AaspError:
        raise
    except (pa.ArrowException, OSError, ValueError, LookupError, MemoryError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise AaspError(f"not a readable {what}: {source}; {reason}; write it again") from None


def limited(source: str, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches of a Parquet file, which may state far fewer bytes than its values fill.

    Raises:
        AaspError: there are more rows or bytes than allowed.
    """
    rows = size = 0
    for batch in batches:
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows > MAX_ROWS or size > MAX_BYTES:
            raise AaspError(f"{source}: more than {MAX_ROWS:,} rows or {MAX_BYTES:,} bytes; split it")
        yield batch


def _text(source: str) -> str:
    """The text of a file, without its byte order mark."""
    with open(source, "rb") as file:
        data = file.read()
    for begin, what in _NO_TEXT.items():
        if data.startswith(begin):
            raise AaspError(f"{source}: not CSV but {what}")
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8-sig")
    if encoding == "utf-8-sig" and b"\0" in data:
        line = 1 + data.count(b"\n", 0, data.index(b"\0"))
        raise AaspError(f"{source}: NUL byte in line {line}: damaged, or UTF-16; save it as UTF-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        wrong = f"line {line} is not {encoding.removesuffix('-sig').upper()} (byte 0x{data[error.start]:02x})"
        raise AaspError(f"{source}: {wrong}; save it as UTF-8, from Latin-1 by `iconv -f latin1 -t utf-8`") from None


def _header(source: str, text: str, key: str) -> tuple[list[str], str, str]:
    """The columns' names, the delimiter, and the text of the rows."""
    hint = _HINT.match(text)
    text = text[hint.end() :] if hint else text
    tabbed = os.path.splitext(source)[1].lower() == ".tsv"
    candidates = hint[1] if hint else sorted(_DELIMITERS, key="\t".__ne__) if tabbed else _DELIMITERS
    read = [(*_first(source, text, delimiter), delimiter) for delimiter in candidates]
    holds = lambda names: key in names or key.casefold() in (name.casefold() for name in names)
    widest = max(read, key=lambda one: len(one[0]))
    names, begin, delimiter = next((one for one in read if holds(one[0])), widest)
    ending = re.compile(r"[\r\n]").search(text, max(begin, len(text.rstrip())))  # of the last line that is not blank
    body = text[begin : ending.start() if ending else len(text)]
    if "\r" in body and "\n" not in body:
        body = body.replace("\r", "\n")
    if body.count('"') % 2:  # Arrow would read the rest of the file as one value
        for _ in _rows(source, io.StringIO(body, newline=""), delimiter, strict=True):
            pass
    return names, delimiter, body


def _first(source: str, text: str, delimiter: str) -> tuple[list[str], int]:
    """The values of the first line that is not blank, and the position of the next line."""
    lines = io.StringIO(text[:_HEAD], newline="")
    for row in _rows(source, lines, delimiter, strict=False):
        if any(value.strip() for value in row):
            return [value.strip() for value in row], lines.tell()
    return [], len(text)


def _rows(source: str, lines: io.StringIO, delimiter: str, *, strict: bool) -> Iterator[list[str]]:
    reader = csv.reader(lines, delimiter=delimiter, strict=strict)
    try:
        yield from reader
    except csv.Error as error:
        raise AaspError(f"{source}: not a readable .csv index, line {reader.line_num}: {error}; fix it") from None
