"""A comparison as CSV and as Markdown, from its JSON alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aasp.compare.training import stages
from aasp.compare.units import Unit
from aasp.evaluate.intervals import clear, span
from aasp.markup import in_markdown

Found = Mapping[str, Any]
COLUMNS = (
    "question", "metric", "system", "kind", "step", "last", "seconds", "flops", "memory_bytes", "parameters", "seeds",
    "score", "low", "high", "chance",
)  # fmt: skip


def csv_lines(found: Found) -> str:
    """A line for each question, system and stage, in the metric's own unit; accuracies are fractions of 1."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in found["rows"]:
        recipe = found["recipes"].get(row["system"], {}) if row["kind"] == "trained" else {}
        values = {name: row[name] for name in COLUMNS if name in row and name not in ("score", "seeds")}
        values |= {"memory_bytes": recipe.get("memory"), "parameters": recipe.get("parameters")}
        score = row["score"]
        values |= {"score": score["estimate"], "low": score["low"], "high": score["high"], "seeds": len(row["seeds"])}
        writer.writerow({name: _rounded(value) for name, value in values.items()})
    return file.getvalue()


def markdown(found: Found) -> str:
    """Costs, scores at every stage, all pairs, and failures."""
    parts = ["# Comparison", in_markdown(summary(found)), "## What they cost", *_costs(found)]
    for question in questions(found):
        scores, pairs = scores_table(found, question), pairs_table(found, question)
        parts += [f"## {in_markdown(question)}", "\n".join(scores), "\n".join(pairs)]
    if found["notes"]:
        said = (f"- {in_markdown(f'{name}: {note}')}" for name, some in found["notes"].items() for note in some)
        parts += ["## Notes on the sets", "\n".join(said)]
    if found["failed"]:
        broken = (f"- {in_markdown(place)}: {in_markdown(why)}" for place, why in found["failed"].items())
        parts += ["## Failed", "\n".join(broken)]
    return "\n\n".join(part for part in parts if part) + "\n"


def questions(found: Found) -> list[str]:
    """The questions, in order."""
    return list(dict.fromkeys(row["question"] for row in found["rows"]))


def headlines(found: Found) -> list[str]:
    """The main questions: averages over sets, or both readings of the only set."""
    requested = questions(found)
    return [question for question in requested if question.startswith("average of ")] or requested[:2]


def summary(found: Found) -> str:
    """A summary of the comparison's set-up."""
    recipes, seeds = len(found["recipes"]), found["seeds"]
    over = "and over trainings" if seeds > 1 else "only (one training)"
    labels = " With labels, each set and fold has a training of its own." if found["supervised"] else ""
    return (
        f"{recipes} recipe{'s' * (recipes != 1)} × {seeds} training{'s' * (seeds > 1)} of {found['budget']} each, "
        f"pre-trained on {found['data']}; 95 % intervals over clusters of clips {over}.{labels}"
    )


def scores_table(found: Found, question: str) -> list[str]:
    """Scores of every system: at a quarter and a half of the training, and at its end with the interval.

    Earlier scores are means of the seeds that have all stages; their number is in parentheses if it is smaller.
    """
    rows = [row for row in found["rows"] if row["question"] == question]
    tell = _plain(rows)
    head = f"| {Unit(rows[0]['metric']).about} | a quarter | half | whole [95 %] | each seed |"
    lines = [head, "|---|--:|--:|--:|---|"]
    for system in dict.fromkeys(row["system"] for row in rows):
        own = [row for row in rows if row["system"] == system]
        curve, common = at_all_stages(own)
        note = f" ({len(common)})" if len(common) < max(len(row["seeds"]) for row in own) else ""
        steps = found["recipes"][system]["steps"] if own[0]["kind"] == "trained" else 0
        places = [None, None, *stages(steps)][-2:]
        early = [f"{tell(curve[step])}{note}" if step in curve else "–" for step in places]
        whole = [
            f"{tell(row['score']['estimate'])} [{span(row['score']['low'], row['score']['high'], tell)}]"
            for row in own if row["last"]
        ]  # fmt: skip
        seeds = ", ".join(tell(value) for row in own if row["last"] for value in row["seeds"])
        cells = [*early, *(whole or ["–"]), seeds]
        lines.append(f"| {in_markdown(system)} | {' | '.join(cells)} |")
    return lines


def at_all_stages(own: Sequence[Found]) -> tuple[dict[int, float], list[int]]:
    """By step, the mean score of the trainings that have all stages, and these trainings.

    Args:
        own: the rows of one system for one question.
    """
    common = sorted(set.intersection(*(set(row["trainings"]) for row in own)))
    by_seed = {row["step"]: dict(zip(row["trainings"], row["seeds"], strict=True)) for row in own}
    mean = lambda one: sum(one[seed] for seed in common) / len(common)
    return {step: mean(one) for step, one in by_seed.items() if common}, common


def pairs_table(found: Found, question: str) -> list[str]:
    """Every pair: the difference with its interval, and the smallest detectable difference."""
    pairs = [pair for pair in found["pairs"] if pair["question"] == question]
    if not pairs:
        return []
    number = Unit(metric_of(found, question)).text
    lines = ["| recipe | minus | paired [95 %] | detectable |", "|---|---|--:|--:|"]
    for pair in pairs:
        lead, detectable = pair["difference"]["lead"], pair["difference"]["detectable"]
        text = f"{number(lead['estimate'])} [{span(lead['low'], lead['high'], number)}]"
        text = f"**{text}**" if clear(lead["low"], lead["high"]) else text
        least = "–" if detectable is None else number(detectable, "")
        names = in_markdown(pair["system"]), in_markdown(pair["difference"]["against"])
        lines.append(f"| {' | '.join(names)} | {text} | {least} |")
    return lines


def metric_of(found: Found, question: str) -> str:
    """The metric of a question's scores."""
    return next(row["metric"] for row in found["rows"] if row["question"] == question)


def _plain(rows: Sequence[Found]) -> Callable[[float], str]:
    unit = Unit(rows[0]["metric"])
    return lambda value: unit.text(value, "")


def _costs(found: Found) -> Iterator[str]:
    lines = [
        "| recipe | parameters | steps | seconds a step | minutes trained | TFLOPs | memory, GB | trainings |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, one in (found["recipes"] | found["supervised"]).items():
        minutes = "–" if one["trained_seconds"] is None else f"{one['trained_seconds'] / 60:.3g}"
        lines.append(
            f"| {in_markdown(name)} | {one['parameters']:,} | {one['steps']:,} | {one['seconds']:.3g} | {minutes} | "
            f"{one['steps'] * one['flops'] / 1e12:.3g} | {one['memory'] / 1e9:.3g} | {one['trainings']} |"
        )
    yield "\n".join(lines)
    yield (
        "Parameters are those that are trained. Seconds a step were timed on noise before the start; minutes are what "
        "the steps of a training took, without waiting for data, checkpoints and measuring. FLOPs and memory are "
        "counted as `aasp plan` does, for one GPU in bf16."
    )


def _rounded(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
