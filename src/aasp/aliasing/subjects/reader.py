"""An encoder that can be examined, as a comparison probes it and measures how steady it is: frozen, never trained.

n sounds. Source: ours.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from aasp.aliasing.subjects.contract import OWN, Subject
from aasp.aliasing.subjects.embedded import clip_vectors
from aasp.audio.sounds import Sound
from aasp.compare.measures import Kept
from aasp.datasets.index import Skipped
from aasp.errors import AaspError
from aasp.evaluate.probe import ProbeResult
from aasp.evaluate.ridge import ridge_probe
from aasp.evaluate.task import Task


class SubjectReader(Kept):
    """An encoder of others: its own vector, and the best among its layers where it tells them.

    Args:
        subject: the encoder.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.subject = subject
        self._last: tuple[Any, dict[str, np.ndarray]] = ((), {})

    def read(self, way: Hashable, sounds: Sequence[Sound], task: Task) -> ProbeResult:
        """What ridge regression says of the scored clips, of its vector or of its best layer on the valid part.

        Raises:
            AaspError: a sound can't be used.
        """
        asked = tuple(sounds)
        if self._last[0] != asked:
            skipped: list[Skipped] = []
            vectors = clip_vectors(self.subject, sounds, skipped)
            if skipped:
                raise AaspError(f"can't use {skipped[0].path}: {skipped[0].reason}; replace it, or leave it out")
            self._last = asked, vectors
        own, layers = {OWN: self._last[1][OWN]}, {key: X for key, X in self._last[1].items() if key != OWN}
        return ridge_probe(layers if layers and way == "best layer" else own, task)
