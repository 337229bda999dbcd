"""The nearest rows of each row of a set, exactly: each block of rows is compared with each other block once.

Legend: N rows, D width, K results a row.
Source: ours; the similarity is the cosine.
"""

from __future__ import annotations

import numpy as np
import torch

BLOCK = 1_024  # rows; their similarities with as many others fit in the cache


def neighbours(vectors_ND: np.ndarray, count: int, least: float, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest rows of other groups for each row, nearest first.

    Args:
        vectors_ND: unit vectors (N, D), in memory or mapped.
        count: maximum results per row.
        least: minimum cosine.
        groups: the group of each row, int64 (N,); fastest if the rows of a group are adjacent and groups are in order.

    Returns:
        Row numbers, int64 (N, K), and cosines, float32 (N, K); -1 and -2 fill up rows with fewer neighbours.
    """
    total = len(vectors_ND)
    best, where = torch.full((total, count), -2.0), torch.full((total, count), -1)
    group, begins = torch.from_numpy(groups), np.arange(0, total, BLOCK)
    low, high = np.minimum.reduceat(groups, begins), np.maximum.reduceat(groups, begins)  # of each block
    block = lambda at: torch.from_numpy(np.ascontiguousarray(vectors_ND[at : at + BLOCK])).float()
    for one in range(0, total, BLOCK):
        mine, ours = block(one), slice(one, one + BLOCK)
        for other in range(one, total, BLOCK):
            theirs = slice(other, other + BLOCK)
            cosines = mine @ (mine if other == one else block(other)).T
            if high[one // BLOCK] >= low[other // BLOCK] and low[one // BLOCK] <= high[other // BLOCK]:
                cosines.masked_fill_(group[ours, None] == group[theirs], -2.0)
            _take(best[ours], where[ours], cosines, other, least)
            if other != one:
                _take(best[theirs], where[theirs], cosines.T, one, least)
    return where.numpy(), best.numpy()


def _take(best: torch.Tensor, where: torch.Tensor, cosines: torch.Tensor, begin: int, least: float) -> None:
    """Insert the rows that are nearer than the current best results."""
    highest = cosines.amax(1)
    rows = torch.nonzero((highest > best[:, -1]) & (highest >= least)).squeeze(1)
    if not len(rows):
        return
    top = cosines[rows].topk(min(best.shape[1], cosines.shape[1]), dim=1)
    near = torch.where(top.values >= least, top.values, -2.0)
    numbers = torch.where(near >= least, top.indices + begin, -1)
    chosen = torch.cat([best[rows], near], 1).topk(best.shape[1], dim=1)
    best[rows] = chosen.values
    where[rows] = torch.cat([where[rows], numbers], 1).gather(1, chosen.indices)
