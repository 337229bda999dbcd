"""Embeddings by a Ray cluster of several nodes: the same file as from one process, whatever node or worker dies."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from aasp.errors import AaspError
from aasp.evaluate import on_ray, prefetch
from aasp.evaluate.features import Running
from aasp.evaluate.on_ray import DIED, OnRay
from aasp.evaluate.stream import Written, stream
from aasp.evaluate.vectors import VectorRequest
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from nodes import two_nodes

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")

pytestmark = pytest.mark.slow
BLOCK, SOUNDS, SPOILT = 4, 24, 9
RUNNING = Running("fp32", 3, 0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    yield from two_nodes(sys.modules[__name__])


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Noise of several lengths; one file is not audio."""
    folder = tmp_path_factory.mktemp("sounds")
    random = np.random.default_rng(0)
    for n in range(SOUNDS):
        wave = 0.1 * random.uniform(-1, 1, 8_000 + 1_000 * (n % 5))
        soundfile.write(folder / f"{n:02}.wav", wave, 16_000)
    (folder / f"{SPOILT:02}.wav").write_bytes(b"RIFF, and nothing else")
    return [str(folder / f"{n:02}.wav") for n in range(SOUNDS)]


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> AudioEncoder:
    monkeypatch.setattr(prefetch, "STRETCH", BLOCK)
    monkeypatch.setattr(on_ray, "STRETCH", BLOCK)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return AudioEncoder(AudioEncoderConfig(encoder=EncoderConfig(width=24, depth=2, heads=2))).eval()


def embedded(encoder: AudioEncoder, sounds: list[str], out: Path, engine: OnRay | None, **more: Any) -> Written:
    wanted = VectorRequest(None, True)
    more = {"named": lambda row: False, **more}
    return stream(encoder, sounds, out, wanted, running=RUNNING, engine=engine, **more)


def dying_of(marker: Path | None, loud: float = 0.0) -> Any:
    """A hook that kills the process that embeds: once, which the marker notes, or whenever a sound is loud."""

    def die(module: Any, given: tuple) -> None:
        if marker is not None and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if loud and float(given[0].max()) > loud:
            os.kill(os.getpid(), signal.SIGKILL)

    return die


def test_the_file_equals_that_of_one_process(
    cluster: Any, encoder: AudioEncoder, sounds: list[str], tmp_path: Path
) -> None:
    one = embedded(encoder, sounds, tmp_path / "one.parquet", None)
    several = embedded(encoder, sounds, tmp_path / "several.parquet", OnRay())
    assert several == one and [Path(file.path).name for file in one.skipped] == ["09.wav"]
    assert pq.read_table(tmp_path / "several.parquet").equals(pq.read_table(tmp_path / "one.parquet"))
    assert not (tmp_path / "several.parquet.part").exists()
    with pytest.raises(AaspError, match=r"09\.wav"):
        embedded(encoder, sounds, tmp_path / "named.parquet", OnRay(), named=lambda row: True)


def test_a_worker_that_is_killed_loses_nothing(
    cluster: Any, encoder: AudioEncoder, sounds: list[str], tmp_path: Path
) -> None:
    embedded(encoder, sounds, tmp_path / "one.parquet", None)
    hook = encoder.register_forward_pre_hook(dying_of(tmp_path / "died"))
    embedded(encoder, sounds, tmp_path / "several.parquet", OnRay())
    hook.remove()
    assert (tmp_path / "died").exists()
    assert pq.read_table(tmp_path / "several.parquet").equals(pq.read_table(tmp_path / "one.parquet"))


def test_a_sound_that_kills_its_worker_is_left_out(
    cluster: Any, encoder: AudioEncoder, sounds: list[str], tmp_path: Path
) -> None:
    bad = str(tmp_path / "bad.wav")
    soundfile.write(bad, 0.9 * np.ones(8_000), 16_000)
    given = [*sounds[:5], bad, *sounds[5:8]]
    embedded(encoder, sounds[:8], tmp_path / "one.parquet", None)
    encoder.register_forward_pre_hook(dying_of(None, loud=0.5))
    found = embedded(encoder, given, tmp_path / "several.parquet", OnRay())
    assert [(Path(file.path).name, file.reason) for file in found.skipped] == [("bad.wav", DIED)]
    one, several = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("one", "several"))
    assert several["path"].equals(one["path"])
    vectors = [np.array(table["embedding"].to_pylist()) for table in (one, several)]
    np.testing.assert_allclose(*vectors, atol=1e-5)


def test_after_a_node_is_lost_a_second_call_finishes(
    cluster: Any, encoder: AudioEncoder, sounds: list[str], tmp_path: Path
) -> None:
    embedded(encoder, sounds, tmp_path / "one.parquet", None)
    out, seen = tmp_path / "several.parquet", []

    def stop(done: int, of: int) -> None:
        seen.append(done)
        if done >= 2 * BLOCK:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedded(encoder, sounds, out, OnRay(), progress=stop)
    assert not out.exists()

    def lose(done: int, of: int) -> None:
        seen.append(done)
        if len(cluster.worker_nodes) and done > 2 * BLOCK:
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    kept = max(seen)
    found = embedded(encoder, sounds, out, OnRay(), progress=lose)
    assert found.before == kept == 2 * BLOCK and not cluster.worker_nodes
    assert pq.read_table(out).equals(pq.read_table(tmp_path / "one.parquet"))
