"""What a classifier says of sounds: whole clips of any length, in the order given. n sounds, K classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from aasp.audio.sounds import Sound
from aasp.datasets.index import Skipped
from aasp.evaluate.features import Progress, embedded
from aasp.model.audio_classifier import AudioClassifier


def class_probabilities(
    classifier: AudioClassifier,
    sounds: Sequence[Sound],
    *,
    skipped: list[Skipped] | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Class probabilities of each sound, float32 (n, K), in fp32 on the classifier's own device.

    Args:
        classifier: the model.
        sounds: what to classify.
        skipped: takes sounds that can't be used, whose rows are then NaN; without it the first of them raises.
        progress: called with (sounds done, n).

    Raises:
        AaspError: a sound that can't be used, or none that can.
    """
    out = np.full((len(sounds), len(classifier.config.classes)), np.nan, dtype=np.float32)
    layers = classifier.reads_layers
    for rows, found in embedded(classifier.encoder, sounds, layers=layers, skipped=skipped, progress=progress):
        with torch.inference_mode():
            logits = classifier.classify(found.stages, found.valid)
        out[rows] = classifier.probabilities(logits).cpu().numpy()
    return out
