"""Progress of a run, and the time of its steps."""

from __future__ import annotations

import pytest

from aasp.training import snapshot
from aasp.training.snapshot import Progress


def test_time_while_the_steps_are_paused_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.0, 2.5, 12.5, 15.0])
    monkeypatch.setattr(snapshot.time, "monotonic", lambda: next(clock))
    progress = Progress(_clock=snapshot.time.monotonic())
    progress.count(4, 1.0)
    with progress.paused():  # half a second of the next step has passed; saving takes ten
        pass
    progress.count(4, 1.0)
    assert progress.elapsed == 5.0 and (progress.step, progress.clips) == (2, 8)
