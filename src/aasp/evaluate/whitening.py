"""Learning a model's whitening (`aasp.model.whitening`) from excerpts of unlabelled sound. Source: ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from aasp.audio.channels import Channels
from aasp.audio.sounds import Excerpt, Sound, channels_of, files
from aasp.datasets.index import Skipped
from aasp.datasets.manifest import Manifest
from aasp.evaluate.features import PLAIN, Running, clip_features, own_keys
from aasp.evaluate.probe import Progress
from aasp.model.audio_encoder import AudioEncoder

DIRECTIONS, EXCERPTS = 128, 4_000
MIN_SECONDS, MAX_SECONDS = 0.5, 4.0
"""Seconds of an excerpt: clips of several lengths, since deviations over time depend on the length."""


def whitened(
    encoder: AudioEncoder,
    sounds: Sequence[Sound],
    directions: int = DIRECTIONS,
    *,
    running: Running = PLAIN,
    skipped: list[Skipped] | None = None,
    progress: Progress | None = None,
) -> AudioEncoder:
    """The same encoder with a whitening of its default vector; an earlier whitening is replaced.

    Args:
        encoder: the model.
        sounds: example clips, for instance `excerpts` of a data set.
        directions: directions to scale down.
        running, skipped, progress: as in `aasp.evaluate.features.clip_features`.

    Raises:
        AaspError: the vector has no more numbers than `directions`, there are too few clips, or one can't be used.
    """
    weights = plain_weights(encoder)
    plain, out = (AudioEncoder(replace(encoder.config, whitened=count)) for count in (0, directions))
    plain.load_state_dict(weights)
    plain.to(encoder.device).eval()
    keys = own_keys(plain)
    found = clip_features(plain, sounds, keys, running=running, skipped=skipped, progress=progress)
    vectors = np.concatenate([found[key] for key in keys], axis=1)
    out.load_state_dict(weights, strict=False)
    assert out.whitening is not None
    out.whitening.fit(torch.from_numpy(vectors[~np.isnan(vectors).any(axis=1)]))
    return out.to(encoder.device).eval()


def plain_weights(encoder: AudioEncoder) -> dict[str, torch.Tensor]:
    """An encoder's tensors by name, without those of its whitening."""
    return {name: x for name, x in encoder.state_dict().items() if not name.startswith("whitening.")}


def excerpts(manifest: Manifest, count: int = EXCERPTS, seed: int = 0) -> list[Excerpt]:
    """Random excerpts of a set, of 0.5 to 4 seconds; long files give several, up to one for every 4 seconds.

    Args:
        manifest: the set.
        count: how many at most.
        seed: of the draw.

    Returns:
        Excerpts with start and length in seconds, in the order of the set.
    """
    rng, seconds = np.random.default_rng(seed), manifest.seconds
    rows = np.repeat(np.arange(len(manifest)), np.maximum(1, seconds // MAX_SECONDS).astype(int))
    out = []
    for row in np.sort(rng.permutation(rows)[:count]):
        length = min(float(seconds[row]), float(np.exp(rng.uniform(np.log(MIN_SECONDS), np.log(MAX_SECONDS)))))
        start = float(rng.uniform(0, seconds[row] - length))
        sound = manifest.sound(int(row))
        channels: Channels = channels_of(sound)
        out.append(Excerpt(files(sound)[0], start, length, channels))
    return out
