"""Events of `aasp predict --frames`: probabilities over time as printed events, or written as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aasp.errors import AaspError

if TYPE_CHECKING:
    from aasp.cli.predict import Predict
    from aasp.datasets.events import Event
    from aasp.datasets.events.writing import Format
    from aasp.evaluate.events.detect import Detection
    from aasp.evaluate.finetune.predict import Prediction


def detection(arguments: Predict) -> Detection | None:
    """The settings of event detection, or None if events are not requested.

    Raises:
        AaspError: a threshold or a length is invalid, or an option for frames is given without --frames.
    """
    requested = {
        "--threshold": arguments.threshold or None,
        "--smooth": arguments.smooth,
        "--min-length": arguments.min_length,
        "--out": arguments.out,
        "--format": arguments.format,
    }
    given = [name for name, value in requested.items() if value is not None]
    if given and not arguments.frames:
        raise AaspError(f"{given[0]} without --frames: events are made from frames; add --frames")
    if arguments.hop is not None and not arguments.frames:
        raise AaspError(f"--hop {arguments.hop:g} without --frames; add --frames")
    if not given and not arguments.overwrite:
        return None
    if arguments.out is None and (arguments.format is not None or arguments.overwrite):
        name = "--format" if arguments.format is not None else "--overwrite"
        raise AaspError(f"{name} without --out; name the file to write by --out")
    if arguments.top is not None:
        raise AaspError(
            f"--top {arguments.top} with {given[0]}: every class that reaches its threshold is an event; leave it out"
        )

    from aasp.evaluate.events.detect import THRESHOLD, Detection

    found: dict[str, float] = {}
    for word in arguments.threshold:
        name, equals, value = word.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            raise AaspError(f"--threshold {word}: not a number; write 0.5, or CLASS=0.3 for one class") from None
        if name in found:
            text = f"the threshold of {name}" if equals else "the threshold of all classes"
            raise AaspError(f"--threshold {word}: {text} is given twice; leave one out")
        found[name] = number
    whole = found.pop("", THRESHOLD)
    return Detection(whole, found, arguments.smooth or 0.0, arguments.min_length or 0.0)


def output(arguments: Predict) -> tuple[Path, Format] | None:
    """The path and format of the table of events.

    Raises:
        AaspError: it can't be written.
    """
    if arguments.out is None:
        return None
    if arguments.json:
        raise AaspError(f"both --json and --out {arguments.out}; leave one out")
    if arguments.channels == "each":
        raise AaspError(
            "--channels each with --out: event tables have no channel column; choose one channel by its number"
        )

    from aasp.datasets.events.writing import check_events_output, format_of

    kind = format_of(arguments.out, arguments.format)
    check_events_output(arguments.out, kind, overwrite=arguments.overwrite)
    return arguments.out, kind


def events_of(one: Prediction, classes: Sequence[str], how: Detection) -> list[Event]:
    """The events in a file, from its time steps or from its windows, which overlap."""
    from aasp.evaluate.events.detect import detect, pieces

    if not len(one.windows):
        return []
    edges, probabilities = pieces(one.windows, one.over_time)
    return detect(one.path, edges, probabilities, classes, how)


def lines(events: Sequence[Event]) -> list[str]:
    """Events for a terminal or a pipe: file, start, end, label and score, separated by tabs."""
    return [f"{one.file}\t{one.start:.3f}\t{one.end:.3f}\t{one.label}\t{one.score:.3f}" for one in events]


def as_json(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Events as JSON values, without their file."""
    place = lambda one: {"start": round(one.start, 6), "end": round(one.end, 6)}
    return [{**place(one), "label": one.label, "score": round(one.score or 0.0, 6)} for one in events]
