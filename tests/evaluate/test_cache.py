"""Kept embeddings: found again without the encoder, missed when what they depend on changes, fixed when damaged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.audio.sounds import Excerpt, Ingredient, Mixture, Samples, read_sound
from aasp.datasets.index import Skipped
from aasp.errors import AaspError
from aasp.evaluate import cache
from aasp.evaluate.cache import kept_features, kept_vectors
from aasp.evaluate.features import clip_features
from aasp.features.logmel import LogMelConfig
from aasp.files import cache_folder
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig, load
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig
from aasp.weights import model_hash

KEYS = [(1, "mean"), (2, "mean+std")]


class Counting(AudioEncoder):
    """Counts the clips that it embeds."""

    clips = 0

    def forward(self, wave_BS: torch.Tensor, *args: object, **options: object) -> object:
        self.clips += len(wave_BS)
        return super().forward(wave_BS, *args, **options)


def made(seed: int = 0, **fields: object) -> Counting:
    torch.manual_seed(seed)
    shape = EncoderConfig(width=16, depth=2, heads=2)
    return Counting(AudioEncoderConfig(stem=ConvConfig(), encoder=shape, **fields)).eval()


@pytest.fixture
def sounds(tmp_path: Path) -> list:
    """Four files, a part of one and a mixture of two."""
    rng, folder = np.random.default_rng(0), tmp_path / "sounds"
    folder.mkdir()
    paths = [str(folder / f"{i}.wav") for i in range(4)]
    for i, path in enumerate(paths):
        soundfile.write(path, 0.1 * rng.standard_normal(4000 + 800 * i), 16_000)
    return [*paths, Excerpt(paths[0], 0.05, 0.1), Mixture((Ingredient(paths[1]), Ingredient(paths[2], -6.0, 0.05)))]


def shards(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_a_second_run_does_not_call_the_encoder(sounds: list, tmp_path: Path) -> None:
    first, second = made(), made()
    seen: list[tuple[int, int]] = []
    one = kept_features(first, sounds, KEYS, tmp_path / "cache")
    two = kept_features(second, sounds, KEYS, tmp_path / "cache", progress=lambda *now: seen.append(now))
    assert (first.clips, one.reused) == (6, 0) and (second.clips, two.reused) == (0, 6)
    assert seen[-1] == (6, 6)
    expected = clip_features(made(), sounds, KEYS)
    for key in KEYS:
        np.testing.assert_allclose(one.features[key], expected[key], atol=1e-5)
        np.testing.assert_array_equal(two.features[key], one.features[key])
    assert list(two.features) == list(one.features) == KEYS


def test_vectors_come_in_the_order_of_their_keys_whatever_was_cached(sounds: list, tmp_path: Path) -> None:
    kept_features(made(), sounds, KEYS[-1:], tmp_path / "cache")
    for _ in range(2):  # computed in part, then read
        assert list(kept_features(made(), sounds, KEYS, tmp_path / "cache").features) == KEYS
    assert list(kept_features(made(), sounds, KEYS[::-1], tmp_path / "cache").features) == KEYS[::-1]


def test_order_and_names_of_the_files_do_not_matter(sounds: list, tmp_path: Path) -> None:
    one = kept_features(made(), sounds[:4], KEYS, tmp_path / "cache").features
    renamed = [shutil.copy(path, tmp_path / f"copy {i}.wav") for i, path in enumerate(sounds[:4])]
    encoder = made()
    two = kept_features(encoder, [str(renamed[i]) for i in (2, 0, 3)], KEYS, tmp_path / "cache").features
    assert encoder.clips == 0
    np.testing.assert_array_equal(two[KEYS[0]], one[KEYS[0]][[2, 0, 3]])


@pytest.mark.parametrize(
    ("change", "clips"),
    [("weights", 6), ("front end", 6), ("layer", 6), ("pooling", 6), ("file", 2), ("cut", 1), ("gain", 1), ("less", 0)],
)
def test_changed_models_and_files_are_embedded_again(change: str, clips: int, sounds: list, tmp_path: Path) -> None:
    kept_features(made(), sounds, KEYS, tmp_path / "cache")
    encoder, keys = made(), KEYS
    if change == "weights":
        encoder = made(seed=1)
    elif change == "front end":
        encoder = made(frontend=LogMelConfig(mean=-5.0))
    elif change == "layer":
        keys = [(0, "mean"), *KEYS]
    elif change == "pooling":
        keys = [(1, "flat")]
    elif change == "file":  # used alone and in the mixture, of the same size and time
        status = os.stat(sounds[1])
        soundfile.write(sounds[1], 0.1 * np.random.default_rng(9).standard_normal(4800), 16_000)
        os.utime(sounds[1], ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "cut":
        sounds[4] = Excerpt(sounds[0], 0.05, 0.12)
    elif change == "gain":
        sounds[5] = Mixture((Ingredient(sounds[1]), Ingredient(sounds[2], -5.0, 0.05)))
    else:
        sounds = sounds[1:3]
    found = kept_features(encoder, sounds, keys, tmp_path / "cache").features
    assert encoder.clips == clips
    expected = clip_features(encoder, sounds, keys)
    for key in keys:
        np.testing.assert_allclose(found[key], expected[key], atol=1e-5)


@pytest.mark.parametrize("harm", ["cut short", "one bit"])
def test_a_damaged_file_is_reported_and_its_clips_embedded_again(harm: str, sounds: list, tmp_path: Path) -> None:
    one = kept_features(made(), sounds, KEYS, tmp_path / "cache")
    (file,) = shards(tmp_path / "cache")
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content[: len(content) // 2] if harm == "cut short" else content)
    encoder = made()
    two = kept_features(encoder, sounds, KEYS, tmp_path / "cache")
    assert two.damaged == [str(file)] and encoder.clips == 6
    np.testing.assert_array_equal(two.features[KEYS[0]], one.features[KEYS[0]])
    assert kept_features(made(), sounds, KEYS, tmp_path / "cache").reused == 6


def test_a_run_that_stops_keeps_what_it_had_written(
    sounds: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "SHARD_CLIPS", 1)
    monkeypatch.setattr(cache, "batches", lambda *a, **k: two_batches(*a, **k))
    with pytest.raises(KeyboardInterrupt):
        kept_features(made(), sounds[:4], KEYS, tmp_path / "cache")
    monkeypatch.undo()
    encoder = made()
    kept_features(encoder, sounds[:4], KEYS, tmp_path / "cache")
    assert encoder.clips == 2
    assert not [path for path in tmp_path.rglob("*.tmp*")]


def two_batches(encoder: AudioEncoder, some: list, *rest: object, **options: object) -> Iterator:
    from aasp.evaluate.features import batches

    yield from batches(encoder, some[:2], *rest, **options)
    raise KeyboardInterrupt


def test_sounds_that_cannot_be_used_are_named_each_time_and_never_kept(sounds: list, tmp_path: Path) -> None:
    bad = [str(tmp_path / "missing.wav"), str(tmp_path / "empty.wav")]
    Path(bad[1]).touch()
    for embedded in (4, 0):
        skipped: list[Skipped] = []
        encoder = made()
        found = kept_features(encoder, [*bad, *sounds[:4]], KEYS, tmp_path / "cache", skipped=skipped)
        assert encoder.clips == embedded and {file.path for file in skipped} == set(bad)
        assert np.isnan(found.features[KEYS[0]][:2]).all() and np.isfinite(found.features[KEYS[0]][2:]).all()
    with pytest.raises(AaspError, match="all 2 skipped, the first"):
        kept_features(made(), bad, KEYS, tmp_path / "cache", skipped=[])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(sounds: list, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o555)
    with pytest.raises(AaspError, match=r"^cache: .*read-only.*--no-cache"):
        kept_features(made(), sounds, KEYS, tmp_path / "cache")


def test_a_file_in_the_place_of_the_folder(sounds: list, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(AaspError, match=r"^cache: .*below a file.*--no-cache"):
        kept_features(made(), sounds, KEYS, tmp_path / "cache")


def test_the_folder_is_the_users_unless_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AASP_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("AASP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "aasp"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "aasp"


def test_a_model_is_known_by_its_configuration_and_weights(tmp_path: Path) -> None:
    one = made()
    one.save(tmp_path / "model")
    assert model_hash(one) == model_hash(load(tmp_path / "model")) == model_hash(made())
    assert len({model_hash(made()), model_hash(made(seed=1)), model_hash(made(window_seconds=2.0))}) == 3
    with torch.no_grad():
        next(one.parameters()).view(-1)[0] += 1e-6
    assert model_hash(one) != model_hash(made())


def test_other_vectors_are_cached_by_the_name_of_their_source(sounds: list, tmp_path: Path) -> None:
    """Not only an encoder's: computed for sounds without vectors, found again, but not by another name."""
    calls: list[list] = []

    def lengths(some: list, show: object) -> Iterator[tuple[list[int], dict]]:
        calls.append(list(some))
        for row in reversed(range(len(some))):
            yield [row], {("samples", "count"): np.array([[len(read_sound(some[row]))]], np.float32)}

    keep = lambda name, some: kept_vectors(name, some, [("samples", "count")], tmp_path / "cache", lengths)
    keep("lengths", sounds[:2])
    found = keep("lengths", sounds)
    expected = [[len(read_sound(sound))] for sound in sounds]
    assert found.features["samples", "count"].tolist() == expected and found.reused == 2
    assert calls == [sounds[:2], sounds[2:]]
    assert keep("lengths", sounds[::-1]).features["samples", "count"].tolist() == expected[::-1]
    assert keep("other", sounds).reused == 0


def test_waveforms_in_memory_are_not_kept(tmp_path: Path) -> None:
    encoder, rng = made(), np.random.default_rng(0)
    for _ in range(2):
        some = [Samples(f"array {k}", rng.standard_normal(8_000).astype(np.float32) / 10, 16_000) for k in range(2)]
        kept = kept_features(encoder, some, KEYS, tmp_path)
        assert kept.reused == 0
        np.testing.assert_allclose(kept.features[KEYS[0]], clip_features(encoder, some, KEYS)[KEYS[0]], atol=1e-5)
