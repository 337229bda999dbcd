"""The ruler's results for a model, as Markdown tables and JSON values, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from aasp.evaluate.averages import RESAMPLES, average
from aasp.evaluate.intervals import Interval
from aasp.evaluate.outcome import system_name
from aasp.evaluate.probe import ProbeResult, main_score
from aasp.evaluate.ruler import System
from ruler_sets import MIN_CLIPS, Set

# Readings of the model, its untrained encoder and log-mel of 128 bands; with 40 bands always the fixed probe.
READINGS = {
    "Default vector, ridge regression": ("own ridge", "best ridge", "128 ridge"),
    "Default vector, logistic regression": ("own logistic", "best logistic", "128 logistic"),
    "Best layer and pooling, ridge regression": ("best ridge", "best ridge", "128 ridge"),
    "Best layer and pooling, logistic regression": ("best logistic", "best logistic", "128 logistic"),
    "Default vector, k nearest neighbours": ("own k-NN", "best k-NN", "128 k-NN"),
}
UNTRAINED, BANDS_40, BANDS_128, STRONGEST = "untrained", "log-mel 40", "log-mel 128", "the strongest"
Measured = dict[str, list[Interval]]  # by column: for each set, and for their average


def show_sets(sets: Sequence[Set]) -> dict[str, Any]:
    out, rows = {}, []
    for one in sets:
        task = one.task
        clusters = None if task.groups is None else len(set(task.groups[task.test].tolist()))
        out[one.name] = {"source": one.labelled.source, "clips": len(one.labelled), "hours": one.seconds.sum() / 3600}
        out[one.name] |= {"tested": len(task.test), "clusters": clusters, "missing": len(task.missing)}
        out[one.name] |= {"notes": task.notes}
        rows.append((one.name, f"{len(one.labelled):,}", f"{len(task.test):,}", f"{clusters or len(task.test):,}"))
    _table(["set", "clips used", "tested", "clusters tested"], rows)
    return out


def show_model(sets: Sequence[Set], model: System, untrained: System, log_mel: System) -> dict[str, Any]:
    print(f"\n## {model.model}")
    out: dict[str, Any] = {"readings": {}, "few labels": {}, "last block": {}}
    for title, (ours, theirs, of_128) in READINGS.items():
        found = _compared(
            sets,
            [one.results[model][ours] for one in sets],
            {
                UNTRAINED: [one.results[untrained][theirs] for one in sets],
                BANDS_40: [one.results[log_mel]["40"] for one in sets],
                BANDS_128: [one.results[log_mel][of_128] for one in sets],
            },
            strongest=True,
        )
        print(f"\n### {title}")
        _show(sets, {system_name(model.model) if name == "model" else name: found[name] for name in found})
        out["readings"][title] = _json(sets, found)
    tuned = [one for one in sets if model in one.few]
    print("\n### Fine-tuned with few labels a class, and the same network from scratch")
    print("\n`lp_ft`, cut; one draw of labels, one training. A class of fewer clips gives all it has.")
    for labels in tuned[0].few[model] if tuned else ():
        ours, theirs = ([one.few[system][labels] for one in tuned] for system in (model, untrained))
        found = _compared(tuned, ours, {"from scratch": theirs})
        tested = ", ".join(f"{len(result.test)} of {one.name}" for result, one in zip(ours, tuned, strict=True))
        print(f"\n{labels} a class; clips tested: {tested}")
        _show(tuned, {"fine-tuned" if name == "model" else name: found[name] for name in found})
        out["few labels"][str(labels)] = _json(tuned, found)
    if left := [one.name for one in sets if one not in tuned]:
        reason = f"several labels a clip or fewer than {MIN_CLIPS} clips a class"
        print(f"\nNot fine-tuned, for {reason}: {', '.join(left)}.")
    print("\n### The last block, and a random network's")
    for title, key in (("Token mean", "last mean"), ("The pooling that validation chose", "last")):
        ours, theirs = ([one.results[system][key] for one in sets] for system in (model, untrained))
        found = _compared(sets, ours, {"random": theirs})
        print(f"\n{title}, ridge regression")
        _show(sets, {"last block" if name == "model" else name: found[name] for name in found})
        out["last block"][title] = _json(sets, found)
    keys_of = lambda system, one: [f"{c.key[0]} {c.key[1]}" for c in one.results[system]["best ridge"].chosen]
    out["chosen"] = {one.name: {s.kind: keys_of(s, one) for s in (model, untrained)} for one in sets}
    out["effective rank"] = {one.name: one.ranks[model] for one in sets}
    print("\n### Effective rank of the default vector; layer and pooling that validation chose in each round (ridge)")
    chosen = lambda name, kind: "; ".join(out["chosen"][name][kind])
    ranks = out["effective rank"].items()
    rows = [(name, f"{rank:.1f}", chosen(name, "model"), chosen(name, "untrained")) for name, rank in ranks]
    _table(
        ["set", "rank", "model", "untrained"], [*rows, ("**mean**", f"{np.mean([r for _, r in ranks]):.1f}", "", "")]
    )
    return out


def _compared(
    sets: Sequence[Set],
    ours: Sequence[ProbeResult],
    controls: Mapping[str, Sequence[ProbeResult]],
    strongest: bool = False,
) -> Measured:
    """Scores of a model and its controls, and its leads over each, on every set and on average.

    Args:
        sets: the sets.
        ours: one per set.
        controls: by name, one per set.
        strongest: also the lead over the best control on each set's test part: a choice in the control's favour.
    """
    out = {name: _scored(sets, found) for name, found in {"model": ours, **controls}.items()}
    others = dict(controls)
    if strongest:
        others[STRONGEST] = [max(each, key=lambda one: one.score) for each in zip(*controls.values(), strict=True)]
    return out | {f"minus {name}": _scored(sets, ours, found) for name, found in others.items()}


def _scored(
    sets: Sequence[Set], ours: Sequence[ProbeResult], theirs: Sequence[ProbeResult] | None = None
) -> list[Interval]:
    pairs = [([one], None if theirs is None else [theirs[i]]) for i, one in enumerate(ours)]
    return [
        *(main_score(a, b, RESAMPLES) for a, b in pairs),
        average(ours, theirs, sources=[one.labelled.source for one in sets]),
    ]


def _show(sets: Sequence[Set], found: Measured) -> None:
    names = [*(one.name for one in sets), "**average**"]
    columns = [[_lead(one) if "minus" in name else one.percent() for one in some] for name, some in found.items()]
    _table(["set", *found], zip(names, *columns, strict=True))


def _lead(interval: Interval) -> str:
    text = interval.percent("+")
    return f"**{text}**" if interval.excludes_zero() and interval.estimate > 0 else text


def _json(sets: Sequence[Set], found: Measured) -> dict[str, dict[str, Any]]:
    names = [*(one.name for one in sets), "average"]
    return {c: {n: one.to_dict() for n, one in zip(names, some, strict=True)} for c, some in found.items()}


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(f"\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
