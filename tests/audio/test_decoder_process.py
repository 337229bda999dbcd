"""Decoding in a separate process: the same samples and errors, and a decoder that hangs or dies costs one file."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.audio import decoder_process, reading
from aasp.audio.io import AudioError, check_decodes, codec, probe, read
from aasp.errors import AaspError

DECODERS = Path(__file__).parents[1] / "faults" / "decoders"


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (8_000, 2))
    for name in ("plain.wav", "good.flac", "hang.flac", "abort.flac", "hungry.flac", "once.flac", "good.mp3"):
        soundfile.write(folder / name, noise, 8_000)
    (folder / "cut.flac").write_bytes((folder / "good.flac").read_bytes()[:4_000])
    return folder


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The processes that are started have decoders that fail by the file's name."""
    decoder_process._pool.end()
    monkeypatch.setenv("PYTHONPATH", str(DECODERS))
    monkeypatch.setattr(decoder_process, "LIMIT_SECONDS", 0.3)
    yield
    decoder_process._pool.end()


def test_only_suspect_formats_are_decoded_in_another_process(sounds: Path) -> None:
    names = ["plain.wav", "good.flac", "good.mp3", "cut.flac"]
    assert [decoder_process.is_suspect(str(sounds / name)) for name in names] == [False, True, True, True]


@pytest.mark.parametrize("name", ["good.flac", "good.mp3"])
@pytest.mark.parametrize("how", [{}, {"start": 0.2, "seconds": 0.3, "channels": "each"}, {"rate": 8_000}])
def test_the_samples_are_those_of_the_same_process(sounds: Path, name: str, how: dict) -> None:
    path = str(sounds / name)
    found, expected = read(path, **how), reading.read(str(path), str(path), **how)
    assert found.dtype == np.float32 and np.array_equal(found, expected) and found.shape == expected.shape
    assert probe(path) == reading.probe(str(path), str(path)) and codec(path) == reading.codec(str(path))
    check_decodes(path, probe(path))


def test_relative_paths_are_of_the_folder_we_are_in(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read(sounds / "good.flac")  # the process that decodes is there, and stays where it is
    monkeypatch.chdir(sounds)
    assert np.array_equal(read("good.flac"), expected)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AudioError, match=r"^good\.flac: no such file"):
        read("good.flac")


def test_the_refusals_are_those_of_the_same_process(sounds: Path) -> None:
    for name, how in (("cut.flac", {}), ("good.flac", {"start": 9.0}), ("good.flac", {"channels": 3})):
        path = str(sounds / name)
        with pytest.raises(AudioError) as here:
            reading.read(str(path), str(path), **how)
        with pytest.raises(AudioError) as there:
            read(path, **how)
        assert (str(there.value), there.value.path, there.value.reason) == (str(here.value), path, here.value.reason)
    with pytest.raises(AaspError, match=r"^no such channels: all") as error:
        read(sounds / "good.flac", channels="all")  # type: ignore[arg-type]
    assert type(error.value) is AaspError


def test_a_decoder_that_hangs_dies_or_wants_all_memory_costs_one_file(sounds: Path, spoilt: None) -> None:
    assert len(read(sounds / "good.flac")) == 16_000
    for name, reason in (
        ("hang", r"its decoder did not end within 0 s"),
        ("abort", r"its decoder crashed, twice"),
        ("hungry", r"decoding it takes more than \d+\.\d GiB of memory"),
    ):
        with pytest.raises(AudioError, match=rf"^{sounds / name}\.flac: {reason}; [a-z]"):
            read(sounds / f"{name}.flac")
        assert len(read(sounds / "good.flac")) == 16_000
    assert len(read(sounds / "once.flac")) == 16_000, "what a process before it did is not held against a file"


def test_a_file_of_no_waveform_is_skipped_by_scan_and_training(tmp_path: Path) -> None:
    from aasp.datasets.manifest import Manifest, scan
    from aasp.datasets.pipeline import CropPipeline

    for name, scale in (("good", 0.5), ("wild", 1e30)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(8_000, scale, np.float32), 16_000, subtype="FLOAT")
    manifest, skipped = scan(tmp_path)
    assert [one.reason for one in skipped] == ["samples reach 1e+30, which is not a waveform in -1 to 1"]
    crops = CropPipeline(Manifest.open(tmp_path)[0], seconds=0.25, batch=1, seed=0, workers=0)
    assert max(float(next(crops)["wave"].max()) for _ in range(3)) == 0.5
    assert [Path(one.path).name for one in crops.skipped] == ["wild.wav"]
    assert len(manifest) == 1


def test_a_killed_idle_process_is_replaced(sounds: Path) -> None:
    read(sounds / "good.flac")
    for process in list(decoder_process._pool.idle):
        os.kill(process._child.pid, signal.SIGTERM)  # a scheduler's signal, meant for the parent
    time.sleep(0.05)
    assert all(process._child.poll() is None for process in decoder_process._pool.idle)
    for process in list(decoder_process._pool.idle):
        os.kill(process._child.pid, signal.SIGKILL)
    assert len(read(sounds / "good.flac")) == 16_000


def test_no_decoder_outlives_its_parent(sounds: Path) -> None:
    import subprocess
    import sys

    script = f"""
from aasp.audio import decoder_process
from aasp.audio.io import read
read({str(sounds / "good.flac")!r})
print(decoder_process._pool.idle[0]._child.pid, flush=True)
import os
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    pid = int(done.stdout)
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.05)
    raise AssertionError("it is still there")


def test_a_fork_has_its_own_processes(sounds: Path) -> None:
    read(sounds / "good.flac")
    ours = decoder_process._pool
    child = os.fork()
    if child == 0:
        os._exit(0 if decoder_process._pool is not ours and not decoder_process._pool.idle else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert decoder_process._pool is ours and ours.idle
