"""Stems that can be looked into: their tokens hold states, each an analysis with a decay and a frequency of its own.

The laboratory and the reports read any stem's `states`; what has none is looked at from outside.

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
    """A stem with S states a patch, whose kernels are those of `bilateral_laplace`.

    Attributes:
        count: S.
        taps: window K in frames.
        phase, window, gain: see `bilateral_laplace`.
        trained: how decay and frequency come about: "estimated" from each patch, "learned" for all, or "fixed".
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
        """The output of the states, real and imaginary part, each (B, G, F, S); gain is the stem's if omitted."""

    def kernels(self, alpha: Tensor, beta: Tensor, gain: Gain | None = None) -> Complex:
        """The states' weights with that decay and frequency (..., S), real and imaginary part, each (..., S, K)."""
        return kernel(alpha, beta, self.taps, phase=self.phase, window=self.window, gain=gain or self.gain)

    @property
    @abstractmethod
    def pickup(self) -> Tensor:
        """How strongly each state responds to a signal that all bins of its subband share, shape (S,)."""

    @property
    @abstractmethod
    def bounds(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Of the decay per frame, and of the frequency in radians per frame."""

    @abstractmethod
    def start(self) -> tuple[Tensor, Tensor]:
        """Decay and frequency that the states of a new stem are spread at, each (S,)."""

    @abstractmethod
    def untrained(self) -> States:
        """The same stem with random weights."""

    @abstractmethod
    def changed(self, change: Change) -> States:
        """A copy in which decay and frequency, each (B, G, F, S), are what `change` makes of them."""

    @abstractmethod
    def silenced(self) -> States:
        """A copy whose tokens ignore the states."""
