"""Find similar sounds, from the vectors that `aasp embed` wrote.

aasp embed runs/tiny sounds/*.wav --out embeddings.npz
python examples/similar_sounds.py embeddings.npz sounds/dog.wav
"""

from __future__ import annotations

import sys

import numpy as np


def nearest(embedding: np.ndarray, index: int, count: int = 5) -> list[tuple[int, float]]:
    """The rows of (n, D) nearest to one of them by cosine, after subtracting the set's mean; that row is excluded."""
    centred = embedding - embedding.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True).clip(1e-12)
    likeness = unit @ unit[index]
    order = np.argsort(-likeness)
    return [(int(i), float(likeness[i])) for i in order[order != index][:count]]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with np.load(sys.argv[1]) as file:
        paths, embedding = file["path"].tolist(), file["embedding"]
    if sys.argv[2] not in paths:
        sys.exit(f"{sys.argv[2]} is not in {sys.argv[1]}; name it as it was named to `aasp embed`")
    for i, likeness in nearest(embedding, paths.index(sys.argv[2])):
        print(f"{likeness:6.3f}  {paths[i]}")
