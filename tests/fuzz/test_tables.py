"""Untrusted manifests and tables of events: CSV and Parquet."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp.datasets.events.reading import read_events
from aasp.datasets.manifest import Manifest
from fuzz.cases import right_or_one_line, spoilt

FUZZ = settings.get_profile("fuzz")
CSV = 'path,seconds,label\na.wav,1.5,dog\n../b.wav,2,"cat, black"\n/etc/passwd,0,x\n\0,nan,é\n'.encode()
EVENTS = b"filename\tonset\toffset\tevent_label\na.wav\t0.5\t1.5\tdog\nb.wav\t1\t2\tcat\n"


def parquet(**columns: list) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


PARQUET = parquet(path=["a.wav", "../b.wav", None], seconds=[1.5, float("nan"), 2.0], label=["dog", "cat", "x"])
tables = st.one_of(
    st.tuples(st.just("m.csv"), spoilt(CSV)),
    st.tuples(st.just("m.parquet"), spoilt(PARQUET)),
    st.tuples(
        st.just("m.parquet"),
        st.dictionaries(
            st.sampled_from(["path", "seconds", "rate", "channels", "channel"]),
            st.sampled_from([["a", "b"], [1, None], [1.5, 2.5], [b"\xff", b"a"], [["a"], []], [{"a": 1}, None]]),
            min_size=1,
        ).map(lambda columns: parquet(**columns)),
    ),
)


@FUZZ
@given(table=tables)
def test_a_manifest(tmp_path_factory: pytest.TempPathFactory, table: tuple[str, bytes]) -> None:
    name, content = table
    file = tmp_path_factory.getbasetemp() / name
    file.write_bytes(content)
    found = right_or_one_line(lambda: Manifest.open(file))
    if found is not None:
        manifest, skipped = found
        assert len(manifest) and all(Path(path).is_absolute() for path in manifest.paths)
        assert all(one.reason for one in skipped)


@FUZZ
@given(table=st.one_of(st.tuples(st.just("e.tsv"), spoilt(EVENTS)), st.tuples(st.just("e.parquet"), spoilt(PARQUET))))
def test_a_table_of_events(tmp_path_factory: pytest.TempPathFactory, table: tuple[str, bytes]) -> None:
    name, content = table
    file = tmp_path_factory.getbasetemp() / name
    file.write_bytes(content)
    found = right_or_one_line(lambda: read_events(file))
    assert found is None or all(event.end > event.start >= 0 for event in found.events)
