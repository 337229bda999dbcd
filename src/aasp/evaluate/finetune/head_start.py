"""A head that knows its classes before training begins: linear probing, then fine-tuning.

A random head first sends random gradients into the encoder; a fitted one changes it only by what it still gets wrong.
Source: Kumar et al. 2022 (LP-FT). n clips of the set, K classes, D' pooled width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from aasp.audio.sounds import Sound
from aasp.datasets.index import Skipped
from aasp.evaluate.features import batches, nothing_usable
from aasp.evaluate.head import LinearHead
from aasp.evaluate.linear import STRENGTHS, best_penalty
from aasp.evaluate.logistic import Rotated
from aasp.evaluate.task import Round, Task
from aasp.model.audio_classifier import AudioClassifier

RAREST = -20.0  # bias of a class that no train clip has: it must stay finite to be trained


def fit_head(classifier: AudioClassifier, sounds: Sequence[Sound], task: Task, round_: Round) -> None:
    """Make the head, in place, a logistic regression on the encoder's embeddings of whole train clips.

    Its penalty is the one that does best on the valid part; the test part is not read. Batch normalisation takes the
    mean and deviation of the train part. Clips that can't be decoded are left out: training names them.

    Args:
        classifier: its encoder is what is embedded with.
        sounds: all n of the set; only those of the train and valid part are read.
        task: labels.
        round_: which clips are train and valid part.

    Raises:
        AaspError: no clip of one of these parts can be decoded.
    """
    unusable: list[Skipped] = []
    X = embeddings(classifier, sounds, round_.refit, unusable)
    usable = lambda rows: rows[np.isfinite(X[rows]).all(axis=1)]
    round_ = replace(round_, train=usable(round_.train), valid=usable(round_.valid))
    if not (len(round_.train) and len(round_.valid)):
        raise nothing_usable(unusable)
    *_, penalty = best_penalty(X, task, round_, STRENGTHS)
    fitted = Rotated(X[round_.train], task.y[round_.train], len(task.classes))
    begin_with(classifier, fitted.head(*next(fitted.path([penalty]))))


def embeddings(
    classifier: AudioClassifier, sounds: Sequence[Sound], rows: np.ndarray, unusable: list[Skipped]
) -> np.ndarray:
    """What the head weighs (or its batch normalisation standardises) of whole clips, float64 (n, D').

    Only `rows` are read; all others are NaN, and those that can't be decoded, which `unusable` takes.
    """
    X = np.full((len(sounds), classifier.head.in_features), np.nan)
    asked = [sounds[row] for row in rows]
    for places, found in batches(classifier.encoder, asked, unusable, strict=False, layers=classifier.reads_layers):
        with torch.inference_mode():
            clip_BD = classifier.pooled(found.stages, found.valid)
            if isinstance(classifier.norm, nn.LayerNorm):
                clip_BD = classifier.norm(clip_BD)
        X[rows[places]] = clip_BD.cpu().numpy()
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
