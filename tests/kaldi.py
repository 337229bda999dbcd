"""Kaldi's own log-mel, the oracle of ours."""

from __future__ import annotations

import kaldi_native_fbank
import numpy as np


def kaldi(wave: np.ndarray) -> np.ndarray:
    """Log-mel of natural-log power at 16 kHz, 128 bins, no dither, (T, M)."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.window_type = "hanning"
    options.mel_opts.num_bins = 128
    options.use_energy = False
    bank = kaldi_native_fbank.OnlineFbank(options)
    bank.accept_waveform(16_000, wave.tolist())
    bank.input_finished()
    return np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])
