"""A head that knows its classes before training begins: linear probing, then fine-tuning.

A random head first sends random gradients into the encoder; a fitted one changes it only by what it still gets wrong.
Source: Kumar et al. 2022 (LP-FT). n clips, K classes, D' pooled width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import nn

from aasp.audio.sounds import Sound
from aasp.datasets.index import Skipped
from aasp.evaluate.features import batches, nothing_usable
from aasp.evaluate.head import LinearHead
from aasp.evaluate.logistic import Rotated
from aasp.model.audio_classifier import AudioClassifier

# C of the head times D'. A strong penalty: a head that leans on directions in which clips hardly differ scores as well
# before the first step, and may be lost after it (docs/decisions.md).
STRENGTH = 10.0
RAREST = -20.0  # bias of a class that no train clip has: it must stay finite to be trained


def fit_head(
    classifier: AudioClassifier, sounds: Sequence[Sound], y: np.ndarray, loss: Literal["softmax", "sigmoid"]
) -> None:
    """Make the head, in place, a logistic regression on the encoder's embeddings of whole train clips.

    Batch normalisation takes their mean and deviation. Clips that can't be decoded are left out: training names them.
    All embeddings are held in memory, several times over: 8 D' bytes a clip each.

    Args:
        classifier: its encoder is what is embedded with.
        sounds: n train clips.
        y: their class indices (n,), or multi-hot labels (n, K).
        loss: what the head is then trained with: one regression over all classes, or one for each class.

    Raises:
        AaspError: no clip can be decoded.
    """
    X = embeddings(classifier, sounds)
    usable = np.isfinite(X).all(axis=1)
    classes = len(classifier.config.classes)
    if loss == "sigmoid" and y.ndim == 1:
        y = np.eye(classes)[y]
    fitted = Rotated(X[usable], y[usable], classes)
    begin_with(classifier, fitted.head(*next(fitted.path([STRENGTH / X.shape[1]]))))


def embeddings(classifier: AudioClassifier, sounds: Sequence[Sound]) -> np.ndarray:
    """What the head weighs, or its batch normalisation standardises, of whole clips: float64 (n, D'); NaN where a clip
    can't be decoded."""
    X = np.full((len(sounds), classifier.head.in_features), np.nan)
    unusable: list[Skipped] = []
    for rows, found in batches(classifier.encoder, sounds, unusable, strict=False, layers=classifier.reads_layers):
        with torch.inference_mode():
            clip_BD = classifier.pooled(found.stages, found.valid)
            if isinstance(classifier.norm, nn.LayerNorm):
                clip_BD = classifier.norm(clip_BD)
        X[rows] = clip_BD.cpu().numpy()
    if len(unusable) == len(sounds):
        raise nothing_usable(unusable)
    return X


@torch.no_grad()
def begin_with(classifier: AudioClassifier, head: LinearHead) -> None:
    """Give the classifier a probe's head; without batch normalisation, the standardisation goes into the weights."""
    weight, bias = head.weight.T, np.maximum(head.bias, RAREST)
    if isinstance(classifier.norm, nn.BatchNorm1d):
        assert classifier.norm.running_mean is not None and classifier.norm.running_var is not None
        classifier.norm.running_mean.copy_(torch.from_numpy(head.mean))
        classifier.norm.running_var.copy_(torch.from_numpy(head.scale**2) - classifier.norm.eps)
    else:
        weight = weight / head.scale
        bias = bias - weight @ head.mean
    classifier.head.weight.copy_(torch.from_numpy(weight))
    classifier.head.bias.copy_(torch.from_numpy(bias))
