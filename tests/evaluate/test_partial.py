"""Unfinished embeddings: a process killed while it removes them leaves what the next one can use."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from aasp.evaluate.partial import Partial

JOB = {"model": "m"}


class Killed(BaseException):
    """A signal that nothing handles."""


@pytest.mark.parametrize("after", range(5))
def test_a_removal_that_was_killed_is_in_nobody_s_way(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, sounds = tmp_path / "out.parquet", [str(tmp_path / "a.wav")]
    Path(sounds[0]).write_bytes(b"")
    partial = Partial(out, sounds)
    with partial.opened(JOB, overwrite=False):
        partial.add(pa.table({"x": [1.0]}), 1, [])
        out.write_bytes(b"whole")
        partial.becomes(out)

    unlink, removed = Path.unlink, []

    def killing(path: Path, missing_ok: bool = False) -> None:
        if len(removed) == after:
            raise Killed
        removed.append(path.name)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", killing)
    try:
        partial.remove()
    except Killed:
        assert after < 4
    monkeypatch.undo()
    out.unlink()  # as when an index has taken its rows over
    again = Partial(out, sounds)
    with again.opened(JOB, overwrite=False):
        assert again.done == (1 if after == 0 else 0)
