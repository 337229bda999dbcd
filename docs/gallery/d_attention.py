"""
Attention
=========

How much the class token of the packaged model attends to each patch in the last block. The values are means over all
heads, divided by the mean over all patches. ``aasp show MODEL FILE --attention`` draws the same figure for a file.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import aasp
from aasp.model.attention_maps import attention_maps

rate = 16_000
time = np.arange(round(1.9 * rate)) / rate
pitch = 2_000 + 800 * np.sin(2 * np.pi * 6 * time)
call = np.sin(2 * np.pi * np.cumsum(pitch) / rate) * ((time > 0.5) & (time < 1.2))
wave = 0.3 * call + 0.01 * np.random.default_rng(0).standard_normal(len(time))

encoder = aasp.load("aasp-tiny")
mel, _ = encoder.frontend(torch.tensor(wave[None], dtype=torch.float32))
weights = attention_maps(encoder, mel[0])[-1].mean(0)  # (time patches, subbands)

figure, (top, bottom) = plt.subplots(2, 1, figsize=(8, 4), sharex=True, layout="constrained")
extent = (0, time[-1], 0, 8)
top.imshow(mel[0].T.numpy(), origin="lower", aspect="auto", extent=extent, cmap="magma")
shown = bottom.imshow(weights.T.numpy(), origin="lower", aspect="auto", extent=extent, cmap="magma")
figure.colorbar(shown, ax=bottom, label="attention / mean over patches")
bottom.set_xlabel("seconds")
top.set_yticks([])
bottom.set_yticks([])
