"""The share of a step's clips that each process computes, and its micro-batches; kept when a run resumes.

The number of clips per step over all processes does not depend on the number of processes. Nor does the size of a
micro-batch, which is known to fit into memory: with fewer processes, each computes more micro-batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aasp.errors import AaspError
from aasp.training.activations import check_count


@dataclass(frozen=True)
class Share:
    """The share of one process.

    Attributes:
        clips: clips per step.
        micro_batches: the number of micro-batches of a step, computed one after another.
        notes: changes and warnings, as lines.
    """

    clips: int
    micro_batches: int
    notes: tuple[str, ...] = ()


def share(
    batch: int,
    micro_batches: int,
    processes: int,
    before: Mapping[str, Any] | None = None,
    across: Sequence[str] = (),
    field: str = "data.batch",
) -> Share:
    """Compute a process's share.

    Args:
        batch: clips per step over all processes.
        micro_batches: micro-batches per step and process in the recipe.
        processes: the number of processes.
        before: the state of the checkpoint that the run resumes from.
        across: parts of the objective that depend on the other clips of a micro-batch.
        field: the recipe's field for the clips per step.

    Raises:
        AaspError: a new run's batch can't be divided evenly, or the checkpoint's state is damaged.
    """
    if before is None:
        if batch % processes:
            raise AaspError(f"{field} is {batch}, for {processes} processes; give a multiple of {processes}")
        check_count(batch // processes, micro_batches, processes)
        if across and batch == micro_batches > 1:
            text = f"{across[0]} over a micro-batch, which would have a single clip"
            raise AaspError(f"optimizer.accumulate is {micro_batches}, for {batch} clips: {text}; give a smaller one")
        return Share(batch // processes, micro_batches, _warned(batch, micro_batches, across))
    try:
        held = [process["data"]["made_with"]["batch"] for process in before["processes"]]
    except (KeyError, TypeError):
        raise AaspError("damaged checkpoint: its state.json is incomplete; move it away") from None
    count = before.get("micro_batches", 1)
    if len(held) == processes:
        return Share(held[0], count, _warned(held[0] * processes, count, across))
    clips, at_once = max(1, round(batch / processes)), max(2 if across else 1, held[0] // count)
    count = next(count for count in range(1, clips + 1) if clips % count == 0 and clips // count <= at_once)
    lines = [
        f"processes: {processes}, were {len(held)}; each computes {clips} clips per step, {clips // count} at a time"
    ]
    if clips * processes != batch:
        lines.append(
            f"warning: a step has {clips * processes} clips now, not {batch}: {processes} processes cannot divide these"
        )
    return Share(clips, count, (*lines, *_warned(clips * processes, count, across)))


def _warned(clips: int, count: int, across: Sequence[str]) -> tuple[str, ...]:
    """A warning about the effect of gradient accumulation on a step of this many clips over all processes, if any."""
    if count == 1 or not across:
        return ()
    return (f"warning: {' and '.join(across)} within micro-batches of {clips // count} clips, not over all {clips}",)
