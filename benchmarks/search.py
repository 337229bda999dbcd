"""Exact search in an index: ours against a plain float32 product by numpy; and an approximate graph.

usage: python benchmarks/search.py [--rounds N] [--threads N] [--rows N] [--graph-rows N]

Vectors of 192 in 1,000 clusters that vary in 24 dimensions, like embeddings. Ours reads float16; numpy's float32 copy
takes twice the memory. If usearch is installed, its graph (HNSW, float16) of --graph-rows is queried for the same ten
rows that the exact search finds. It is not part of the package: see docs/decisions.md.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from aasp.index.nearest import nearest, unit
from harness import Row, Spread, alternately, options, ratio, report

WIDTH, CLUSTERS, SPREAD, COUNT, QUERIES = 192, 1000, 24, 10, 200


def main() -> None:
    parser = options(__doc__, rounds=9)
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--graph-rows", type=int, default=50_000)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rng = np.random.default_rng(0)
    vectors = clustered(arguments.rows, rng)
    query = vectors[7].astype(np.float32)
    took = against_numpy(vectors, query, arguments.rounds)
    detail = ", ".join(f"{name} {1000 * np.median(times):.3g} ms" for name, times in took.items())
    what = f"{arguments.rows:,} rows, ten nearest: ours over numpy's X @ q in float32"
    rows = [Row(what, ratio(took["ours"], took["numpy"]), "", detail)]
    rows += graph(vectors[: arguments.graph_rows], rng, arguments.rounds)
    report("search", rows, arguments.threads)


def against_numpy(vectors: np.ndarray, query: np.ndarray, rounds: int) -> dict[str, list[float]]:
    """Seconds per search."""
    whole = vectors.astype(np.float32)
    return alternately({"ours": lambda: nearest(vectors, query, COUNT), "numpy": lambda: whole @ query}, rounds)


def clustered(count: int, rng: np.random.Generator) -> np.ndarray:
    """Unit vectors, float16 (count, WIDTH)."""
    normal = lambda *shape: rng.standard_normal(shape, dtype=np.float32)
    centres, directions = normal(CLUSTERS, WIDTH), normal(SPREAD, WIDTH)
    made = np.empty((count, WIDTH), np.float16)
    for begin in range(0, count, 50_000):
        some = min(50_000, count - begin)
        x = 0.5 * centres[rng.integers(0, CLUSTERS, some)] + 0.3 * normal(some, SPREAD) @ directions
        made[begin : begin + some] = unit(x + 0.1 * normal(some, WIDTH))
    return made


def graph(vectors: np.ndarray, rng: np.random.Generator, rounds: int) -> list[Row]:
    """Recall and speed of usearch's graph; nothing if it is not installed."""
    try:
        from usearch.index import Index
    except ImportError:
        return []
    near = vectors[rng.integers(0, len(vectors), QUERIES)].astype(np.float32)
    queries = near + 0.02 * rng.standard_normal(near.shape, dtype=np.float32)
    true, _ = nearest(vectors, queries, COUNT)
    built = Index(ndim=WIDTH, metric="cos", dtype="f16")
    began = time.process_time()
    built.add(np.arange(len(vectors)), vectors, threads=1)
    building = time.process_time() - began
    rows = []
    for width in (64, 256):
        built.expansion_search = width
        found = built.search(queries, COUNT, threads=1).keys
        recall = [len(set(ours) & set(theirs)) / COUNT for ours, theirs in zip(true, found, strict=True)]
        took = alternately(
            {
                "exact": lambda: nearest(vectors, queries[0], COUNT),
                "graph": lambda: built.search(queries[0], COUNT, threads=1),
            },
            rounds,
            seconds=0.05,
        )
        what = f"usearch of {len(vectors):,} rows, {width} looked at"
        detail = ", ".join(f"{name} {1000 * np.median(times):.3g} ms" for name, times in took.items())
        rows.append(Row(f"{what}: exact over graph", ratio(took["exact"], took["graph"]), "", detail))
        detail = f"building took {building:.3g} s of a core"
        mean = float(np.mean(recall))
        rows.append(Row(f"{what}: recall of the ten nearest", Spread(mean, mean, mean), "", detail))
    return rows


if __name__ == "__main__":
    main()
