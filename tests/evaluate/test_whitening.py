"""A whitening learned from excerpts: it changes the default vector alone, and says what was skipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.datasets.index import Skipped
from aasp.datasets.manifest import Manifest
from aasp.evaluate.features import clip_features, own_keys
from aasp.evaluate.spectrum import effective_rank
from aasp.evaluate.whitening import MAX_SECONDS, MIN_SECONDS, excerpts, whitened
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

SECONDS = (0.3, 2.0, 3.9, 20.0)


@pytest.fixture(scope="module")
def encoder() -> AudioEncoder:
    torch.manual_seed(0)
    size = EncoderConfig(width=16, depth=2, heads=2)
    parts = ("1:mean+std", "2:mean")
    return AudioEncoder(AudioEncoderConfig(stem=ConvConfig(), encoder=size, window_seconds=0.64, vector=parts)).eval()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder, random = tmp_path_factory.mktemp("noises"), np.random.default_rng(0)
    for seconds in SECONDS:
        wave = 0.1 * random.normal(size=round(16_000 * seconds)) * np.geomspace(0.01, 1, round(16_000 * seconds))
        soundfile.write(folder / f"{seconds}.wav", wave, 16_000)
    return Manifest.open(folder)[0]


def test_excerpts_are_within_their_files_and_long_files_give_several(manifest: Manifest) -> None:
    found = excerpts(manifest, 100)
    assert [Path(one.path).stem for one in found] == ["0.3", "2.0", *["20.0"] * 5, "3.9"]
    for one in found:
        whole = float(Path(one.path).stem)
        assert min(MIN_SECONDS, whole) <= one.seconds <= min(MAX_SECONDS, whole)
        assert one.start >= 0 and one.start + one.seconds <= whole + 1e-9
    assert len({one.start for one in found[2:7]}) == 5
    assert found == excerpts(manifest, 100) != excerpts(manifest, 100, seed=1)
    few = excerpts(manifest, 4)
    assert len(few) == 4 and len({(one.path, one.start) for one in few}) == 4


def test_only_the_default_vector_changes(encoder: AudioEncoder, manifest: Manifest) -> None:
    sounds = excerpts(manifest)
    made = whitened(encoder, sounds, 3)
    assert made.config.whitened == 3 and encoder.config.whitened == 0 and not made.training
    keys = list(encoder.config.keys)
    before, after = clip_features(encoder, sounds, keys), clip_features(made, sounds, [*keys, *own_keys(made)])
    for key in keys:
        np.testing.assert_array_equal(after[key], before[key])
    plain, vectors = np.concatenate([before[key] for key in keys], axis=1), after[own_keys(made)[0]]
    assert vectors.shape == plain.shape
    np.testing.assert_allclose(vectors.mean(0), 0, atol=1e-4)
    assert effective_rank(vectors) > 1.2 * effective_rank(plain)


def test_an_earlier_whitening_is_replaced(encoder: AudioEncoder, manifest: Manifest) -> None:
    sounds = excerpts(manifest)
    assert whitened(whitened(encoder, sounds, 5), sounds, 3).digest == whitened(encoder, sounds, 3).digest


def test_sounds_that_cannot_be_used_are_named_and_not_learned_from(encoder: AudioEncoder, manifest: Manifest) -> None:
    sounds, skipped = excerpts(manifest), list[Skipped]()
    made = whitened(encoder, [*sounds, "gone.wav"], 3, skipped=skipped)
    assert [one.path for one in skipped] == ["gone.wav"]
    assert made.whitening is not None
    expected = dict(whitened(encoder, sounds, 3).whitening.named_buffers())  # type: ignore[union-attr]
    for name, values in made.whitening.named_buffers():
        torch.testing.assert_close(values, expected[name], rtol=0, atol=1e-6)
