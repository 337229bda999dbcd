"""
What aliases
============

The rate at which a modulation appears in tokens of 160 ms. Modulations above 3.125 Hz alias.
"""

import matplotlib.pyplot as plt
import numpy as np

frame_rate, patch = 100, 16
hertz = np.linspace(0, 50, 1001)
folded = np.abs(hertz - frame_rate / patch * np.round(hertz * patch / frame_rate))

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.plot(hertz, folded)
axes.axvspan(frame_rate / patch / 2, 50, color="tab:red", alpha=0.08)
for name, rate in {"syllables": 5, "tremolo": 7, "engine": 25}.items():
    axes.plot(rate, folded[np.abs(hertz - rate).argmin()], "o", color="tab:red")
    axes.annotate(f" {name}", (rate, folded[np.abs(hertz - rate).argmin()] + 0.1), fontsize=8)
axes.set(xlabel="modulation, Hz", ylabel="appears at, Hz", xlim=(0, 50), ylim=(0, 3.5))
