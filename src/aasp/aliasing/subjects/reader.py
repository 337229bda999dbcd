"""An encoder that can be examined, as a comparison probes it and measures how steady it is: frozen, never trained.

n sounds. Source: ours.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from aasp.aliasing.subjects.contract import Subject
from aasp.aliasing.subjects.embedded import clip_vectors
from aasp.audio.sounds import Sound
from aasp.compare.measures import Kept
from aasp.datasets.index import Skipped
from aasp.errors import AaspError
from aasp.evaluate.probe import ProbeResult
from aasp.evaluate.ridge import ridge_probe
from aasp.evaluate.task import Task


class SubjectReader(Kept):
    """An encoder of others: one vector a clip, so that both readings are of it.

    Args:
        subject: the encoder.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.subject = subject
        self._last: tuple[Any, np.ndarray] = ((), np.empty((0, 0)))

    def read(self, way: Hashable, sounds: Sequence[Sound], task: Task) -> ProbeResult:
        """What ridge regression of its vectors says of the scored clips.

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
        return ridge_probe({"own": self._last[1]}, task)
