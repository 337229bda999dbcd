"""Leaks: copies of one recording in different parts of a dataset, such as train and test.

A copy of a copy is a copy: pairs are joined to groups, and a group with two parts is a leak. Source: ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aasp.errors import AaspError
from aasp.index.duplicates import Duplicate
from aasp.index.listing import PARTS, cell_value
from aasp.index.opened import Index


def parts_of(index: Index, column: str | None) -> list | None:
    """Each row's part of the dataset: from a column, or from `split` or `fold` if there is one.

    Returns:
        A part for each row, None for a row without one: an empty cell, null or NaN. None if there is no column.

    Raises:
        AaspError: there is no such column.
    """
    names = index.rows.column_names
    if column is not None and column not in names:
        raise AaspError(f"{index.folder}: no column {column!r}; it has {', '.join(names)}")
    named = column or next((name for name in PARTS if name in names), None)
    return None if named is None else list(map(cell_value, index.rows[named].to_pylist()))


def leaks(index: Index, found: Sequence[Duplicate], parts: Sequence) -> list[Duplicate]:
    """Pairs of copies in different parts; a row without a part is in none.

    If two parts of a group of copies are joined only by rows of no part, the pair is of the kind "chain".

    Args:
        index: the index of the rows.
        found: the result of `aasp.index.duplicates.duplicates`.
        parts: the result of `parts_of`.
    """
    links: dict[int, list[Duplicate]] = {}
    for one in found:
        links.setdefault(one.row, []).append(one)
        links.setdefault(one.other, []).append(one)
    torn = [one for one in found if _torn(one, parts)]
    seen: set[int] = set()
    for row in sorted(row for row in links if parts[row] is not None):
        if row not in seen:
            group = _copies_of(row, links)
            seen |= group.keys()
            torn += [_chain(index, row, other, *group[other]) for other in _unpaired(row, group, links, parts)]
    return torn


def _torn(one: Duplicate, parts: Sequence) -> bool:
    mine, theirs = parts[one.row], parts[one.other]
    return mine is not None and theirs is not None and mine != theirs


def _copies_of(row: int, links: Mapping[int, Sequence[Duplicate]]) -> dict[int, tuple[float, float]]:
    """All rows of a row's group: the smallest correlation on the way to each, and by how much the sound is later."""
    reached, todo = {row: (1.0, 0.0)}, [row]
    for here in todo:
        least, later = reached[here]
        for one in links[here]:
            there = one.other if one.row == here else one.row
            if there not in reached:
                reached[there] = min(least, one.correlation), later + (one.later if one.row == here else -one.later)
                todo.append(there)
    return reached


def _unpaired(
    row: int, group: Mapping[int, object], links: Mapping[int, Sequence[Duplicate]], parts: Sequence
) -> list[int]:
    """The first rows of those parts of a group that no pair of two parts names, to be paired with its first row."""
    first: dict[Any, int] = {}
    for member in sorted(group):
        if parts[member] is not None:
            first.setdefault(parts[member], member)
    named = {parts[member] for member in group if any(_torn(one, parts) for one in links[member])}
    others = [other for part, other in first.items() if other != row and part not in named]
    if parts[row] in named or others:
        return others
    return list(first.values())[1:2]  # only the part of the first row is left


def _chain(index: Index, row: int, other: int, correlation: float, later: float) -> Duplicate:
    one, two = (index.vectors[number].astype(np.float32) for number in (row, other))
    return Duplicate(row, other, "chain", float(np.dot(one, two)), correlation, later)
