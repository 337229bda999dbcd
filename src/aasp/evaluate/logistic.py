"""L2-penalised logistic regression for few clips and many dimensions: exact rotation, then preconditioned L-BFGS.

minimise  C · Σ_i loss(y_i, W x_i + b) + ½ ‖W‖²   over W (K, D), b (K,)          (scikit-learn's form of C)

- loss is softmax cross-entropy (y: class indices) or the sum of K binary cross-entropies (y: multi-hot).
- An L2 penalty is invariant to rotations and keeps W in the span of the clips. With the thin SVD of the standardised
  train part, X = U S Vᵀ, the problem has r = rank(X) ≤ min(n, D) coordinates Z = U S, and W = w Vᵀ is the same head.
- In these axes Böhning's bound of the Hessian (½ or ¼ ZᵀZ/n + λ) is diagonal; dividing by its root is a preconditioner
  that reduces L-BFGS from hundreds of iterations to tens, at any C.
- A final head is fitted until no component of the gradient, in these coordinates, is above `CONVERGED`, 1e-9: its
  probabilities are then within 2e-5 of the optimum's (docs/evaluation.md), so they depend on the data and not on the
  processor's rounding. Candidates are ranked by fits that stop at `DRAFT`, also in float64: rounding changes those by
  less than 1e-7, whereas it changed float32 fits by up to 0.1.

n clips, D dimensions, r rank, K classes. Source: Böhning 1992 for the bound; Hastie & Tibshirani 2004 ("Efficient
quadratic regularization for expression arrays") for the rotation; the combination is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from aasp.evaluate.head import LinearHead, RegressionHead

CONVERGED, DRAFT = 1e-9, 3e-4
"""Largest gradient component of the mean loss at which the fit of a final head, and of one for ranking, stops."""
WORTH_THREADS = 10_000_000  # multiplications in a product: below this, BLAS threads mostly wait for each other


class LinearHeadSolver:
    """Fits linear heads for any number of penalties C on a train part that is standardised and rotated once.

    Args:
        X: embeddings of the train part, shape (n, D).
        y: class indices (n,), or multi-hot labels (n, K).
        classes: K.
    """

    def __init__(self, X: np.ndarray, y: np.ndarray, classes: int) -> None:
        self.scaler = StandardScaler().fit(X.astype(np.float64))
        self.X = self.scaler.transform(X.astype(np.float64))
        self.multilabel = y.ndim == 2
        self.classes = classes
        # Classes without a clip in this part are left out of the fit: the unpenalised bias would diverge to -inf.
        self.present = np.flatnonzero(y.any(axis=0)) if self.multilabel else np.unique(y)
        self.target = y[:, self.present].astype(np.float64) if self.multilabel else (y[:, None] == self.present) * 1.0
        n, D = self.X.shape
        self.wide = n < D
        # The smaller of the two Gram matrices. It squares the condition number, so axes under 1e-7 of the largest
        # singular value are lost, which is far below the precision of float32 embeddings.
        square, axes = np.linalg.eigh(self.X @ self.X.T if self.wide else self.X.T @ self.X)
        kept = square > 1e-14 * max(square[-1], 1e-300)
        self.singular = np.sqrt(square[kept])
        self.axes = axes[:, kept] / self.singular if self.wide else axes[:, kept]  # (n, r): U/S, or (D, r): V
        self.Z = axes[:, kept] * self.singular if self.wide else self.X @ self.axes  # (n, r)

    def coordinates(self, X: np.ndarray) -> np.ndarray:
        """Rotated coordinates (m, r) of other clips' embeddings (m, D)."""
        standard = self.scaler.transform(X.astype(np.float64))
        return standard @ self.X.T @ self.axes if self.wide else standard @ self.axes

    def path(
        self, penalties: Sequence[float], *, gradient: float = CONVERGED
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Solutions (w (r, K'), b (K',)) for each C of `penalties` in turn, each started from the one before.

        Args:
            penalties: values of C, strong penalty (small C) first: warm starts then save the most.
            gradient: largest gradient component at which a fit stops. `CONVERGED` for a final head, `DRAFT` for ranking
                candidates (at weak penalties ten times faster, and within the noise of any validation part).
        """
        n, rank = self.Z.shape
        target = self.target
        w, b = np.zeros((rank, target.shape[1])), np.zeros(target.shape[1])
        for C in penalties:
            decay = 1 / (C * n)
            curvature = 0.25 if self.multilabel else 0.5
            root = np.sqrt(curvature * self.singular**2 / n + decay)[:, None]
            Z, shrink = self.Z / root.T, decay / root**2
            threads = 1 if Z.size * target.shape[1] < WORTH_THREADS else None
            with threadpool_limits(threads, user_api="blas"):
                solved = minimize(
                    _objective,
                    np.vstack([w * root, b]).ravel(),
                    args=(Z, target, shrink, self.multilabel),
                    jac=True,
                    method="L-BFGS-B",
                    options={"maxiter": 50_000, "maxfun": 100_000, "gtol": gradient, "ftol": 0.0},
                )
            solution = solved.x.reshape(rank + 1, -1)
            w, b = solution[:-1] / root, solution[-1]
            yield w, b

    def ridge(self, coordinates: np.ndarray, ratios: Sequence[float]) -> Iterator[np.ndarray]:
        """Class scores (m, K) by ridge regression on one-hot labels, for each penalty `ratio` · n · D.

        Args:
            coordinates: rotated coordinates (m, r) of the clips to score.
            ratios: penalties, relative to the sum of the squared singular values.
        """
        prior = self.target.mean(0)
        projected = self.Z.T @ (self.target - prior)
        for ratio in ratios:
            out = np.zeros((len(coordinates), self.classes))
            out[:, self.present] = coordinates @ self._shrunk(projected, ratio) + prior
            yield out

    def ridge_head(self, ratio: float) -> RegressionHead:
        """Ridge regression with one penalty, `ratio` · n · D, as a head on raw embeddings."""
        prior = self.target.mean(0)
        w = self._shrunk(self.Z.T @ (self.target - prior), ratio)
        bias = np.zeros(self.classes)
        bias[self.present] = prior
        return RegressionHead(self.scaler.mean_, self.scaler.scale_, self._unrotated(w), bias)

    def _shrunk(self, projected: np.ndarray, ratio: float) -> np.ndarray:
        return projected / (self.singular**2 + ratio * self.X.size)[:, None]

    def probabilities(self, coordinates: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Class probabilities (m, K) of rotated coordinates (m, r); classes absent from the train part get 0."""
        out = np.zeros((len(coordinates), self.classes))
        out[:, self.present] = _probabilities(coordinates @ w + b, self.multilabel)
        return out

    def head(self, w: np.ndarray, b: np.ndarray) -> LinearHead:
        """The solution (w, b) as a head on raw embeddings."""
        bias = np.full(self.classes, -np.inf)
        bias[self.present] = b
        return LinearHead(self.scaler.mean_, self.scaler.scale_, self._unrotated(w), bias, self.multilabel)

    def _unrotated(self, w: np.ndarray) -> np.ndarray:
        """Weights (D, K) for standardised embeddings, 0 for absent classes, from weights (r, K') for coordinates."""
        weight = np.zeros((self.X.shape[1], self.classes))
        weight[:, self.present] = self.X.T @ (self.axes @ w) if self.wide else self.axes @ w
        return weight


def _objective(
    flat: np.ndarray, Z: np.ndarray, target: np.ndarray, decay: np.ndarray, multilabel: bool
) -> tuple[float, np.ndarray]:
    """Mean loss + ½ Σ decay · v², and its gradient, in preconditioned coordinates v = w · root (last row: bias)."""
    n, columns = target.shape
    variables = flat.reshape(-1, columns)
    v, b = variables[:-1], variables[-1]
    logits = Z @ v + b
    if multilabel:
        losses = np.logaddexp(0, logits) - target * logits
        slope = (expit(logits) - target) / n
    else:
        logp = log_softmax(logits, axis=1)
        losses = -target * logp
        slope = (np.exp(logp) - target) / n
    gradient = np.vstack([Z.T @ slope + decay * v, slope.sum(0)])
    return float(losses.sum() / n + 0.5 * (decay * v**2).sum()), gradient.ravel()


def _probabilities(logits: np.ndarray, multilabel: bool) -> np.ndarray:
    return expit(logits) if multilabel else softmax(logits, axis=1)
