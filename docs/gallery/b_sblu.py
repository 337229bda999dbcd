"""
What the SBLU passes
====================

The response of the unit to each modulation rate, for the states at the start of training. Their decay is 0.2 per frame,
and their frequencies are spread over the band that patches of 16 frames alias.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from aasp.stems.lambda_encoder import alpha_and_beta, start_logits
from aasp.stems.sblu import kernel

alpha, beta = (one.double() for one in alpha_and_beta(start_logits(6, 16), 16))
hertz = np.geomspace(1, 50, 300)
turns = np.exp(2j * np.pi * np.outer(hertz, np.arange(16) - 7.5) / 100)

figure, both = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for axes, phase in zip(both, ("conjugate", "even"), strict=True):
    real, imag = kernel(alpha, beta, 16, phase=phase, window="two-sided", gain="unit")
    response = np.abs(turns @ torch.complex(real, imag).numpy().T)
    axes.semilogx(hertz, 20 * np.log10(response))
    axes.axvline(3.125, color="0.7", ls=":")
    axes.set(title=f'phase="{phase}"', xlabel="modulation, Hz", ylim=(-30, 15))
both[0].set_ylabel("gain, dB")
