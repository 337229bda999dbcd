"""Stems with inspectable states: each state is an analysis with its own decay and frequency.

The laboratory and the reports use any stem's `states`; stems without states are analysed as black boxes.

Legend: B clips, T frames, M mel bins, G x F grid of patches, S states of a patch, K taps. Source: ours.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from torch import Tensor

from aasp.stems.contract import Stem
from aasp.stems.sblu import Complex, Gain, Phase, Window, kernel

Change = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class States(Stem):
    """A stem with S states per patch, whose kernels are those of `bilateral_laplace`.

    Attributes:
        count: number of states S.
        taps: window K in frames.
        phase, window, gain: see `bilateral_laplace`.
        trained: origin of decay and frequency: "estimated" from each patch, "learned" for all, or "fixed".
    """

    count: int
    taps: int
    phase: Phase
    window: Window
    gain: Gain
    trained: str

    @property
    def states(self) -> States:
        return self

    @abstractmethod
    def estimate(self, mel_BTM: Tensor) -> tuple[Tensor, Tensor]:
        """Decay per frame and frequency in radians per frame of every patch and state, each (B, G, F, S)."""

    @abstractmethod
    def responses(self, mel_BTM: Tensor, gain: Gain | None = None) -> Complex:
        """The output of the states, real and imaginary part, each (B, G, F, S); with the stem's gain if omitted."""

    def kernels(self, alpha: Tensor, beta: Tensor, gain: Gain | None = None) -> Complex:
        """Kernels of states with decay and frequency (..., S), real and imaginary part, each (..., S, K)."""
        return kernel(alpha, beta, self.taps, phase=self.phase, window=self.window, gain=gain or self.gain)

    @property
    @abstractmethod
    def pickup(self) -> Tensor:
        """Gain of each state for a signal that is equal in all bins of its subband, shape (S,)."""

    @property
    @abstractmethod
    def bounds(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Bounds of the decay per frame, and of the frequency in radians per frame."""

    @abstractmethod
    def start(self) -> tuple[Tensor, Tensor]:
        """Initial decay and frequency of the states, each (S,)."""

    @abstractmethod
    def untrained(self) -> States:
        """The same stem with random weights."""

    @abstractmethod
    def changed(self, change: Change) -> States:
        """A copy in which `change` is applied to decay and frequency, each (B, G, F, S)."""

    @abstractmethod
    def silenced(self) -> States:
        """A copy whose tokens ignore the states."""
