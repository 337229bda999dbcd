"""Scores of several encoders on several tasks, as the page's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from aasp.evaluate.intervals import Interval, span

TONES = ("first", "fourth", "second", "third")


@dataclass(frozen=True)
class TaskScores:
    """What every encoder reached on one task.

    Attributes:
        name: the task, in a few words.
        about: what is asked of whom, one line.
        chance: accuracy of guessing the commonest class of the test part.
        accuracy: by encoder, the one the page is about first.
        difference: of the first encoder and each other one, paired clip by clip, by the other's name.
    """

    name: str
    about: str
    chance: float
    accuracy: dict[str, Interval]
    difference: dict[str, Interval]


def score_table(tasks: Sequence[TaskScores]) -> str:
    """An HTML table: a block for each task, a row for each encoder with its interval drawn from 0 to 100 %."""
    caption = "<caption>Accuracy of a linear probe with 95 % intervals, by task and encoder</caption>"
    return f"<table>{caption}{''.join(map(_block, tasks))}</table>"


def verdict(difference: Interval) -> str:
    """A paired difference in points, told as a fact or as nothing certain."""
    points = lambda value: f"{100 * value:+.1f}".replace("-", "−")
    ends = span(difference.low, difference.high, points, " to ")
    told = "" if difference.excludes_zero() else ", no clear difference"
    return f"{points(difference.estimate)} points ({ends}){told}"


def answer(tasks: Sequence[TaskScores]) -> str:
    """What the differences come to, a sentence for each encoder that the first one is compared with."""
    sentences = []
    for other in tasks[0].difference:
        told: dict[str, list[str]] = {"better at": [], "worse at": [], "no clear difference at": []}
        for task in tasks:
            lead = task.difference[other]
            clear = "better at" if lead.estimate > 0 else "worse at"
            told[clear if lead.excludes_zero() else "no clear difference at"].append(task.name.lower())
        parts = [f"{how} {_listed(names)}" for how, names in told.items() if names]
        sentences.append(f"against {other}: {', '.join(parts)}.")
    sentences = [f"{next(iter(tasks[0].accuracy))} {sentences[0]}", *sentences[1:]]
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)


def score_row(name: str, score: Interval, tone: str, chance: float) -> str:
    """One score with its interval drawn from 0 to 100 %, as a row of a table."""
    bar = {"low": score.low, "high": score.high}
    percent = {key: score.estimate if end is None else end for key, end in bar.items()}  # no ends, no bar
    percent |= {"at": score.estimate, "chance": chance}
    style = "; ".join(f"--{key}: {100 * value:.1f}" for key, value in percent.items())
    ends = span(score.low, score.high, lambda value: f"{100 * value:.1f}", "–")
    return (
        f'<tr class="{tone}"><th class="name" scope="row">{escape(name)}</th>'
        f'<td class="number"><b>{100 * score.estimate:.1f}</b> <span>{ends}</span></td>'
        f'<td><span class="scale" style="{style}" aria-hidden="true"><u></u><i></i><b></b></span></td></tr>'
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _block(task: TaskScores) -> str:
    head = f"{escape(task.name)}<small>{escape(task.about)}</small>"
    rows = [score_row(*entry, tone, task.chance) for entry, tone in zip(task.accuracy.items(), TONES, strict=False)]
    first = escape(next(iter(task.accuracy))).capitalize()
    leads = [
        f"against {escape(other)} " + (f"<b>{verdict(lead)}</b>" if lead.excludes_zero() else verdict(lead))
        for other, lead in task.difference.items()
    ]
    return (
        f'<tbody><tr><th class="task" colspan="3" scope="rowgroup">{head}</th></tr>'
        f"{''.join(rows)}"
        f'<tr class="differences"><td colspan="3">{first} {"; ".join(leads)}.</td></tr></tbody>'
    )
