"""Log-mel spectrograms: batched, differentiable, and with the same values as Kaldi's.

Legend: B clips, S samples, T frames, L window length in samples, M mel bins.
Source: Kaldi's feature-fbank (the front end of EAT, AST and BEATs); the Slaney preset follows M2D's parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from aasp.casting import WithConstants
from aasp.config import ADDED_LATER, check_range
from aasp.errors import AaspError
from aasp.features.contract import MAX_BINS, MAX_FFT, FrontEnd, FrontEndConfig
from aasp.features.mel import hz_to_mel, mel_edges, mel_to_hz, slaney_edges
from aasp.tracing import is_for_onnx, is_known, is_traced
from aasp.waveforms import MAX_RATE

# Mel bins by sampling rate: their width in mel is about that of the 128 bins at 16 kHz (21.8, 21.8, 21.9 and 22.5), and
# their number a multiple of a patch's 16. The FFT grows with the rate, so that its bins stay 31.25 Hz apart.
RATES = {8_000: 96, 16_000: 128, 32_000: 160, 48_000: 176}

# On CPUs this many frames are processed at a time, so that their windows and spectra stay in a core's own cache.
FRAMES_IN_CACHE = 128


@dataclass(frozen=True)
class LogMelConfig(FrontEndConfig):
    """All settings of a log-mel front end; they are saved with the weights.

    Attributes:
        kind: the name of this front end in recipes; not written to documents, for compatibility.
        rate: sampling rate in Hz.
        mels: number of mel bins M.
        window_ms: analysis window in milliseconds.
        hop_ms: hop between frames in milliseconds.
        fft: FFT length in samples, at least the window.
        low_hz: lower edge of the first mel triangle.
        high_hz: upper edge of the last mel triangle.
        triangles: "mel": straight sides on the mel axis (Kaldi); "hertz": on the frequency axis (HTK tools); "slaney":
            also on the frequency axis, between edges on Slaney's scale, each of area 1 (librosa, nnAudio).
        periodic: periodic Hann window (signal-processing tools) instead of the symmetric one (Kaldi).
        povey: the window to the power of 0.85, Kaldi's default.
        centered: frame t is centred on sample t * hop, with zeros beyond the ends; else only whole windows are used.
        remove_dc: subtract each window's mean.
        preemphasis: coefficient of the pre-emphasis within each window, 0 for none.
        floor: smallest mel energy before the logarithm.
        mean: log-mel mean that is subtracted from the output.
        std: divisor of the centred log-mel (EAT divides by twice the deviation; give the product here).

    Raises:
        AaspError: a setting is out of range, the band exceeds half the rate, or the FFT is shorter than the window.
    """

    kind: ClassVar[str] = "logmel"
    rate: int = 16_000
    mels: int = 128
    window_ms: float = 25.0
    hop_ms: float = 10.0
    fft: int = 512
    low_hz: float = 20.0
    high_hz: float = 8_000.0
    triangles: Literal["mel", "hertz", "slaney"] = "mel"
    periodic: bool = False
    centered: bool = False
    remove_dc: bool = True
    preemphasis: float = 0.97
    floor: float = 2.0**-23
    mean: float = -4.268
    std: float = 9.138
    povey: bool = field(default=False, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        check_range(self, "front end", "rate", most=MAX_RATE)
        check_range(self, "front end", "mels", most=MAX_BINS)
        check_range(self, "front end", "window_ms hop_ms", most=10_000)
        check_range(self, "front end", "fft", most=MAX_FFT)
        check_range(self, "front end", "floor")
        if not 0 <= self.low_hz < self.high_hz <= self.rate / 2:
            raise AaspError(
                f"front end: low_hz {self.low_hz:g} to high_hz {self.high_hz:g} must lie in 0 to {self.rate / 2:g} Hz, "
                "half the sampling rate; change low_hz, high_hz or rate"
            )
        if not self.window or not self.hop:
            text = f"windows of {self.window} samples every {self.hop}"
            raise AaspError(f"front end: {text}; raise window_ms or hop_ms, a sample is {1000 / self.rate:g} ms")
        if self.fft < self.window:
            raise AaspError(f"front end: fft {self.fft} is shorter than the window of {self.window} samples; raise fft")
        if self.std <= 0:
            raise AaspError(f"front end: std {self.std:g} must be positive; measure it with `aasp stats`")

    def build(self) -> LogMel:
        return LogMel(self)

    @property
    def bins(self) -> int:
        return self.mels

    @property
    def window(self) -> int:
        """Window length L in samples."""
        return round(self.rate * self.window_ms / 1000)

    @property
    def hop(self) -> int:
        """Hop in samples."""
        return round(self.rate * self.hop_ms / 1000)

    @property
    def frame_rate(self) -> float:
        return self.rate / self.hop

    def frames(self, samples: int) -> int:
        if is_known(samples) and samples < self.window:
            return 0
        return (samples + self.hop - (0 if self.centered else self.window)) // self.hop

    def samples(self, frames: int) -> int:
        span = (frames - 1) * self.hop
        return max(span, self.window) if self.centered else span + self.window

    def centres(self) -> np.ndarray:
        if self.triangles == "slaney":
            return slaney_edges(self.low_hz, self.high_hz, self.mels)[1:-1]
        return mel_edges(self.low_hz, self.high_hz, self.mels)[1:-1]

    @property
    def band(self) -> tuple[float, float]:
        return self.low_hz, self.high_hz

    @classmethod
    def at(cls, rate: int) -> LogMelConfig:
        """Kaldi's front end at another rate, up to its Nyquist frequency: 96 bins at 8 kHz, 160 at 32, 176 at 48 kHz.

        The statistics remain AudioSet's at 16 kHz; `aasp stats --rate` measures those of a set (docs/data.md).

        Raises:
            AaspError: the rate is not in `RATES`.
        """
        if rate not in RATES:
            known = ", ".join(f"{known:,}" for known in RATES)
            raise AaspError(f"front end: rate is {rate:,} Hz; give one of {known}, or set rate, mels, fft and high_hz")
        return cls(rate=rate, mels=RATES[rate], fft=rate * 512 // 16_000, high_hz=rate / 2)

    @classmethod
    def kaldi(cls, **changes: float) -> LogMelConfig:
        """128 bins as Kaldi computes them, with AudioSet statistics: the front end of EAT and AST."""
        return cls(**changes)  # type: ignore[arg-type]

    @classmethod
    def slaney80(cls, **changes: float) -> LogMelConfig:
        """80 Slaney bins (nnAudio's) from 50 Hz to 8 kHz on centred windows: M2D's parameters and statistics."""
        settings = dict(
            mels=80, fft=400, low_hz=50.0, triangles="slaney", periodic=True, centered=True, remove_dc=False,
            preemphasis=0.0, mean=-7.1, std=4.2,
        )  # fmt: skip
        return cls(**(settings | changes))  # type: ignore[arg-type]


def mel_filterbank(config: LogMelConfig) -> Tensor:
    """Triangular mel filters, with peak 1 except for Slaney's, shape (fft // 2 + 1, M)."""
    edges = torch.linspace(hz_to_mel(config.low_hz), hz_to_mel(config.high_hz), config.mels + 2, dtype=torch.float64)
    bins = torch.arange(config.fft // 2 + 1, dtype=torch.float64) * config.rate / config.fft
    if config.triangles == "mel":
        bins = hz_to_mel(bins)
    elif config.triangles == "slaney":
        edges = torch.from_numpy(slaney_edges(config.low_hz, config.high_hz, config.mels))
    else:
        edges = mel_to_hz(edges)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rise = (bins[:, None] - left) / (centre - left)
    fall = (right - bins[:, None]) / (right - centre)
    filters = torch.minimum(rise, fall).clamp_min(0.0)
    return (filters * 2 / (right - left) if config.triangles == "slaney" else filters).float()


def analysis(config: LogMelConfig) -> np.ndarray:
    """The matrix from a window to its spectrum, since every step before the squares is linear: float64 (L, 2 K).

    It maps a window's L samples to the real and imaginary parts of its K = fft // 2 + 1 bins: the product of DC
    removal, pre-emphasis, window and discrete Fourier transform.
    """
    taper = _hann(config).astype(np.float64)
    if config.preemphasis:
        taper = taper[1:]
    angle = 2 * np.pi / config.fft * (np.outer(np.arange(len(taper)), np.arange(config.fft // 2 + 1)) % config.fft)
    bins = taper[:, None] * np.concatenate([np.cos(angle), -np.sin(angle)], axis=1)
    if config.preemphasis:
        nothing = np.zeros((1, bins.shape[1]))
        bins = np.concatenate([nothing, bins]) - config.preemphasis * np.concatenate([bins, nothing])
    return bins - bins.mean(0) if config.remove_dc else bins


def _hann(config: LogMelConfig) -> np.ndarray:
    """The window, fp32 (L,)."""
    taper = np.hanning(config.window + config.periodic)[: config.window]
    return (taper**0.85 if config.povey else taper).astype(np.float32)


class LogMel(FrontEnd, WithConstants):
    """Waveforms to normalised log-mel spectrograms; in fp32 or float64, regardless of the model's precision.

    Waveforms in -1..1 at `config.rate`, (B, S), to frames (B, T, M) and their number (B,); see `FrontEnd.forward`.

    Args:
        config: the front end; the default is Kaldi's 128 bins.
    """

    in_float64 = True
    config: LogMelConfig
    window: Tensor
    filterbank: Tensor

    def __init__(self, config: LogMelConfig | None = None) -> None:
        super().__init__(config or LogMelConfig.kaldi())
        self.set_constants()

    def constants(self) -> dict[str, Tensor]:
        return {"window": torch.from_numpy(_hann(self.config)), "filterbank": mel_filterbank(self.config)}

    def transform(self, wave_BS: Tensor, frames: int) -> Tensor:
        if is_for_onnx() or not is_known(frames):
            return self._as_product(wave_BS, frames)
        windows_BTL = self._windows(wave_BS)
        if wave_BS.device.type != "cpu":
            return self._log_mel(windows_BTL)
        # Compilers and exporters get all clips at once: the number of blocks would depend on that of the clips.
        blocks = [windows_BTL] if is_traced() else windows_BTL.split(max(1, FRAMES_IN_CACHE // frames))
        rows = [torch.cat([self._log_mel(x) for x in block.split(FRAMES_IN_CACHE, 1)], 1) for block in blocks]
        return torch.cat(rows)

    def frames(self, lengths_B: Tensor) -> Tensor:
        c = self.config  # on the device of the lengths, without waiting for it
        reach = lengths_B if c.centered else lengths_B - c.window
        return torch.where(lengths_B < c.window, 0, 1 + reach.div(c.hop, rounding_mode="floor"))

    def _padded(self, wave_BS: Tensor) -> Tensor:
        """The waveform from which windows are cut; the first window starts at its first sample."""
        window = self.config.window
        return nn.functional.pad(wave_BS, (window // 2, window - window // 2)) if self.config.centered else wave_BS

    def _windows(self, wave_BS: Tensor) -> Tensor:
        """Overlapping windows of the waveform, (B, T, L), not copied."""
        return self._padded(wave_BS).unfold(-1, self.config.window, self.config.hop)

    def _as_product(self, wave_BS: Tensor, frames: int) -> Tensor:
        """The log-mel as one convolution, for graphs of any length and runtimes without a Fourier transform.

        It is computed as a matrix product, since ONNX Runtime has no convolution in float64.
        """
        c = self.config
        start_T1 = torch.arange(frames, device=wave_BS.device)[:, None] * c.hop
        windows_BTL = self._padded(wave_BS)[:, start_T1 + torch.arange(c.window, device=wave_BS.device)]
        spectrum_BTK = windows_BTL @ torch.tensor(analysis(c)).to(wave_BS)
        return self._scaled(*spectrum_BTK.chunk(2, -1))

    def _log_mel(self, x_BTL: Tensor) -> Tensor:
        c, taper = self.config, self.window
        if c.remove_dc:
            x_BTL = x_BTL - x_BTL.mean(-1, keepdim=True)
        if c.preemphasis:
            # A window's first sample, which Kaldi pre-emphasises with itself, has weight zero in a Hann window and is
            # left out. The shift does not change the power spectrum.
            x_BTL, taper = torch.sub(x_BTL[..., 1:], x_BTL[..., :-1], alpha=c.preemphasis), taper[1:]
        spectrum = torch.fft.rfft(x_BTL * taper.to(x_BTL.dtype), n=c.fft)
        return self._scaled(spectrum.real, spectrum.imag)

    def _scaled(self, real: Tensor, imag: Tensor) -> Tensor:
        c = self.config
        energy = (real.square() + imag.square()) @ self.filterbank.to(real.dtype)
        return (energy.clamp_min(c.floor).log() - c.mean) / c.std

    def extra_repr(self) -> str:
        c = self.config
        return f"{c.mels} mels, {c.window_ms:g}/{c.hop_ms:g} ms, mean {c.mean:g}, std {c.std:g}"
