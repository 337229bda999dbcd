"""Decoding ahead: every sound once, stretch by stretch, with little decoded in advance; unusable files are reported."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.audio.io import AudioError
from aasp.audio.sounds import Samples
from aasp.errors import AaspError
from aasp.evaluate import prefetch
from aasp.evaluate.prefetch import decoded
from aasp.features.logmel import LogMelConfig

FRONT = LogMelConfig()


def sounds(seconds: list[float]) -> list[Samples]:
    """Waveforms whose value is their row."""
    made = enumerate(seconds)
    return [Samples(f"array {row}", np.full(round(16_000 * s), row / 1000, np.float32), 16_000) for row, s in made]


def refuse(row: int, error: AudioError) -> None:
    raise error


@pytest.mark.parametrize("workers", [0, 2])
def test_every_sound_comes_once_as_it_is(workers: int) -> None:
    seconds = (0.1 + 2 * np.random.default_rng(0).random(70)).tolist()
    seen = {}
    for one in decoded(sounds(seconds), FRONT, 1.0, refuse, batch=4, workers=workers):
        assert one.wave is not None and one.lengths is not None and len(one.rows) <= 4
        for row, wave, length in zip(one.rows, one.wave, one.lengths.tolist(), strict=True):
            assert row not in seen and length == round(16_000 * seconds[row])
            assert torch.equal(wave[:length], torch.full((length,), row / 1000)) and not wave[length:].any()
            seen[row] = True
    assert len(seen) == 70


def test_stretches_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "STRETCH", 10)
    rows = [one.rows for one in decoded(sounds([0.3] * 25 + [0.2]), FRONT, 1.0, refuse, batch=4, workers=2)]
    order = [row for some in rows for row in some]
    assert [row // 10 for row in order] == sorted(row // 10 for row in range(26))
    assert order[20] == 25  # the shortest of its stretch


def test_a_stretch_ends_early_where_sounds_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "STRETCH_SECONDS", 5.0)
    rows = [one.rows for one in decoded(sounds([3, 2, 1, 3, 2, 1]), FRONT, 1.0, refuse, batch=1, workers=2)]
    assert rows == [[1], [0], [2], [4], [3], [5]]


def test_few_decoded_sounds_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    read, lock = [0], threading.Lock()

    def count(sound: Samples, rate: int) -> np.ndarray:
        with lock:
            read[0] += 1
        return sound.wave

    monkeypatch.setattr(prefetch, "read_sound", count)
    monkeypatch.setattr(prefetch, "AHEAD_SECONDS", 8.0)
    most = 0
    for number, _ in enumerate(decoded(sounds([1.0] * 60), FRONT, 1.0, refuse, batch=2, workers=2), start=1):
        time.sleep(0.005)  # all that could be decoded in that time is
        most = max(most, read[0] - 2 * number)
    assert 2 <= most <= 10


@pytest.mark.parametrize("workers", [0, 2])
def test_unusable_files_are_reported_with_their_row(workers: int, tmp_path: Path) -> None:
    bad: dict[int, str] = {}
    given = [*sounds([0.5, 0.01]), str(tmp_path / "missing.wav"), *sounds([0.2])]
    failed = lambda row, error: bad.update({row: error.reason})
    rows = [row for one in decoded(given, FRONT, 1.0, failed, workers=workers) for row in one.rows]
    assert sorted(rows) == [0, 3] and set(bad) == {1, 2}
    assert bad[1] == "too short: 10 ms, under one analysis window of 25 ms" and "no such file" in bad[2]


def test_an_error_ends_the_iteration_and_the_threads() -> None:
    before = threading.active_count()
    with pytest.raises(AudioError, match="too short"):
        list(decoded(sounds([0.5, 0.01]), FRONT, 1.0, refuse, workers=3))
    assert threading.active_count() == before


def test_long_ones_are_left_to_the_caller() -> None:
    found = list(decoded(sounds([1.0, 5.0, 2.0]), FRONT, 1.0, refuse, whole=3.0, workers=1))
    assert [(one.rows, one.wave is None) for one in found] == [([0, 2], False), ([1], True)]


def test_a_folder_that_vanishes_ends_the_iteration(tmp_path: Path) -> None:
    """Skipping files silently when a drive is lost would give a result from half of them."""
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", np.full(4_000, 0.1), 16_000)
    paths = [str(tmp_path / f"{number}.wav") for number in range(3)]
    left_out: list[int] = []
    note = lambda row, error: left_out.append(row)
    one = decoded([*paths[:1], str(tmp_path / "other/1.wav"), *paths[1:]], FRONT, 1.0, note, batch=1, workers=0)
    assert next(one).rows == [0]
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    with pytest.raises(AaspError, match=rf"folder of the data is gone: {tmp_path}; bring it back"):
        list(one)
    assert left_out == [1], "a folder that never was there is a file's own fault"
