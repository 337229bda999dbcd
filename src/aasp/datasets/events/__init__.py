"""Sound events with onsets and offsets: common table formats, and sets labelled with events."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One sound event.

    Attributes:
        file: the sound, as named in its table.
        start, end: in seconds from the sound's beginning.
        label: its class.
        score: confidence, 0 to 1; None for manual labels, and if the format has none.
        low_hz, high_hz: its frequency band; None if the table has none.
    """

    file: str
    start: float
    end: float
    label: str
    score: float | None = None
    low_hz: float | None = None
    high_hz: float | None = None


@dataclass(frozen=True)
class EventTable:
    """The content of a table of events.

    Attributes:
        source: the file or folder.
        events: in the order of the table.
        files: all sounds in the table, also those without events.
    """

    source: str
    events: list[Event]
    files: list[str]
