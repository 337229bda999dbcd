"""What a probe leaves: a head that reads raw embeddings. n clips, D dimensions, K classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import expit, softmax


class Head(Protocol):
    """What a round ends with: reads raw embeddings."""

    def probabilities(self, X: np.ndarray) -> np.ndarray:
        """Class probabilities (n, K) of embeddings (n, D)."""


@dataclass(frozen=True)
class LinearHead:
    """A linear head in the coordinates of the raw embedding: logits = ((x - mean) / scale) @ weight + bias.

    Embeddings of several layers, (n, L, D), are read side by side: D is then L times as large.
    """

    mean: np.ndarray  # (D,)
    scale: np.ndarray  # (D,)
    weight: np.ndarray  # (D, K)
    bias: np.ndarray  # (K,) -inf for a class that no training clip has
    multilabel: bool

    def probabilities(self, X: np.ndarray) -> np.ndarray:
        X = X.reshape(len(X), -1).astype(np.float64)
        logits = (X - self.mean) / self.scale @ self.weight + self.bias
        return expit(logits) if self.multilabel else softmax(logits, axis=1)
