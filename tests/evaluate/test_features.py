"""Embeddings of files: in the order given, each the same as alone, all layers and poolings equal to the encoder's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.audio.io import AudioError, read
from aasp.datasets.index import Skipped
from aasp.errors import AaspError
from aasp.evaluate import prefetch
from aasp.evaluate.features import Running, clip_features, clip_keys, embedded, timestamps
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.model.pooling import POOLINGS, pool
from aasp.stems.conv import ConvConfig

SECONDS = (1.1, 0.3, 2.6, 0.7, 0.3, 0.025)


@pytest.fixture(scope="module")
def encoder() -> AudioEncoder:
    torch.manual_seed(0)
    config = AudioEncoderConfig(
        stem=ConvConfig(), encoder=EncoderConfig(width=16, depth=2, heads=2), window_seconds=1.28
    )
    return AudioEncoder(config).eval()


def test_every_layer_and_pooling_equals_the_encoder_on_one_file(encoder: AudioEncoder, paths: list[str]) -> None:
    found = clip_features(encoder, paths)
    assert found.keys() == {(layer, name) for layer in range(3) for name in POOLINGS} - {(0, "cls")}
    for row, path in enumerate(paths):
        with torch.no_grad():
            alone = encoder(torch.from_numpy(read(path))[None], layers=True)
        stages = [*alone.layers[:2], (alone.tokens, alone.cls)]
        for (layer, name), X in found.items():
            expected = pool(*stages[layer], encoder.stem.subbands, alone.valid, name)[0]
            np.testing.assert_allclose(X[row], expected, atol=1e-5)


def test_the_order_and_the_batch_do_not_matter(encoder: AudioEncoder, paths: list[str]) -> None:
    order = [3, 0, 5, 1, 4, 2]
    ask = {"keys": [(2, "mean+std")]}
    one = clip_features(encoder, paths, **ask)
    two = clip_features(encoder, [paths[i] for i in order], running=Running(batch=2), **ask)
    assert one.keys() == two.keys() == {(2, "mean+std")}
    np.testing.assert_allclose(one[2, "mean+std"][order], two[2, "mean+std"], atol=1e-5)
    np.testing.assert_array_equal(one[2, "mean+std"], clip_features(encoder, paths, **ask)[2, "mean+std"])


@pytest.mark.parametrize("count", [1, 25, 400])
def test_batches_hold_every_sound_once_and_little_padding(count: int) -> None:
    window = 10.24
    seconds = 0.5 * 60 ** np.random.default_rng(0).random(count)
    order = sorted(zip(seconds.tolist(), range(count), strict=True))
    groups = list(prefetch.grouped(order, 16, window))
    assert [row for rows in groups for row in rows] == [row for _, row in order]
    for rows in groups:
        read = np.minimum(seconds[rows], window)
        assert len(rows) <= 16 and (len(rows) == 1 or len(rows) * seconds[rows].max() <= 16 * window)
        assert 1 - read.mean() / read.max() <= prefetch.PADDING


def test_sounds_of_one_length_make_full_batches() -> None:
    assert list(map(len, prefetch.grouped([(10.0, row) for row in range(40)], 16, 10.24))) == [16, 16, 8]
    assert list(map(len, prefetch.grouped([(40.0, row) for row in range(9)], 16, 10.24))) == [4, 4, 1]


def test_a_training_encoder_is_evaluated_and_left_training(paths: list[str]) -> None:
    config = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=16, depth=2, heads=2, drop_path=0.9))
    encoder = AudioEncoder(config).train()
    ask = {"keys": [(2, "mean")]}
    one, two = (clip_features(encoder, paths, **ask)[2, "mean"] for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert encoder.training


def test_timestamps_of_a_clip_end_with_the_clip(encoder: AudioEncoder, paths: list[str]) -> None:
    found = {
        row: one
        for rows, batch in embedded(encoder, paths)
        for row, one in zip(rows, timestamps(batch, [SECONDS[row] for row in rows]), strict=True)
    }
    for row, path in enumerate(paths):
        with torch.no_grad():
            alone = encoder(torch.from_numpy(read(path))[None])
        np.testing.assert_allclose(found[row].vectors, alone.timestamps[0], atol=1e-5)
        np.testing.assert_allclose(found[row].seconds, alone.seconds.clamp(max=SECONDS[row]))
        assert alone.seconds[-1] - SECONDS[row] < 0.08, "the model's own: less than half a patch beyond"
    assert found[5].seconds.tolist() == [0.025] and found[1].seconds.tolist() == pytest.approx([0.08, 0.24])


def bad(folder: Path) -> list[str]:
    (folder / "empty.wav").touch()
    soundfile.write(folder / "short.wav", np.zeros(100), 16_000)
    soundfile.write(folder / "nan.wav", np.full(8000, np.nan, np.float32), 16_000, subtype="FLOAT")
    return [str(folder / name) for name in ("empty.wav", "short.wav", "nan.wav", "missing.wav")]


def test_bad_files_are_listed_and_their_rows_are_nan(encoder: AudioEncoder, paths: list[str], tmp_path: Path) -> None:
    skipped: list[Skipped] = []
    mixed = [x for pair in zip(bad(tmp_path), paths, strict=False) for x in pair]
    seen: list[tuple[int, int]] = []
    ask = {"keys": [(2, "mean")]}
    found = clip_features(encoder, mixed, skipped=skipped, progress=lambda *now: seen.append(now), **ask)[2, "mean"]
    assert {file.path for file in skipped} == set(mixed[::2]) and all(file.reason for file in skipped)
    assert np.isnan(found[::2]).all()
    np.testing.assert_allclose(found[1::2], clip_features(encoder, paths[:4], **ask)[2, "mean"], atol=1e-5)
    assert seen[-1] == (8, 8)


@pytest.mark.parametrize("which", range(4))
def test_without_a_list_the_first_bad_file_raises(
    which: int, encoder: AudioEncoder, paths: list[str], tmp_path: Path
) -> None:
    name = bad(tmp_path)[which]
    with pytest.raises(AudioError) as error:
        clip_features(encoder, [*paths, name])
    assert error.value.path == name


def test_a_file_of_another_scale_is_named(encoder: AudioEncoder, paths: list[str], tmp_path: Path) -> None:
    loud = tmp_path / "loud.wav"
    soundfile.write(loud, 3_000 * np.sin(np.arange(8_000)), 16_000, subtype="FLOAT")
    with pytest.raises(
        AudioError, match=r"loud.wav: samples reach 2999.98, which is not a waveform in -1 to 1"
    ) as error:
        clip_features(encoder, [*paths, str(loud)])
    assert error.value.path == str(loud)
    skipped: list[Skipped] = []
    found = clip_features(encoder, [*paths, str(loud)], keys=[(2, "mean")], skipped=skipped)[2, "mean"]
    assert (
        [file.path for file in skipped] == [str(loud)] and np.isnan(found[-1]).all() and np.isfinite(found[:-1]).all()
    )


def test_nothing_but_bad_files(encoder: AudioEncoder, tmp_path: Path) -> None:
    with pytest.raises(AaspError, match="all 4 skipped, the first"):
        clip_features(encoder, bad(tmp_path), skipped=[])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"poolings": ["max"]}, "no such pooling: max"),
        ({"layers": [3]}, "no such layer: 3; this encoder has 0 to 2"),
        ({"poolings": ["cls"], "layers": [0]}, "class token of layer 0"),
    ],
)
def test_unknown_layers_and_poolings_are_refused(ask: dict, message: str, encoder: AudioEncoder) -> None:
    with pytest.raises(AaspError, match=message):
        clip_keys(encoder, **ask)
