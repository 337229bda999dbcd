"""One file of the bench: how it is made and the expected result."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.workshop import Workshop


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
        family: the container or codec it is counted under.
        name: its file name.
        make: gives its bytes.
        refused: a part of the reason for which it must be refused; empty if it must be read.
        truth: gives (rate, samples (frames, channels)) where ffmpeg itself is wrong; None takes ffmpeg's.
        longer: by how many samples we may be longer than the truth.
        tolerance: largest difference of a sample; None where noise that the decoder draws makes it pointless.
        window_tolerance: the same between a window and the slice of the whole.
        sound: whether there is sound in it, so that no one may advise to delete it.
        why: the reason for any of these that is not the default.
    """

    family: str
    name: str
    make: Callable[[Workshop], bytes] = field(repr=False)
    refused: str = ""
    truth: Callable[[Path], tuple[int, np.ndarray] | None] | None = None
    longer: Container[int] = (0,)
    tolerance: float | None = 2e-6
    window_tolerance: float | None = 1e-6
    sound: bool = True
    why: str = ""
