"""Sound events with their onsets and offsets: the field's tables of them, and sets that are labelled so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One sound event.

    Attributes:
        file: the sound, as its table names it.
        start, end: in seconds from the sound's beginning.
        label: its class.
        score: confidence, 0 to 1; None for manual labels, and if the format has none.
        low_hz, high_hz: the band that it was drawn in; None where the table has none.
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
        events: in its order.
        files: all sounds that it names, also those that it says to hold none.
    """

    source: str
    events: list[Event]
    files: list[str]
