"""The rows and vectors of an index in a vector database: LanceDB, in a folder or an object store, or Qdrant.

A table of the index's name is made or replaced; `row` is the number of a row, and the other columns are as they are in
the index. Values that JSON has no type for, times, become text in Qdrant.
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
        index: that is written.
        place: folder or object store's URI of the database: "birds.lance", "s3://bucket/birds".
        name: of the table, which is replaced.

    Raises:
        AaspError: lancedb is not installed, or does not take it.
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
    _told(place, lambda: lancedb.connect(place).create_table(name, batches(), schema=schema, mode="overwrite"))


def to_qdrant(index: Index, place: str, name: str) -> None:
    """Write an index to Qdrant.

    Args:
        index: that is written.
        place: URL of a server, "http://localhost:6333", or a folder that no server is needed for.
        name: of the collection, which is replaced.

    Raises:
        AaspError: qdrant-client is not installed, the server does not answer, or does not take it.
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

    _told(place, write)


DATABASES: dict[str, Callable[[Index, str, str], None]] = {"lancedb": to_lancedb, "qdrant": to_qdrant}


def _told(place: str, write: Callable[[], Any]) -> None:
    """Write, and say in a line what a database did not take."""
    try:
        write()
    except Exception as error:  # each client has exceptions of its own, and those of what it stands on
        detail = " ".join(str(error).split())[:300] or type(error).__name__
        raise AaspError(f"{place}: not written ({detail}); check the address, and that it can be written") from error


def _batches(index: Index) -> Iterator[tuple[int, pa.Table, np.ndarray]]:
    """First number, rows and vectors of some thousand rows at a time."""
    for begin in range(0, len(index), _BATCH):
        yield begin, index.rows.slice(begin, _BATCH), np.asarray(index.vectors[begin : begin + _BATCH])


def _plain(value: Any) -> Any:
    """A value that JSON can hold."""
    return value.isoformat() if isinstance(value, datetime.datetime | datetime.date) else value
