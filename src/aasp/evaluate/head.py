"""The heads of probes, which take raw embeddings. n clips, D dimensions, K classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import expit, softmax


class Head(Protocol):
    """The head of a round, on raw embeddings."""

    def probabilities(self, X: np.ndarray) -> np.ndarray:
        """Class probabilities (n, K) of embeddings (n, D)."""


@dataclass(frozen=True)
class LinearHead:
    """A linear head in the coordinates of the raw embedding: logits = ((x - mean) / scale) @ weight + bias.

    Embeddings of several layers, (n, L, D), are concatenated: D is then L times as large.
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


@dataclass(frozen=True)
class RegressionHead:
    """A linear head whose outputs are the estimated probabilities: least squares on one-hot labels.

    For single labels they sum to 1 over the classes; each may lie a little outside 0 to 1 (linear probability model).
    """

    mean: np.ndarray  # (D,)
    scale: np.ndarray  # (D,)
    weight: np.ndarray  # (D, K), zero for a class that no training clip has
    bias: np.ndarray  # (K,) share of the training clips that have the class

    def probabilities(self, X: np.ndarray) -> np.ndarray:
        return (X.astype(np.float64) - self.mean) / self.scale @ self.weight + self.bias
