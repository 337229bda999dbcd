"""Draws the README's picture of the idea, docs/images/idea.png, from a tremolo and the unit itself.

usage: python docs/images/idea.py
"""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure

from aasp.stems.sblu import bilateral_laplace

FRAME_RATE, PATCH, SECONDS, HZ = 100, 16, 1.92, 7.0
INK, BLUE, RED = "#222222", "#1f5fa8", "#c0392b"


def main() -> None:
    frames = np.arange(round(SECONDS * FRAME_RATE))
    seconds = frames / FRAME_RATE
    level = np.cos(2 * np.pi * HZ * seconds + 0.6)
    patches = level.reshape(-1, PATCH)
    centres = (np.arange(len(patches)) * PATCH + (PATCH - 1) / 2) / FRAME_RATE
    post_patch = FRAME_RATE / PATCH
    folded = abs(HZ - round(HZ / post_patch) * post_patch)

    mpl.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "text.color": INK})
    figure = Figure(figsize=(10.5, 2.9), dpi=160, layout="constrained")
    signal, seen, kept = figure.subplots(1, 3)

    signal.plot(seconds, level, color=INK, lw=1.4)
    for k in range(len(patches) + 1):
        signal.axvline(k * PATCH / FRAME_RATE, color="#cccccc", lw=0.8)
    signal.set_title(f"a tremolo of {HZ:g} Hz in one band,\ncut into patches of 160 ms", loc="left", fontsize=10.5)

    means = patches @ np.hanning(PATCH + 2)[1:-1]
    means /= np.abs(means).max()
    fine = np.linspace(0, SECONDS, 800)
    basis = np.stack([np.cos(2 * np.pi * folded * centres), np.sin(2 * np.pi * folded * centres)], axis=1)
    weights = np.linalg.lstsq(basis, means, rcond=None)[0]
    slow = np.stack([np.cos(2 * np.pi * folded * fine), np.sin(2 * np.pi * folded * fine)], axis=1) @ weights
    seen.plot(fine, slow, color=RED, lw=1.2, ls="--")
    seen.plot(centres, means, "o", color=RED, ms=5)
    title = f"one weighted sum of each patch:\nthe points of a tremolo of {folded:g} Hz"
    seen.set_title(title, loc="left", fontsize=10.5)

    hz = np.geomspace(post_patch / 2, 50, 60)
    beta = torch.tensor(2 * math.pi * hz / FRAME_RATE)
    v = torch.tensor(patches - patches.mean(1, keepdims=True))[:, None].expand(-1, len(hz), -1)
    alpha = torch.full_like(beta, 0.05)
    real, imag = bilateral_laplace(v, alpha, beta, phase="conjugate", window="two-sided", gain="unit")
    magnitude = torch.hypot(real, imag).numpy().T
    edges = np.arange(len(patches) + 1) * PATCH / FRAME_RATE
    kept.pcolormesh(edges, np.geomspace(post_patch / 2, 50, 61), magnitude, cmap="Blues")
    kept.axhline(HZ, color=INK, lw=0.8, ls=":")
    kept.set_yscale("log")
    kept.set_yticks([4, 7, 12.5, 25, 50], ["4", "7", "12.5", "25", "50 Hz"])
    kept.minorticks_off()
    kept.set_title("what AaPE adds: how much of each rate\nthere is inside each patch", loc="left", fontsize=10.5)

    for axes in (signal, seen, kept):
        axes.set_xlabel("seconds")
    for axes in (signal, seen):
        axes.set_yticks([])
    figure.savefig(Path(__file__).with_name("idea.png"))


if __name__ == "__main__":
    main()
