"""How many directions embeddings use. n clips, D dimensions.

Source: Roy & Vetterli 2007, "The effective rank: a measure of effective dimensionality".
"""

from __future__ import annotations

import numpy as np

from aasp.errors import AaspError


def effective_rank(X: np.ndarray) -> float:
    """Exponential of the entropy of the covariance's spectrum: 1 on a line, D if all directions vary equally.

    Args:
        X: embeddings (n, D), not standardised.

    Raises:
        AaspError: fewer than two clips, or values that are not finite.
    """
    if len(X) < 2 or not np.isfinite(X).all():
        raise AaspError(f"effective rank: {len(X)} clips, or values that are not finite; give finite vectors of two")
    centred = X.astype(np.float64) - X.astype(np.float64).mean(0)
    gram = centred @ centred.T if len(X) < X.shape[1] else centred.T @ centred
    spectrum = np.maximum(np.linalg.eigvalsh(gram), 0)
    if spectrum.sum() == 0:  # all equal: no direction
        return 0.0
    shares = spectrum[spectrum > 0] / spectrum.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
