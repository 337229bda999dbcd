"""Batches of random crops: the same on any thread count, after any interruption, and across shards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from aasp.audio.sounds import Excerpt, Ingredient, Mixture, Sound, describe, duration
from aasp.datasets.manifest import Manifest
from aasp.datasets.pipeline import CropPipeline
from aasp.datasets.sharding import Settings as ShardSettings
from aasp.datasets.sharding import shard as write_shards
from aasp.errors import AaspError

RATE = 8_000
FILES = 11
Batch = dict[str, torch.Tensor]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Eleven FLAC files of 0.3 to 0.8 s. Sample n of file f is (1000 f + n / 10) / 32768: a crop shows its place."""
    for file in range(FILES):
        samples = round((0.3 + 0.05 * file) * RATE)
        wave = 1000 * file + np.arange(samples) // 10
        soundfile.write(tmp_path / f"{file:02}.flac", wave.astype(np.int16), RATE)
    return Manifest.open(tmp_path)[0]


def pipeline(manifest: Manifest, **changes: Any) -> CropPipeline:
    return CropPipeline(manifest, **{"seconds": 0.4, "batch": 4, "seed": 5, "rate": RATE, "workers": 2} | changes)


def take(crops: Iterator[Batch], count: int) -> list[Batch]:
    return [next(crops) for _ in range(count)]


def same(ours: list[Batch], theirs: list[Batch]) -> bool:
    return len(ours) == len(theirs) and all(
        torch.equal(a["wave"], b["wave"]) and torch.equal(a["length"], b["length"])
        for a, b in zip(ours, theirs, strict=True)
    )


def files_of(batches: list[Batch]) -> list[int]:
    return [round(float(value) * 32768) // 1000 for batch in batches for value in batch["wave"][:, 0]]


def starts_of(batches: list[Batch]) -> list[int]:
    return [round(float(value) * 32768) % 1000 * 10 for batch in batches for value in batch["wave"][:, 0]]


@pytest.mark.parametrize("cache", [False, True])
def test_a_batch(manifest: Manifest, cache: bool) -> None:
    for batch in take(pipeline(manifest, cache=cache), 6):
        assert batch["wave"].shape == (4, 3200) and batch["wave"].dtype == torch.float32
        assert batch["length"].shape == (4,) and batch["length"].dtype == torch.int64
        for wave, length in zip(batch["wave"], batch["length"], strict=True):
            file = round(float(wave[0]) * 32768) // 1000
            assert length == min(3200, round((0.3 + 0.05 * file) * RATE))
            assert not wave[length:].any()
            assert wave[:length].diff().min() >= 0  # one stretch of one file
            assert round(float(wave[length - 1]) * 32768) - round(float(wave[0]) * 32768) in (
                (length - 1) // 10,
                (length - 1) // 10 + 1,
            )


def test_an_epoch_visits_each_file_once_in_a_new_order(manifest: Manifest) -> None:
    files = files_of(take(pipeline(manifest, batch=1), 3 * FILES))
    epochs = [files[n : n + FILES] for n in range(0, len(files), FILES)]
    assert all(sorted(epoch) == list(range(FILES)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.mark.slow
def test_crops_begin_anywhere_equally_often(manifest: Manifest) -> None:
    batches = take(pipeline(manifest, seconds=0.1, batch=FILES, cache=True), 100)
    starts = np.array([s for f, s in zip(files_of(batches), starts_of(batches), strict=True) if f == 10])
    latest = round(0.7 * RATE)
    assert len(starts) == 100
    assert starts.min() < 0.05 * latest and starts.max() > 0.95 * latest
    np.testing.assert_allclose(np.quantile(starts, [0.25, 0.5, 0.75]) / latest, [0.25, 0.5, 0.75], atol=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
@pytest.mark.parametrize("workers", [0, 2])
def test_decoding_threads_have_a_lower_priority(
    manifest: Manifest, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    found: dict[bool, set[int]] = {}
    sound = Manifest.sound

    def watched(self: Manifest, row: int) -> Sound:
        waits = threading.current_thread() is threading.main_thread()
        found.setdefault(waits, set()).add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return sound(self, row)

    monkeypatch.setattr(Manifest, "sound", watched)
    take(pipeline(manifest, workers=workers), 3)
    assert found == {False: {min(19, own + 10)}} if workers else {True: {own}}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own


@pytest.mark.parametrize("cache", [False, True])
def test_the_number_of_threads_changes_nothing(manifest: Manifest, cache: bool) -> None:
    alone = take(pipeline(manifest, workers=0, cache=cache), 10)
    assert same(alone, take(pipeline(manifest, workers=1, cache=cache), 10))
    assert same(alone, take(pipeline(manifest, workers=7, cache=cache), 10))


def test_a_cache_changes_nothing_but_the_rounding_of_where_a_crop_begins(manifest: Manifest) -> None:
    read, cached = take(pipeline(manifest), 10), take(pipeline(manifest, cache=True), 10)
    assert files_of(read) == files_of(cached)
    np.testing.assert_allclose(starts_of(read), starts_of(cached), atol=10)


def test_another_seed_is_another_run(manifest: Manifest) -> None:
    five, six = take(pipeline(manifest, batch=FILES), 3), take(pipeline(manifest, batch=FILES, seed=6), 3)
    assert not same(five, six)
    # also not the same order an epoch later
    orders = [{tuple(files_of([batch])) for batch in batches} for batches in (five, six)]
    assert not orders[0] & orders[1]


@pytest.mark.slow
@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("taken", [0, 1, 5])
def test_a_restored_pipeline_continues_bit_for_bit(manifest: Manifest, taken: int, cache: bool) -> None:
    first = pipeline(manifest, cache=cache)
    take(first, taken)  # batches of 4 of 11 files: in the middle of an epoch
    state = json.loads(json.dumps(first.state()))
    expected = take(first, 7)
    second = pipeline(manifest, workers=1, cache=cache)
    second.restore(state)
    assert second.state() == state
    assert same(take(second, 7), expected)
    first.restore(state)  # also backwards, with read-ahead under way
    assert same(take(first, 7), expected)


def test_a_position_of_another_run_is_refused(manifest: Manifest) -> None:
    state = pipeline(manifest).state()
    fewer = Manifest(manifest.table[:5], manifest.source)
    others = {"seed": 6, "seconds": 0.5, "batch": 8, "rate": 16_000, "shard": (0, 2), "cache": True}
    for other in [pipeline(fewer), *(pipeline(manifest, **{name: value}) for name, value in others.items())]:
        with pytest.raises(AaspError, match="data of another run"):
            other.restore(state)
    pipeline(manifest, workers=0).restore(state)


@pytest.mark.slow
def test_a_position_continues_in_other_data_where_allowed(manifest: Manifest) -> None:
    """As if the files of now had been there from the start."""
    fewer = Manifest(manifest.table[2:], manifest.source)
    first = pipeline(manifest)
    take(first, 5)
    state = json.loads(json.dumps(first.state()))
    changed = pipeline(fewer, data_changed=True)
    differences = changed.differences(state)
    assert differences["files"] == (11, 9) and set(differences) == {"files", "listing", "audio_seconds"}
    changed.restore(state)
    fresh = pipeline(fewer)
    take(fresh, 5)
    expected = take(fresh, 7)
    assert same(take(changed, 7), expected)
    again = pipeline(fewer)  # the data from here on
    again.restore(changed.state())
    assert same(take(again, 3), take(fresh, 3))
    for setting in ({"seed": 6}, {"batch": 8}, {"seconds": 0.5}):
        with pytest.raises(AaspError, match=f"{next(iter(setting))} was"):
            pipeline(fewer, data_changed=True, **setting).restore(state)


def test_files_are_identified_by_their_relative_paths(manifest: Manifest) -> None:
    state = pipeline(manifest).state()
    paths = manifest.table["path"].to_pylist()

    def renamed(names: list[str]) -> CropPipeline:
        table = manifest.table.set_column(0, "path", [names])
        return pipeline(Manifest(table, manifest.source))

    renamed([f"/elsewhere/{Path(path).name}" for path in paths]).restore(state)
    with pytest.raises(AaspError, match="names or order of its files differ"):
        renamed([*paths[:-1], paths[-1] + "x"]).restore(state)
    with pytest.raises(AaspError, match="names or order of its files differ"):
        renamed(paths[::-1]).restore(state)
    state["made_with"].pop("listing")  # a position from before names were recorded
    renamed(paths[::-1]).restore(state)


@pytest.mark.slow
def test_shards_are_disjoint_and_make_up_the_whole(manifest: Manifest) -> None:
    whole = take(pipeline(manifest, batch=6), 11)
    shards = [take(pipeline(manifest, batch=2, shard=(rank, 3)), 11) for rank in range(3)]
    for step, batch in enumerate(whole):
        for rank, shard in enumerate(shards):
            assert torch.equal(batch["wave"][rank::3], shard[step]["wave"])
    seen = Counter(file for shard in shards for file in files_of(shard))
    assert set(seen.values()) == {6}  # 66 crops are six epochs of eleven files


@pytest.mark.parametrize("then", [1, 3])
def test_another_number_of_processes_continues_with_the_same_crops(manifest: Manifest, then: int) -> None:
    whole = [crop for batch in take(pipeline(manifest, batch=1), 36) for crop in batch["wave"]]
    two = [pipeline(manifest, batch=3, shard=(rank, 2)) for rank in range(2)]
    seen = [crop for shard in two for batch in take(shard, 2) for crop in batch["wave"]]
    states = json.loads(json.dumps([shard.state() for shard in two]))
    others = [pipeline(manifest, batch=6 // then, shard=(rank, then), cache=True) for rank in range(then)]
    for shard in others:
        shard.rejoin(states)
    steps = [take(shard, 2) for shard in others]
    again = pipeline(manifest, batch=6 // then, shard=(0, then), cache=True)
    again.restore(json.loads(json.dumps(others[0].state())))
    assert same(take(again, 2), take(others[0], 2)), "the new number's own position is exact"
    seen += [crop for step in range(2) for shard in steps for crop in shard[step]["wave"]]
    where = lambda crop: round(float(crop[0]) * 32768)
    assert sorted(map(where, seen)) == sorted(where(crop) for crop in whole[:24])
    two[0].restore(states[0])
    with pytest.raises(AaspError, match=r"data of another run: .* seed was 5 and is 6"):
        pipeline(manifest, seed=6).rejoin(states)


def test_each_clip_comes_once_although_processes_pass_over_bad_ones(manifest: Manifest) -> None:
    paths = [Path(path) for path in manifest.paths]
    for bad in (2, 5):
        paths[bad].unlink()
    two = [pipeline(manifest, batch=2, shard=(rank, 2)) for rank in range(2)]
    seen = files_of([batch for shard in two for batch in take(shard, 3)])
    alone = pipeline(manifest, batch=1)
    alone.rejoin([shard.state() for shard in two])
    seen += files_of(take(alone, 4 * (FILES - 2) - len(seen)))
    assert Counter(seen) == {file: 4 for file in range(FILES) if file not in (2, 5)}


def test_files_that_fail_are_passed_over_and_listed(manifest: Manifest) -> None:
    paths = [Path(path) for path in manifest.paths]
    expected = take(pipeline(manifest, batch=1), 3 * FILES)
    paths[3].write_bytes(b"no longer a sound")
    paths[7].unlink()
    crops = pipeline(manifest, batch=1)
    got = take(crops, 3 * (FILES - 2))
    left = [batch for batch, file in zip(expected, files_of(expected), strict=True) if file not in (3, 7)]
    assert same(got, left)
    take(crops, FILES)
    assert [file.path for file in crops.skipped] == [str(paths[3]), str(paths[7])]
    assert "not audio" in crops.skipped[0].reason
    assert crops.skipped[1].reason == "no such file"


@pytest.mark.slow
def test_a_restored_pipeline_passes_over_the_same_files(manifest: Manifest) -> None:
    for file in (0, 4, 9):
        Path(manifest.paths[file]).write_bytes(b"no longer a sound")
    first = pipeline(manifest)
    take(first, 5)
    second = pipeline(manifest)
    second.restore(first.state())
    assert same(take(second, 7), take(first, 7))


def test_a_wrong_duration_in_the_index_is_an_error_of_that_file(manifest: Manifest) -> None:
    seconds = manifest.seconds.copy()
    seconds[2] = 1e6
    wrong = Manifest(manifest.table.set_column(1, "seconds", [seconds]), manifest.source)
    crops = pipeline(wrong)
    assert 2 not in files_of(take(crops, 2 * FILES))
    assert [Path(file.path).name for file in crops.skipped] == ["02.flac"]
    assert "outside its 0.4 s" in crops.skipped[0].reason


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_left_to_decode_is_the_end(manifest: Manifest, workers: int) -> None:
    crops = pipeline(manifest, workers=workers)
    take(crops, 5)
    for path in manifest.paths:
        Path(path).unlink()
    with pytest.raises(AaspError, match=r"no file can be decoded any more.*11 failed.*no such file") as caught:
        take(crops, 100)
    assert "\n" not in str(caught.value)
    assert len(crops.skipped) == FILES


def test_a_folder_that_vanishes_ends_it_though_others_are_there(manifest: Manifest, tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    moved = Path(manifest.paths[0]).rename(folder / "00.flac")
    (tmp_path / "index.csv").write_text("\n".join(["path", str(moved), *manifest.paths[1:4]]) + "\n")
    crops = pipeline(Manifest.open(tmp_path / "index.csv")[0])
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(AaspError, match=f"folder of the data is gone: {folder}; bring it back"):
        take(crops, 5)


@pytest.mark.slow
def test_one_good_file_among_many_is_enough(manifest: Manifest) -> None:
    for path in manifest.paths[1:]:
        Path(path).unlink()
    assert set(files_of(take(pipeline(manifest), 4))) == {0}


@pytest.mark.parametrize(
    "wrong", [{"seconds": 0.01}, {"batch": 0}, {"seed": -1}, {"workers": -1}, {"shard": (2, 2)}, {"shard": (-1, 2)}]
)
def test_settings_out_of_range(manifest: Manifest, wrong: dict[str, Any]) -> None:
    with pytest.raises(AaspError, match="no such pipeline"):
        pipeline(manifest, **wrong)


def test_stereo_at_another_rate(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (44_100, 2))
    soundfile.write(tmp_path / "a.opus", noise[:, :1], 48_000, format="OGG", subtype="OPUS")
    soundfile.write(tmp_path / "b.wav", noise, 44_100)
    crops = CropPipeline(Manifest.open(tmp_path)[0], seconds=0.3, batch=8, seed=0)
    assert next(crops)["length"].tolist() == [4800] * 8
    assert crops.skipped == []


class Sounds:
    """Any sounds as a pipeline draws from them."""

    source = "sounds"

    def __init__(self, sounds: list[Sound]) -> None:
        self.sounds, self.seconds = sounds, np.array([duration(sound) for sound in sounds])

    def __len__(self) -> int:
        return len(self.sounds)

    def sound(self, row: int) -> Sound:
        return self.sounds[row]


def test_a_target_goes_with_its_clip(manifest: Manifest) -> None:
    crops = pipeline(manifest, target=lambda row: np.array([row, 1.0, 0.5]))
    for batch in take(crops, 5):
        assert batch["target"].dtype == torch.float32
        assert batch["target"].tolist() == [[file, 1.0, 0.5] for file in files_of([batch])]


def test_a_weighted_epoch_draws_without_replacement_and_favours_the_heavy(manifest: Manifest) -> None:
    weights = np.where(np.arange(FILES) < 3, 10.0, 1.0)
    weights[10] = 0.0
    files = files_of(take(pipeline(manifest, batch=4, cache=True, weighted=(weights, 4)), 300))
    epochs = [files[n : n + 4] for n in range(0, len(files), 4)]
    assert all(len(set(epoch)) == 4 for epoch in epochs)
    assert len({tuple(sorted(epoch)) for epoch in epochs}) > 20
    counts = Counter(files)
    assert counts[10] == 0, "without a weight it is never drawn"
    assert set(counts) == set(range(10)), "the light ones are rare, not gone"
    assert min(counts[file] for file in range(3)) > 2 * max(counts[file] for file in range(3, 10))


def test_a_whole_weighted_epoch_begins_with_the_heavy(manifest: Manifest) -> None:
    weights = np.where(np.arange(FILES) < 3, 1e6, 1.0)
    files = files_of(take(pipeline(manifest, batch=FILES, weighted=(weights, FILES)), 5))
    for n in range(0, len(files), FILES):
        assert sorted(files[n : n + FILES]) == list(range(FILES))
        assert set(files[n : n + 3]) == {0, 1, 2}


def test_with_replacement_the_heavy_are_drawn_as_often_as_they_weigh(manifest: Manifest) -> None:
    weights = np.where(np.arange(FILES) < 3, 10.0, 1.0)
    weights[[0, -1]] = 0.0
    made = lambda: pipeline(manifest, batch=FILES, cache=True, weighted=(weights, FILES), replacement=True)
    counts = Counter(files_of(take(made(), 300)))
    assert counts[0] == counts[FILES - 1] == 0
    shares = np.array([counts[file] for file in range(FILES)]) / (300 * FILES)
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.03)
    without = pipeline(manifest, batch=FILES, cache=True, weighted=(np.ones(FILES), FILES))
    take(without, 2)
    with pytest.raises(AaspError, match="replacement was None and is True"):
        made().restore(without.state())


def test_a_clip_that_the_front_end_cannot_read_is_skipped_and_named(manifest: Manifest) -> None:
    """The three shortest files, of 0.3 to 0.4 s, are shorter than an analysis window of 0.42 s."""
    crops = pipeline(manifest, batch=FILES - 3, seconds=0.5, shortest=0.42)
    files = files_of(take(crops, 5))
    assert set(files) == set(range(3, FILES))
    assert [Path(clip.path).stem for clip in crops.skipped] == ["00", "01", "02"]
    assert "too short: " in crops.skipped[0].reason and "analysis window of 420 ms" in crops.skipped[0].reason


@pytest.mark.parametrize("taken", [0, 1, 2, 7])
def test_a_weighted_pipeline_restored_continues_bit_for_bit(manifest: Manifest, taken: int) -> None:
    weighted = (np.arange(1.0, FILES + 1), 6)  # batches of 4 of epochs of 6: every other one lies across a border
    first = pipeline(manifest, weighted=weighted)
    take(first, taken)
    state = json.loads(json.dumps(first.state()))
    expected = take(first, 7)
    second = pipeline(manifest, workers=0, weighted=weighted)
    second.restore(state)
    assert same(take(second, 7), expected)
    other = pipeline(manifest, weighted=(weighted[0], 7))
    with pytest.raises(AaspError, match="weighted was 6 and is 7"):
        other.restore(state)


@pytest.mark.parametrize("clips", [0, FILES])
def test_a_weighted_epoch_larger_than_the_drawable_files(manifest: Manifest, clips: int) -> None:
    weights = np.ones(FILES)
    weights[0] = 0
    with pytest.raises(AaspError, match=f"an epoch of {clips} clips of {FILES - 1}"):
        pipeline(manifest, weighted=(weights, clips))


@pytest.mark.parametrize("cache", [False, True])
def test_excerpts_and_mixtures_are_clips_too(manifest: Manifest, cache: bool) -> None:
    first, second, third = (str(path) for path in manifest.paths[:3])
    sounds: list[Sound] = [
        Excerpt(second, start=0.1, seconds=0.2),
        Mixture((Ingredient(first), Ingredient(third))),
        third,
    ]
    crops = CropPipeline(Sounds(sounds), seconds=0.5, batch=3, seed=0, rate=RATE, cache=cache)
    batch = next(crops)
    waves = {int(length): wave for wave, length in zip(batch["wave"], batch["length"], strict=True)}
    assert set(waves) == {1600, 3200} and crops.skipped == []
    excerpt = 32768 * waves[1600].numpy()
    np.testing.assert_allclose(excerpt[:1600], 1000 + np.arange(800, 2400) // 10)
    files = [np.arange(round((0.3 + 0.05 * f) * RATE)) // 10 + 1000.0 * f for f in (0, 2)]
    files[1][: len(files[0])] += files[0]
    whole = [row for row, length in zip(batch["wave"], batch["length"], strict=True) if length == 3200]
    assert any(np.allclose(32768 * row[:3200].numpy(), files[1]) for row in whole), "the mixture is the sum"


def test_an_excerpt_beyond_its_file_is_passed_over_by_name(manifest: Manifest) -> None:
    beyond = Excerpt(str(manifest.paths[0]), start=5.0, seconds=0.3)
    crops = CropPipeline(Sounds([beyond, str(manifest.paths[1])]), seconds=0.3, batch=2, seed=0, rate=RATE)
    assert set(files_of(take(crops, 3))) == {1}
    assert [file.reason for file in crops.skipped] == ["window at 5 s is outside its 0.3 s"]
    assert describe(beyond).startswith(crops.skipped[0].path)


def test_importing_it_is_silent() -> None:
    code = "import aasp.datasets.pipeline"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def packed_set(kind: str, folder: Path, manifest: Manifest) -> Manifest:
    """The eleven files as tar shards, some a shard, or as Parquet of groups of four."""
    if kind == "files":
        return manifest
    if kind == "shards":
        write_shards(manifest, [], folder / "shards", ShardSettings(), workers=1)
        return Manifest.open(folder / "shards")[0]
    rows = [{"audio": {"bytes": Path(path).read_bytes(), "path": Path(path).name}} for path in manifest.paths]
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet", row_group_size=4)
    return Manifest.open(folder / "a.parquet")[0]


GRID = [(world, workers) for world in (1, 2, 3) for workers in (0, 1, 2)]


@pytest.mark.parametrize(
    ("kind", "grid"),
    [
        ("shards", [(1, 0), (2, 1), (3, 2)]),
        *(pytest.param(kind, GRID, marks=pytest.mark.slow) for kind in ("files", "shards", "parquet")),
    ],
)
def test_an_epoch_over_processes_and_threads_has_each_row_once(
    kind: str, grid: list[tuple[int, int]], tmp_path: Path, manifest: Manifest
) -> None:
    (tmp_path / "packed").mkdir()
    clips = packed_set(kind, tmp_path / "packed", manifest)
    first: list[int] = []
    for world, workers in grid:
        share = lambda rank, world=world, workers=workers: pipeline(
            clips, batch=1, workers=workers, shard=(rank, world)
        )
        each = [files_of(take(share(rank), FILES)) for rank in range(world)]
        order = [file for step in zip(*each, strict=True) for file in step]
        epochs = [order[begin : begin + FILES] for begin in range(0, len(order), FILES)]
        assert len(epochs) == world and all(sorted(epoch) == list(range(FILES)) for epoch in epochs)
        first = first or epochs[0]
        assert epochs[0] == first and first not in epochs[1:], "one order, whoever reads it; another each epoch"
    assert files_of(take(pipeline(clips, batch=1, seed=6), FILES)) != first


@pytest.mark.parametrize("kind", ["shards", "parquet"])
def test_packed_sounds_give_the_same_crops_and_resume_in_the_middle(
    kind: str, tmp_path: Path, manifest: Manifest
) -> None:
    (tmp_path / "packed").mkdir()
    clips = packed_set(kind, tmp_path / "packed", manifest)
    whole = take(pipeline(manifest), 9)
    assert same(take(pipeline(clips), 9), whole)
    first = pipeline(clips)
    take(first, 4)
    rest = pipeline(Manifest.open(clips.source)[0], workers=0)
    rest.restore(json.loads(json.dumps(first.state())))
    assert same(take(rest, 5), whole[4:])
