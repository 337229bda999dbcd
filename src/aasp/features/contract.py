"""Interface of front ends: waveforms in, normalised frames out.

Legend: B clips, S samples, T frames, M bins of a frame.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aasp.casting import widened, without_autocast
from aasp.devices import copied
from aasp.errors import AaspError
from aasp.features.waves import as_batch
from aasp.tracing import is_known

MAX_BINS, MAX_FFT = 1_024, 32_768
"""Bins of a frame, and samples of a window or a Fourier transform; the largest filter bank has 128 MiB."""


class FrontEndConfig(ABC):
    """Base class of a front end's configuration, a frozen dataclass that includes its statistics.

    Attributes:
        rate: sampling rate of the waveforms in Hz.
    """

    rate: int

    @abstractmethod
    def build(self) -> FrontEnd:
        """Build the front end."""

    @property
    @abstractmethod
    def bins(self) -> int:
        """Bins M of a frame: the mel bins of the stem."""

    @property
    @abstractmethod
    def frame_rate(self) -> float:
        """Frames per second."""

    @property
    @abstractmethod
    def window(self) -> int:
        """Samples of the shortest clip that has a frame: one analysis window."""

    @abstractmethod
    def frames(self, samples: int) -> int:
        """Frames of a clip of `samples` samples, 0 if it is shorter than one window; monotonic."""

    def samples(self, frames: int) -> int:
        """The smallest number of samples with at least `frames` frames."""
        few, many = self.window - 1, self.window
        while self.frames(many) < frames:
            few, many = many, 2 * many
        while many - few > 1:
            middle = (few + many) // 2
            few, many = (few, middle) if self.frames(middle) >= frames else (middle, many)
        return many

    @property
    def shortest_ms(self) -> float:
        """Length of the shortest clip in milliseconds."""
        return 1000 * self.window / self.rate

    @property
    def band(self) -> tuple[float, float]:
        """Lowest and highest frequency that affects a frame, in Hz; by default 0 to half the rate."""
        return 0.0, self.rate / 2

    @property
    def not_onnx(self) -> str:
        """Why it cannot be exported to ONNX, and what to do instead; empty if it can."""
        return ""

    def check_covers(self, low_hz: float, high_hz: float, what: str) -> None:
        """Check that a frequency band overlaps the front end's band.

        Args:
            low_hz, high_hz: the band, in Hz.
            what: what has this band, for the error message, such as a file and its event.

        Raises:
            AaspError: it does not.
        """
        lowest, highest = self.band
        if low_hz >= highest or high_hz <= lowest:
            requested, covered = f"{low_hz:g} to {high_hz:g} Hz", f"{lowest:g} to {highest:g} Hz"
            raise AaspError(f"{what}: at {requested}, outside the {covered} that the model covers; {_rate(high_hz)}")

    def centres(self) -> np.ndarray:
        """Centre frequency of each bin in Hz, rising, shape (M,); used by figures.

        Raises:
            AaspError: the front end does not define them.
        """
        own = f"{type(self).__module__}:{type(self).__qualname__}"
        raise AaspError(f"front end {own} has no `centres`, which figures need; define it, the hertz of each bin")


class FrontEnd(nn.Module, ABC):
    """Waveforms to normalised frames; in fp32 or float64, regardless of the model's precision.

    A custom front end defines `transform`; this class handles lengths, padding and precision.

    Args:
        config: its settings.

    Attributes:
        in_float64: whether `transform` computes in float64 for float64 samples, which embedding gives it, so that a
            batch does not change the last bits of a clip; if not, it gets fp32.
    """

    in_float64: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        """A class with another `transform` does not inherit `in_float64`."""
        super().__init_subclass__(**options)
        if "transform" in vars(cls) and "in_float64" not in vars(cls):
            cls.in_float64 = False

    def __init__(self, config: FrontEndConfig) -> None:
        super().__init__()
        self.config = config

    def centres(self) -> Tensor:
        """Current centre frequency of each bin in Hz, (M,); of filters that move it may not rise.

        Raises:
            AaspError: the front end does not define them.
        """
        return torch.from_numpy(self.config.centres())

    def gradients(self) -> AbstractContextManager[None]:
        """A context in which gradients are computed only if the front end is trained, and they are outside."""
        trained = any(parameter.requires_grad for parameter in self.parameters())
        return torch.set_grad_enabled(torch.is_grad_enabled() and trained)

    @abstractmethod
    def transform(self, wave_BS: Tensor, frames: int) -> Tensor:
        """The frames of waveforms; differentiable.

        Args:
            wave_BS: fp32, or float64 if the class sets `in_float64`, zero beyond each clip's end, shape (B, S).
            frames: T, the number of frames of these samples.

        Returns:
            Frames normalised for the stem, shape (B, T, M); padding is zero.
        """

    def forward(self, wave_BS: Tensor, lengths_B: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the normalised frames of a batch, differentiably; in fp32, or in float64 (see `in_float64`).

        Samples are not checked, since training would have to wait for the device. NaN stays NaN, and samples far
        outside -1..1 are treated as loud ones; an AudioEncoder rejects both.

        Args:
            wave_BS: waveforms in -1..1 of any floating type, or int16 samples, shape (B, S). Samples beyond a clip's
                end are ignored.
            lengths_B: valid samples per clip, shape (B,); all of S if omitted.

        Returns:
            The frames, shape (B, T, M), zero beyond each clip's end, and the number of valid frames per clip, shape
            (B,), on the device of `lengths_B`.

        Raises:
            AaspError: the batch is shorter than one analysis window, on another device than the front end, or not as
                `as_batch` requires; or `transform` returns a wrong shape.
        """
        wave_BS, lengths_B = as_batch(wave_BS, lengths_B)
        clips, samples = wave_BS.shape
        frames = self._frames_of(clips, samples)
        here = next((tensor.device for tensor in [*self.buffers(), *self.parameters()]), wave_BS.device)
        if wave_BS.device != here:
            raise AaspError(f"wave on {wave_BS.device}, the front end on {here}; give wave.to({str(here)!r})")
        with without_autocast(wave_BS):
            x_BTM = self.transform(widened(wave_BS) if self.in_float64 else wave_BS.float(), frames)
        others = is_known(clips) and x_BTM.shape[0] != clips
        if others or (is_known(frames) and x_BTM.shape[1:] != (frames, self.config.bins)):
            text = f"gives {tuple(x_BTM.shape)}, not {(clips, frames, self.config.bins)}"
            raise AaspError(f"front end: {type(self).__name__} {text}; `transform` must return (clips, frames, bins)")
        if lengths_B is None:
            return x_BTM, torch.full((clips,), frames)
        frames_B = self.frames(lengths_B)
        beyond = torch.arange(frames, device=x_BTM.device) >= copied(frames_B, x_BTM.device)[:, None]
        return x_BTM.masked_fill(beyond[..., None], 0.0), frames_B

    def learned(self) -> dict[str, Tensor]:
        """Its trained values by name and unit, in readable form; by default the parameters."""
        return {name: parameter.detach() for name, parameter in self.named_parameters() if parameter.requires_grad}

    def frames(self, lengths_B: Tensor) -> Tensor:
        """Valid frames per clip from valid samples per clip, both of shape (B,)."""
        return torch.tensor([self.config.frames(n) for n in lengths_B.tolist()], device=lengths_B.device)

    def _frames_of(self, clips: int, samples: int) -> int:
        """Frames T of a batch, after a check that there is at least one."""
        c = self.config
        frames = c.frames(samples)
        if is_known(samples) and frames == 0:
            turned = clips >= c.window
            remedy = "give wave.mean(1)[None] if it is (samples, channels)" if turned else "give a longer clip"
            window = f"shorter than one analysis window of {c.shortest_ms:g} ms"
            raise AaspError(
                f"audio of {samples / c.rate * 1000:.1f} ms is {window}; wave has shape {(clips, samples)}; {remedy}"
            )
        return frames


def _rate(high_hz: float) -> str:
    """The remedy in the message for a band that ends at this frequency."""
    return f"use a model with a sampling rate above {2 * high_hz:,.0f} Hz (`aasp recipes`), or leave it out"
