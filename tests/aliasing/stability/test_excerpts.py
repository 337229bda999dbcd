"""Which seconds of which clips are examined, and how skipped clips are listed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.aliasing.stability.excerpts import HOP, MIN_CLIPS, gather, groups_of, loudest
from aasp.datasets.manifest import Manifest
from aasp.errors import AaspError


def test_the_loudest_frames_by_a_naive_search() -> None:
    rng = np.random.default_rng(0)
    wave = (rng.standard_normal(120 * HOP + 33) * np.repeat(rng.random(121), HOP)[: 120 * HOP + 33]).astype(np.float32)
    found = loudest(wave, 20)
    starts = range(16, 120 - 16 - 20 + 1)
    best = max(starts, key=lambda s: (wave[s * HOP : (s + 20) * HOP] ** 2).sum())
    np.testing.assert_array_equal(found, wave[(best - 16) * HOP : (best + 36) * HOP])


def manifest(folder: Path, seconds: list[float]) -> Manifest:
    rng = np.random.default_rng(0)
    for number, length in enumerate(seconds):
        soundfile.write(folder / f"{number:02d}.wav", 0.1 * rng.standard_normal(round(16_000 * length)), 16_000)
    return Manifest.open(folder)[0]


def test_clips_are_spread_evenly_and_short_ones_listed(tmp_path: Path) -> None:
    found = gather(manifest(tmp_path, [1.0] * 25 + [0.7]), clips=9, seconds=0.6)
    assert found.rows.tolist() == [0, 3, 6, 9, 12, 15, 18, 21, 24]
    assert found.excerpts.clean.shape == (9, 9_600)
    assert [Path(file.path).name for file in found.skipped] == ["25.wav"]
    assert found.skipped[0].reason == "0.7 s long, 0.92 s are needed for 0.6 s and what is to spare"


def test_all_clips_are_taken_when_more_are_requested(tmp_path: Path) -> None:
    assert len(gather(manifest(tmp_path, [1.0] * MIN_CLIPS), clips=100, seconds=0.6).rows) == MIN_CLIPS


def test_silence_is_listed(tmp_path: Path) -> None:
    set_ = manifest(tmp_path, [1.0] * 9)
    soundfile.write(tmp_path / "04.wav", np.zeros(16_000), 16_000)
    found = gather(set_, clips=9, seconds=0.6)
    assert [file.reason for file in found.skipped] == ["is silence: 0 % of its log-mel lies above the floor"]
    assert 4 not in found.rows


def test_too_few_clips_are_an_error_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(AaspError, match=r"0 usable clip\(s\), 8 or more are needed; of 3 skipped the first is .*00"):
        gather(manifest(tmp_path, [0.5] * 3), clips=100, seconds=2.5)


def test_clips_of_one_file_are_one_group(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), np.array([1, 2, 3, 6])
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * rng.standard_normal((16_000, 2)), 16_000)
    each, mean = (Manifest.open(tmp_path, channels=channels)[0] for channels in ("each", "mean"))
    assert groups_of(mean, np.arange(4), None) is None
    of_file = groups_of(each, rows, None)
    assert (of_file[:, None] == of_file).tolist() == [[row // 2 == other // 2 for other in rows] for row in rows]
    assert groups_of(each, rows, np.array(list("aabbccdd"))).tolist() == ["a", "b", "b", "d"]
    assert groups_of(each, rows, np.array(list("abcdefgh"))).tolist() == ["b", "c", "c", "g"]
