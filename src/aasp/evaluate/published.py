"""Published results of other models, kept apart from ours.

`published.csv` has a row for each model and protocol and a column for each benchmark; a cell is the score in per cent
(mAP for AudioSet, else accuracy) and its marks. Models are ViT-B size, pre-trained on AudioSet without labels, unless
their name says otherwise. Fine-tuning follows each paper; linear is EVAR's protocol. Models that use labels or text,
EVAR's average, and results that we could not find are left out. A year is that of the first preprint.

Where papers only say SPC-1 and SPC-2, the version of the set is our interpretation: version 1 in the 12-class form of
SUPERB, version 2 with all 35 words; the NSynth task is instrument family; CREMA-D uses EVAR's split of speakers.
"""

from __future__ import annotations

import csv
import functools
from importlib.resources import files
from typing import NamedTuple

MARKS = {
    "r": "read in a public repository",
    "a": "from the paper's abstract",
    "w": "row of a leaderboard",
    "t": "from a third party's table",
    "m": "from memory of the paper, unverified",
    "d": "from a digest of the paper, unverified",
    "p": "the protocol is our inference",
}
"""Marks for the source of a number; most reliable first."""


class Peer(NamedTuple):
    """A model's published results under one protocol, finetune or linear.

    `values` and `marks` by benchmark: the score in per cent as published ("40.2–40.3" where sources differ), and
    letters of `MARKS`.
    """

    protocol: str
    model: str
    year: str
    values: dict[str, str]
    marks: dict[str, str]


@functools.cache
def peers() -> tuple[Peer, ...]:
    """All models in the order of the file: by protocol, then roughly by age."""
    text = files("aasp.evaluate").joinpath("published.csv").read_text(encoding="utf-8")
    found = []
    for row in csv.DictReader(text.splitlines()):
        protocol, model, year = (row.pop(name) for name in ("protocol", "model", "year"))
        cells = {benchmark: cell.split() for benchmark, cell in row.items() if cell}
        values, marks = ({name: cell[k] for name, cell in cells.items()} for k in (0, 1))
        found.append(Peer(protocol, model, year, values, marks))
    return tuple(found)
