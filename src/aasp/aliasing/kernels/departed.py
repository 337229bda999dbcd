"""The report's part on learned parameters and their start: from `departure` in `kernels.json` to a section.

Source: ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from aasp.aliasing.kernels.departure import LEFT, conclusion
from aasp.aliasing.kernels.figures import departures, start_against_now
from aasp.report.listing import listing
from aasp.report.page import Section

SHOWN = 4
"""Parameters whose elements are drawn one by one: the first, which are those that are read in units."""


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """How far each parameter is from its start, an HTML table."""
    cells = [
        [
            escape(f"{row['name']}, {row['part']}"),
            f"{row['count']:,}",
            f"{row['start']:.3g}<small>spread {row['spread']:.2g}</small>",
            f"{row['now']:.3g}",
            f"{_number(row['distance']['estimate'])}<small>{_interval(row)}</small>",
            _number(row["farthest"]),
        ]
        for row in rows
    ]
    head = ["parameter", "numbers", "start, median", "now, median", "distance", "farthest"]
    return listing("Learned parameters and where they began, in spreads of the starts", head, cells, across=True)


def sections(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    """One section, or none where nothing is learned whose start is known."""
    if not rows:
        return []
    shown = [row for row in rows if "weight" not in row["name"]][:SHOWN]
    return [
        Section(
            "Do learned parameters leave their initialisation?",
            escape(conclusion(rows)),
            [
                departures(rows, LEFT, title="Distance from the start"),
                *(start_against_now(row, title=row["part"]) for row in shown),
                table(rows),
            ],
            f"""<b>Distance:</b> mean of |now &minus; start| over a parameter's numbers, in standard deviations of its
            start values; where all begin alike (spread 0) in start values; four fifths of the numbers lie in the
            interval. <b>Tinted:</b> up to {LEFT:g}, told as still at the start. <b>Start against now:</b> each number;
            on the line it has not moved. Weights that are drawn at random are only told of where the run's seed, or the
            model that it went on from, is known.""",
        )
    ]


def _number(distance: float) -> str:
    return "0" if distance == 0 else f"{distance:.2g}" if distance >= 1e-4 else "&lt;0.0001"


def _interval(row: Mapping[str, Any]) -> str:
    low, high = row["distance"]["low"], row["distance"]["high"]
    return "" if low == high else f"{_number(low)}–{_number(high)}"
