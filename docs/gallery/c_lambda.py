"""
Where Λ looks
=============

The frequencies that the Lambda Encoder of the packaged model estimates for each patch, in Hz of modulation. The sound
has a tremolo that speeds up. The grey lines are the frequencies at the start of training. The estimates hardly differ
from them; see the results.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import aasp

rate, seconds = 16_000, 4
time = np.arange(seconds * rate) / rate
swing = 0.5 + 0.5 * np.sin(2 * np.pi * (4 * time + 4 * time**2))  # 4 to 36 Hz
wave = torch.tensor(0.3 * swing * np.sin(2 * np.pi * 1_000 * time), dtype=torch.float32)

encoder = aasp.load("aasp-tiny")
with torch.no_grad():
    mel, _ = encoder.frontend(wave[None])
    alpha, beta = encoder.stem.estimate(mel)
hertz = beta[0].mean(1).numpy() * encoder.frontend.config.frame_rate / (2 * np.pi)  # (time patches, states)
start = encoder.stem.start()[1].numpy() * encoder.frontend.config.frame_rate / (2 * np.pi)

figure, (top, bottom) = plt.subplots(2, 1, figsize=(8, 5), sharex=True, layout="constrained")
top.imshow(mel[0].T.numpy(), origin="lower", aspect="auto", extent=(0, seconds, 0, mel.shape[2]), cmap="magma")
top.set_ylabel("mel bin")
bottom.plot(np.linspace(0, seconds, len(hertz)), hertz, color="tab:blue", lw=0.9)
bottom.hlines(start, 0, seconds, color="0.8", lw=0.7, zorder=0)
bottom.set(xlabel="seconds", ylabel="β of each state, Hz", yscale="log")
