"""Published results of the peers: numbers of other people, kept apart from ours.

`published.csv` has a row for each model and protocol and a column for each benchmark as the registry names it; a cell
is the number in per cent (mAP for AudioSet, else accuracy) and its marks. ViT-B class, pre-trained on AudioSet without
labels unless the name says otherwise. Fine-tuning is each paper's own; linear is EVAR's protocol. Left out are models
that use labels or text, EVAR's average, and what we could not learn.

Which form of a set a number belongs to is our reading where papers only say SPC-1 and SPC-2: version 1 in the
12-class form of SUPERB, version 2 with all 35 words; NSynth is asked for families. CREMA-D's numbers are on EVAR's list
of speakers. A year is that of the first preprint.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

MARKS = {
    "r": "read in a public repository",
    "a": "from the paper's abstract",
    "w": "row of a leaderboard",
    "t": "from a third party's table",
    "m": "from memory of the paper, unverified",
    "d": "from a digest of the paper, unverified",
    "p": "the protocol is our inference",
}
"""What a mark says of where a number comes from; surest first."""


@dataclass(frozen=True)
class Peer:
    """A model's published results under one protocol.

    Attributes:
        model: as its paper calls it.
        year: of the first preprint.
        protocol: finetune or linear.
        values: by benchmark, the number in per cent as it was published ("40.2–40.3" where sources differ).
        marks: by benchmark, letters of `MARKS`.
    """

    model: str
    year: str
    protocol: str
    values: Mapping[str, str]
    marks: Mapping[str, str]


@functools.cache
def peers() -> tuple[Peer, ...]:
    """All peers, in the order of the file: by protocol, then roughly by age."""
    text = files("aasp.report").joinpath("published.csv").read_text(encoding="utf-8")
    found = []
    for row in csv.DictReader(text.splitlines()):
        protocol, model, year = (row.pop(name) for name in ("protocol", "model", "year"))
        cells = {benchmark: cell.split() for benchmark, cell in row.items() if cell}
        values, marks = ({benchmark: cell[k] for benchmark, cell in cells.items()} for k in (0, 1))
        found.append(Peer(model, year, protocol, values, marks))
    return tuple(found)
