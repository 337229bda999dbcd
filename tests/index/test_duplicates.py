"""Copies of a recording are found however they were made, other sounds are not; leaks into a test set are reported."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from aasp.audio.io import read
from aasp.cli.main import main
from aasp.index import Index, same_recording
from aasp.index.duplicates import duplicates

Run = Callable[..., str]
Write = Callable[..., None]
RATE = 16_000


def note(hertz: float, seed: int) -> np.ndarray:
    """A plucked string of 1.5 s: eight harmonics that die away, and the noise of the plectrum."""
    rng, t = np.random.default_rng(seed), np.arange(24_000) / RATE
    wave = sum(np.sin(2 * np.pi * k * hertz * t + rng.uniform(0, 6)) * np.exp(-k * t) / k for k in range(1, 9))
    return 0.2 * wave + 0.05 * rng.standard_normal(len(t)) * np.exp(-20 * t) + 1e-3 * rng.standard_normal(len(t))


def written(path: Path, wave: np.ndarray, rate: int = RATE) -> np.ndarray:
    soundfile.write(path, wave, rate)
    return read(str(path))


@pytest.mark.parametrize("kind", ["mp3", "ogg", "gain", "trimmed", "cut", "resampled", "inverted"])
@pytest.mark.parametrize("sound", ["note", "noise"])
def test_a_changed_copy_is_the_same_recording(sound: str, kind: str, tmp_path: Path) -> None:
    wave = note(220, 0) if sound == "note" else 0.1 * np.random.default_rng(0).standard_normal(24_000)
    later = {"trimmed": -0.5}.get(kind, 0.0)
    changed = {
        "mp3": lambda: written(tmp_path / "a.mp3", wave),
        "ogg": lambda: written(tmp_path / "a.ogg", wave),
        "gain": lambda: 0.01 * wave,
        "trimmed": lambda: wave[8000:],
        "cut": lambda: wave[:-8000],
        "resampled": lambda: written(tmp_path / "a.wav", soxr.resample(wave, RATE, 22_050), 22_050),
        "inverted": lambda: -wave,
    }[kind]()
    found, lag = same_recording.correlation(same_recording.whitened(wave), same_recording.whitened(changed))
    assert found > same_recording.SAME and lag == pytest.approx(later, abs=0.002)
    back, lag = same_recording.correlation(same_recording.whitened(changed), same_recording.whitened(wave))
    assert back == pytest.approx(found, abs=1e-4) and lag == pytest.approx(-later, abs=0.002)


def test_other_notes_and_takes_are_other_recordings() -> None:
    notes = [same_recording.whitened(note(220 * 2 ** (key / 12), key)) for key in (0, 1, 2, 5, 7, 12)]
    notes.append(same_recording.whitened(np.random.default_rng(9).standard_normal(24_000)))
    worst = max(same_recording.correlation(a, b)[0] for number, a in enumerate(notes) for b in notes[:number])
    assert worst < 0.75 * same_recording.SAME


@pytest.mark.parametrize("samples", [64, 160, 4_000])
def test_identical_periodic_sounds_have_no_delay(samples: int) -> None:
    """They are as similar after any number of periods, up to rounding."""
    one = same_recording.whitened(np.tile(np.random.default_rng(0).standard_normal(samples), RATE // samples))
    assert same_recording.correlation(one, one) == (pytest.approx(1, abs=1e-4), 0.0)


def test_correlation_agrees_with_numpy() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal(40).astype(np.float32), rng.standard_normal(30).astype(np.float32)
    best = 0.0, 0
    for lag in range(-39, 30):
        pairs = [(one[t], other[t + lag]) for t in range(40) if 0 <= t + lag < 30]
        if len(pairs) >= 15:
            a, b = np.array(pairs, np.float64).T
            best = max(best, (abs(a @ b) / np.sqrt(a @ a * (b @ b)), lag))
    found = same_recording.correlation(one, other)
    assert found == (pytest.approx(best[0], abs=1e-5), best[1] / RATE)


def test_silence_is_no_recording() -> None:
    silent, loud = np.zeros(4000), np.random.default_rng(0).standard_normal(4000)
    for pair in ((silent, silent), (silent, loud), (loud, silent)):
        assert same_recording.correlation(*map(same_recording.whitened, pair))[0] == 0.0


@pytest.fixture
def split(tmp_path: Path, noise: Write) -> Path:
    """A set whose test part holds a file of its training part, byte by byte, and a re-encoded copy of another."""
    folder = tmp_path / "set"
    folder.mkdir()
    for seed in range(4):
        noise(folder / f"{seed}.wav", seed, 0.8)
    shutil.copy(folder / "0.wav", folder / "copy.wav")
    soundfile.write(folder / "anew.mp3", 0.3 * read(str(folder / "1.wav")), RATE)
    shutil.copy(folder / "2.wav", folder / "again.wav")
    rows = ["0.wav,train", "1.wav,train", "2.wav,train", "again.wav,train", "3.wav,test", "copy.wav,test"]
    (folder / "list.csv").write_text("\n".join(["path,split", *rows, "anew.mp3,test"]) + "\n")
    return folder


def test_a_leak_is_found_and_ends_with_1(split: Path, model: Path, tmp_path: Path, run: Run) -> None:
    run("index", model, split / "list.csv", "--out", tmp_path / "i")
    # At a threshold of 1 the model proposes nothing: what no gain changes does.
    found = json.loads(run("duplicates", tmp_path / "i", "--threshold", "1", "--format", "json", code=1))
    pairs = {(Path(one["path"]).name, Path(one["other_path"]).name): one for one in found}
    assert set(pairs) == {("0.wav", "copy.wav"), ("2.wav", "again.wav"), ("1.wav", "anew.mp3")}
    assert {names: one["same"] for names, one in pairs.items()} == {
        ("0.wav", "copy.wav"): "bytes",
        ("2.wav", "again.wav"): "bytes",
        ("1.wav", "anew.mp3"): "waveform",
    }
    assert (pairs["1.wav", "anew.mp3"]["part"], pairs["1.wav", "anew.mp3"]["other_part"]) == ("train", "test")
    assert pairs["1.wav", "anew.mp3"]["correlation"] > same_recording.SAME
    table = run("duplicates", tmp_path / "i", "--format", "csv", code=1)  # bytes do not need a threshold
    assert {row["other_path"].rsplit("/")[-1] for row in csv.DictReader(io.StringIO(table))} >= {
        "copy.wav",
        "again.wav",
    }


def test_without_parts_or_across_one_part_there_is_no_leak(split: Path, model: Path, tmp_path: Path, run: Run) -> None:
    run("index", model, split, "--out", tmp_path / "i")
    assert "copy.wav" in run("duplicates", tmp_path / "i")
    assert "no column 'part'" in run("duplicates", tmp_path / "i", "--across", "part", code=2)
    assert "a cosine is from -1 to 1" in run("duplicates", tmp_path / "i", "--threshold", "2", code=2)
    for name in ("copy.wav", "again.wav", "anew.mp3"):
        (split / name).unlink()
    run("index", split, "--out", tmp_path / "i")
    assert json.loads(run("duplicates", tmp_path / "i", "--threshold", "-1", "--format", "json")) == []


def test_moments_that_two_recordings_share(model: Path, tmp_path: Path, run: Run) -> None:
    folder, rng = tmp_path / "long", np.random.default_rng(0)
    folder.mkdir()
    fresh = lambda: 0.1 * rng.standard_normal(RATE)
    jingle = fresh()
    soundfile.write(folder / "a.wav", np.concatenate([fresh(), jingle, fresh()]), RATE)
    soundfile.write(folder / "b.wav", np.concatenate([0.9 * jingle, fresh()]), RATE)
    run("index", model, folder, "--out", tmp_path / "i", "--window", "1")
    (found,) = json.loads(run("duplicates", tmp_path / "i", "--threshold", "-1", "--format", "json"))
    assert (found["row"], found["other"], found["later"]) == (1, 3, 0.0)


def test_a_shared_moment_is_found_among_many_that_the_model_finds_more_similar(
    model: Path, tmp_path: Path, run: Run
) -> None:
    folder, rng = tmp_path / "long", np.random.default_rng(0)
    folder.mkdir()
    fresh = lambda: 0.1 * rng.standard_normal((6, RATE))
    one, other = fresh(), fresh()
    other[2] = 0.9 * one[5]
    soundfile.write(folder / "a.wav", one.ravel(), RATE)
    soundfile.write(folder / "b.wav", other.ravel(), RATE)
    run("index", model, folder, "--out", tmp_path / "i", "--window", "1")
    index = Index.open(tmp_path / "i")
    vectors = np.eye(12, index.vectors.shape[1]) + 1  # cosines of other moments are above a half
    vectors[8] = np.where(np.arange(vectors.shape[1]) < 12, -0.1, 1)  # and those of the copy are smaller
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    (found,) = duplicates(dataclasses.replace(index, vectors=unit), -1.0, [])
    assert (found.row, found.other, found.same) == (5, 8, "waveform")
    assert found.similarity < (unit[:6].astype(np.float32) @ unit[[6, 7, 9, 10, 11]].astype(np.float32).T).min()


@pytest.mark.parametrize(("seconds", "cut"), [(25, 10), (60, 10), (40, 14)])
def test_the_delay_of_a_long_file_is_from_its_start(
    seconds: int, cut: int, model: Path, tmp_path: Path, run: Run
) -> None:
    """Of files longer than 30 s the middles are compared, which start at other seconds."""
    folder, wave = tmp_path / "long", 0.1 * np.random.default_rng(0).standard_normal(seconds * RATE)
    folder.mkdir()
    soundfile.write(folder / "a.wav", wave, RATE)
    soundfile.write(folder / "b.wav", wave[cut * RATE :], RATE)
    run("index", model, folder, "--out", tmp_path / "i")
    (found,) = json.loads(run("duplicates", tmp_path / "i", "--threshold", "-1", "--format", "json"))
    assert found["later"] == -cut


def test_unreadable_files_are_named(index: Index, sounds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sounds / "d.wav").unlink()
    assert main(["duplicates", str(index.folder), "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == []
    named, counted, *_ = captured.err.splitlines()
    assert named.startswith(f"skipped {sounds / 'd.wav'}: ")
    assert counted == "1 skipped in all, compared by their bytes alone"
