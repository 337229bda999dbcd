"""Train and measure what is lacking of a suite: a case of `aasp.compare`, whose cells have all as many steps.

Seeds come first: whenever it stops, all cells have about as many. Source: ours.
"""

from __future__ import annotations

from collections.abc import Sequence

from aasp.aliasing.ablation.suite import Suite
from aasp.compare.budget import seconds_per_step
from aasp.compare.cells import Cell, Outcome, Say, Work, work
from aasp.compare.folder import Folder
from aasp.compare.measures import Listener, Measure
from aasp.compare.training import Training
from aasp.model.audio_encoder import load


def ablate(
    suite: Suite,
    folder: Folder,
    *,
    steps: int,
    seeds: int,
    measures: Sequence[Measure],
    training: Training,
    work: Work = work,
    say: Say = print,
) -> Outcome:
    """Train every cell with every seed, and measure each.

    Args:
        suite: the cells.
        folder: where it all lies.
        steps: optimizer steps of each.
        seeds: how many, from 0.
        measures: what to measure.
        training: how cells are trained.
        work: who works at them.
        say: told where it stands.

    Raises:
        AaspError: bad data.
    """
    cells = [
        Cell(cell.name, seed, measures, suite.recipe_of(cell, steps, seed)) for seed in range(seeds) for cell in suite
    ]
    listen = lambda cell, model: Listener(load(model, training.device))
    return work(cells, folder, train=training, listen=listen, say=say)


def steps_within(suite: Suite, minutes: float, seeds: int, training: Training, say: Say = print) -> int:
    """The equal number of steps at which all cells and seeds together train for so many minutes on this machine.

    Each cell is timed for a few steps on noise; decoding and measuring come on top.
    """
    seconds = 0.0
    for cell in suite:
        one = seconds_per_step(suite.recipe_of(cell, 10, 0), training.precision, training.device)
        say(f"timing {cell.name}: {one:.2f} s a step")
        seconds += one
    return max(1, int(60 * minutes / (seeds * seconds)))
