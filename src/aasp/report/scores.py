"""Scores of several encoders on several tasks, and what their differences come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aasp.evaluate.intervals import Interval, span
from aasp.formats import percent_text


@dataclass(frozen=True)
class TaskScores:
    """What every encoder reached on one task.

    Attributes:
        name: the task, in a few words.
        about: the task in one line.
        chance: accuracy of guessing the commonest class of the test part.
        accuracy: by encoder, the one the page is about first.
        difference: of the first encoder and each other one, paired clip by clip, by the other's name.
    """

    name: str
    about: str
    chance: float
    accuracy: dict[str, Interval]
    difference: dict[str, Interval]


def verdict(difference: Interval) -> str:
    """A paired difference in points, and whether it is clear."""
    points = lambda value: percent_text(value, sign="+").replace("-", "−")
    ends = span(difference.low, difference.high, points, " to ")
    clear = "" if difference.excludes_zero() else ", no clear difference"
    return f"{points(difference.estimate)} points ({ends}){clear}"


def answer(tasks: Sequence[TaskScores]) -> str:
    """What the differences come to, a sentence for each encoder that the first one is compared with."""
    sentences = []
    for other in tasks[0].difference:
        found: dict[str, list[str]] = {"better at": [], "worse at": [], "no clear difference at": []}
        for task in tasks:
            lead = task.difference[other]
            clear = "better at" if lead.estimate > 0 else "worse at"
            found[clear if lead.excludes_zero() else "no clear difference at"].append(task.name.lower())
        parts = [f"{how} {_listed(names)}" for how, names in found.items() if names]
        sentences.append(f"against {other}: {', '.join(parts)}.")
    sentences = [f"{next(iter(tasks[0].accuracy))} {sentences[0]}", *sentences[1:]]
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
