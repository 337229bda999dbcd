"""Export of an index's rows and vectors to a vector database: LanceDB, in a folder or an object store, or Qdrant.

A table with the index's name is created or replaced; `row` is a row's number, and the other columns are those of the
index. Values without a JSON type (times) become text in Qdrant.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from aasp.errors import AaspError
from aasp.index.opened import Index

_BATCH = 4_096


def to_lancedb(index: Index, place: str, name: str) -> None:
    """Write an index to LanceDB.

    Args:
        index: the index to write.
        place: folder or object store URI of the database: "birds.lance", "s3://bucket/birds".
        name: the table's name; the table is replaced.

    Raises:
        AaspError: lancedb is not installed, or refuses the data.
    """
    try:
        import lancedb
    except ImportError:
        raise AaspError("lancedb is not installed; pip install 'aasp-audio[lancedb]'") from None
    width = index.vectors.shape[1]
    kind = pa.list_(pa.float16(), width)
    fields = [pa.field("row", pa.int64()), *index.rows.schema, pa.field("vector", kind)]

    def batches() -> Iterator[pa.RecordBatch]:
        for begin, rows, vectors in _batches(index):
            values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), width)
            numbers = pa.array(range(begin, begin + len(vectors)), pa.int64())
            columns = [numbers, *(column.combine_chunks() for column in rows.columns), values]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    schema = pa.schema(fields)
    _with_one_line_errors(
        place, lambda: lancedb.connect(place).create_table(name, batches(), schema=schema, mode="overwrite")
    )


def to_qdrant(index: Index, place: str, name: str) -> None:
    """Write an index to Qdrant.

    Args:
        index: the index to write.
        place: URL of a server, "http://localhost:6333", or a folder, which needs no server.
        name: the collection's name; the collection is replaced.

    Raises:
        AaspError: qdrant-client is not installed, the server does not answer, or it refuses the data.
    """
    try:
        from qdrant_client import QdrantClient, models
    except ImportError:
        raise AaspError("qdrant-client is not installed; pip install 'aasp-audio[qdrant]'") from None

    def write() -> None:
        client = QdrantClient(url=place) if "://" in place else QdrantClient(path=place)
        try:
            if client.collection_exists(name):
                client.delete_collection(name)
            width = index.vectors.shape[1]
            sized = models.VectorParams(size=width, distance=models.Distance.COSINE, datatype=models.Datatype.FLOAT16)
            client.create_collection(name, vectors_config=sized)
            for begin, rows, vectors in _batches(index):
                payload = [{key: _plain(value) for key, value in row.items()} for row in rows.to_pylist()]
                numbers = list(range(begin, begin + len(payload)))
                points = models.Batch(ids=numbers, vectors=vectors.astype(np.float32).tolist(), payloads=payload)
                client.upsert(name, points)
        finally:
            client.close()

    _with_one_line_errors(place, write)


DATABASES: dict[str, Callable[[Index, str, str], None]] = {"lancedb": to_lancedb, "qdrant": to_qdrant}


def _with_one_line_errors(place: str, write: Callable[[], Any]) -> None:
    """Write, and turn a database's error into one line."""
    try:
        write()
    except Exception as error:  # each client raises its own exceptions and those of its dependencies
        detail = " ".join(str(error).split())[:300] or type(error).__name__
        raise AaspError(f"{place}: not written ({detail}); check the address, and that it can be written") from error


def _batches(index: Index) -> Iterator[tuple[int, pa.Table, np.ndarray]]:
    """First row number, rows and vectors of a few thousand rows at a time."""
    for begin in range(0, len(index), _BATCH):
        yield begin, index.rows.slice(begin, _BATCH), np.asarray(index.vectors[begin : begin + _BATCH])


def _plain(value: Any) -> Any:
    """A value that JSON can represent."""
    return value.isoformat() if isinstance(value, datetime.datetime | datetime.date) else value
