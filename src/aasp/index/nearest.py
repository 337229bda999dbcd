"""The rows nearest to a query, exactly: every row is compared, block by block, and the best are kept.

Legend: q queries, N rows, n of them compared at a time, D width, K results.
Source: ours; the similarity is the cosine.
"""

from __future__ import annotations

import numpy as np
import torch

from aasp.errors import AaspError

BLOCK = 4_096  # rows; their fp32 copy fits in a core's cache at the usual widths


def unit(x: np.ndarray) -> np.ndarray:
    """Vectors (…, D) of unit length, float32.

    Raises:
        AaspError: one is zero or not finite.
    """
    x = np.asarray(x, np.float32)
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    if not (np.isfinite(length) & (length > 0)).all():
        raise AaspError("a vector is zero or not finite, and has no direction; leave it out")
    return x / length


def nearest(
    vectors_ND: np.ndarray,
    query_qD: np.ndarray,
    count: int,
    rows: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the largest cosine with each query, largest first; of equal ones among them the earlier row first.

    Args:
        vectors_ND: unit vectors, float16 (N, D), in memory or mapped.
        query_qD: any length but zero, (q, D).
        count: maximum number of results per query.
        rows: numbers of the rows to search, or a boolean mask (N,); all rows if omitted.

    Returns:
        Row numbers, int64 (q, K), and cosines, float32 (q, K), with K = min(count, rows searched).

    Raises:
        AaspError: the query has another width, is zero or not finite, count is not positive, or there is no such row.
    """
    query_qD = np.atleast_2d(np.asarray(query_qD))
    total, width = vectors_ND.shape
    if query_qD.ndim != 2 or query_qD.shape[1] != width:
        raise AaspError(
            f"a query of shape {query_qD.shape}, and the index has vectors of {width}; embed it by its model"
        )
    if count < 1:
        raise AaspError(f"count is {count}; give a number of at least 1")
    numbers = None if rows is None else _numbers(rows, total)
    query = torch.from_numpy(unit(query_qD)).T
    many = total if numbers is None else len(numbers)
    best = torch.empty(0, query.shape[1])
    where = torch.empty(0, query.shape[1], dtype=torch.int64)
    for begin in range(0, many, BLOCK):
        part = slice(begin, min(begin + BLOCK, many))
        block = vectors_ND[part if numbers is None else numbers[part]]
        scores = torch.from_numpy(np.ascontiguousarray(block)).float() @ query
        top = scores.topk(min(count, len(scores)), dim=0)
        best, where = torch.cat([best, top.values]), torch.cat([where, top.indices + begin])
        if len(best) > count:
            chosen = best.topk(count, dim=0).indices
            best, where = best.gather(0, chosen), where.gather(0, chosen)
    similarities, found = best.T.numpy(), where.T.numpy()
    order = np.lexsort((found, -similarities), axis=-1)
    found, similarities = np.take_along_axis(found, order, 1), np.take_along_axis(similarities, order, 1)
    return (found if numbers is None else numbers[found]), similarities


def _numbers(rows: np.ndarray, total: int) -> np.ndarray:
    rows = np.asarray(rows)
    if rows.dtype == bool and rows.shape == (total,):
        return np.flatnonzero(rows)
    if rows.ndim != 1 or (rows.size and (rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= total)):
        raise AaspError(f"rows to look among are not numbers from 0 to {total - 1}; give some of these")
    return rows.astype(np.int64)
