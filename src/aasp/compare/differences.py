"""Means over trainings, differences of two systems, their intervals, and the smallest detectable effect.

S seeds, n clips. Source: ours; intervals are those of `evaluate.intervals`: clusters of clips and seeds are both drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aasp.compare.measures import Scores
from aasp.errors import AaspError
from aasp.evaluate.intervals import Interval, interval

DETECTABLE = 2.8
"""Size of a difference, in standard errors, that a two-sided test at 5 % detects in 80 % of cases: 1.96 + 0.84."""
BySeed = Mapping[int, Scores]


@dataclass(frozen=True)
class Difference:
    """A cell minus another, paired by clip, and by seed if both have the same seeds.

    Attributes:
        against: name of the other.
        lead: their difference and its interval.
        detectable: the smallest true difference that this number of seeds and clips would detect in 80 % of cases; None
            if they are too few to tell, or if there is a single seed, so that nothing is known of other trainings.
    """

    against: str
    lead: Interval
    detectable: float | None


def mean(ours: BySeed, resamples: int | None = None) -> tuple[Interval, list[float]]:
    """Mean over seeds with its interval, and the score of each seed."""
    first = next(iter(ours.values()))
    values = [one.values for one in ours.values()]
    score = interval(values, clusters=first.drawn, rounds=first.rounds, resamples=resamples)
    alone = [interval([v], clusters=first.drawn, rounds=first.rounds, resamples=1).estimate for v in values]
    return score, alone


def difference(
    ours: BySeed, theirs: BySeed, name: str, *, matched: bool = True, resamples: int | None = None
) -> Difference | None:
    """The difference of two systems; None if they have no seeds to compare.

    Args:
        ours, theirs: scores of each by seed.
        name: of the other.
        matched: equal seeds have the same data in the same order: only seeds that both have are compared.
        resamples: number of draws; the default of `interval` if omitted.

    Raises:
        AaspError: the scores are of other clips.
    """
    pairs = seeds_of([ours, theirs], matched)
    if not all(pairs):
        return None
    requested = paired(ours, theirs, pairs, name)
    return of(name, interval(**requested, matched=matched, resamples=resamples))  # type: ignore[arg-type]


def of(name: str, lead: Interval) -> Difference:
    """A `Difference` from its interval."""
    width = None if lead.low is None or lead.high is None or lead.seeds < 2 else lead.high - lead.low
    return Difference(name, lead, None if width is None else DETECTABLE * width / (2 * 1.96))


def seeds_of(systems: Sequence[BySeed], matched: bool) -> list[list[int]]:
    """The seeds of each system that are compared."""
    if not matched:
        return [list(system) for system in systems]
    both = [seed for seed in systems[0] if all(seed in system for system in systems)]
    return [both] * len(systems)


def paired(ours: BySeed, theirs: BySeed, seeds: Sequence[Sequence[int]], name: str) -> dict[str, object]:
    """The arguments of `interval` and `resampled`.

    Raises:
        AaspError: the scores are of other clips.
    """
    first = ours[seeds[0][0]]
    values = [[system[seed].values for seed in some] for system, some in zip((ours, theirs), seeds, strict=True)]
    if any(len(one) != len(first.values) for system in values for one in system):
        raise AaspError(f"scores of {name} are of other clips; remove them, and they are measured again")
    return {"scores": values[0], "minus": values[1], "clusters": first.drawn, "rounds": first.rounds}
