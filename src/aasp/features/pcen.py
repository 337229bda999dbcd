"""Per-channel energy normalisation: an automatic gain control and a root instead of the log-mel's logarithm.

    M_t = (1 - s) M_(t-1) + s E_t,   M_0 = E_0
    PCEN_t = (E_t / (eps + M_t)^alpha + delta)^r - delta^r

Legend: B clips, T frames, M bins; E the mel energies, `M_t` their smoothed level.
Source: Wang, Getreuer, Hughes, Lyon & Saurous 2017, "Trainable frontend for robust and far-field keyword spotting",
equations 1 and 2, with their initial values and, as there, alpha, delta and r trained as logarithms. M_0 = E_0 and a
trained s per bin are from LEAF (Zeghidour et al. 2021). The bounded sigmoid for s, and the exact smoother in log2 T
steps (Hillis & Steele 1986), are ours. LEAF's code limits alpha to 1 and 1 / r to at least 1; ours are only positive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.casting import finest_type
from aasp.config import check_range
from aasp.errors import AaspError
from aasp.features.bands import BandsConfig, Energies, WholeWindows
from aasp.features.contract import FrontEndConfig
from aasp.tracing import is_known

MIN_S = 1 / 512
"""Smallest s: the weight of a frame is 1e-28 after 2 ** 15 more frames."""
OPEN = 1 << 15
"""Frames that the smoother covers in a graph for any length: earlier ones have a weight of less than 1e-27."""


def smoothed(energy_BTM: Tensor, s_M: Tensor) -> Tensor:
    """The first-order recursion M_t = (1 - s) M_(t-1) + s E_t from M_0 = E_0, exactly and without a loop over frames.

    Sums over the last 1, 2, 4, ... frames are each computed from two of the previous ones. All terms are positive, so
    that there is no cancellation. A frame depends on all previous frames and on no later one.

    Args:
        energy_BTM: energies, not negative, shape (B, T, M).
        s_M: weight of the new frame, in 0 to 1, shape (M,) or of one element.
    """
    frames = energy_BTM.shape[1]
    level = torch.cat([energy_BTM[:, :1], s_M * energy_BTM[:, 1:]], dim=1)
    decay, reach = 1 - s_M, 1
    while reach < (frames if is_known(frames) else 2 * OPEN):
        level = level + decay * functional.pad(level, (0, 0, reach, 0))[:, :frames]
        decay, reach = decay.square(), 2 * reach
    return level


class EnergyNormalisation(nn.Module):
    """PCEN of the energies of any bands.

    Args:
        bins: number of bins M.
        s, alpha, delta, r: initial values for each bin; `MIN_S` < s < 1, the others positive.
        eps: offset of the level.
        trained: whether they are trained; they are parameters in any case, so that the state dict is the same.
    """

    def __init__(self, bins: int, s: float, alpha: float, delta: float, r: float, eps: float, trained: bool) -> None:
        super().__init__()
        self.eps = eps
        share = (s - MIN_S) / (1 - MIN_S)
        starts = {"s": math.log(share / (1 - share)), "alpha": math.log(alpha), "delta": math.log(delta)}
        for name, start in (starts | {"r": math.log(r)}).items():
            setattr(self, f"{name}_raw", nn.Parameter(torch.full((bins,), start), requires_grad=trained))

    def settings(self, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """s, alpha, delta and r of each bin, each (M,)."""
        dtype = dtype or finest_type(next(self.parameters()).device)
        s, *others = (getattr(self, f"{name}_raw").to(dtype) for name in ("s", "alpha", "delta", "r"))
        alpha, delta, r = (one.exp() for one in others)
        return MIN_S + (1 - MIN_S) * torch.sigmoid(s), alpha, delta, r

    def learned(self) -> dict[str, Tensor]:
        """s, alpha, delta and r by name."""
        return dict(zip(("s", "alpha", "delta", "r"), (one.detach() for one in self.settings()), strict=True))

    def forward(self, energy_BTM: Tensor) -> Tensor:
        s, alpha, delta, r = self.settings(energy_BTM.dtype)
        gain = torch.exp(-alpha * torch.log(self.eps + smoothed(energy_BTM, s)))
        return (energy_BTM * gain + delta).pow(r) - delta.pow(r)


@dataclass(frozen=True)
class PCENConfig(BandsConfig):
    """PCEN of mel energies.

    A frame depends on all previous frames of its clip: exports and whole clips are exact, and `encoder.stream` rejects
    it, since a stream discards past samples.

    Attributes:
        kind: the name of this front end in recipes.
        trained: whether s, alpha, delta and r of each bin are trained with the model.
        s: weight of the new frame in the level; with frames of 10 ms a time constant of 0.4 s.
        alpha: strength of the gain control.
        delta: offset before the root.
        r: exponent of the root.
        eps: offset of the level, for energies of samples in -1 to 1.
    """

    kind: ClassVar[str] = "pcen"
    mean: float = 0.231
    std: float = 0.899
    trained: bool = True
    s: float = 0.025
    alpha: float = 0.98
    delta: float = 2.0
    r: float = 0.5
    eps: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_normalisation(self)

    def build(self) -> PCEN:
        return PCEN(self)

    def centres(self) -> np.ndarray:
        return self.windows(self.window_ms).centres()


class PCEN(WholeWindows):
    """Waveforms to the normalised PCEN of their mel energies.

    Args:
        config: its settings.
    """

    in_float64 = True
    config: PCENConfig

    def __init__(self, config: PCENConfig | None = None) -> None:
        super().__init__(config or PCENConfig())
        c = self.config
        self.energies = Energies(c.windows(c.window_ms))
        self.normalise = EnergyNormalisation(c.bins, c.s, c.alpha, c.delta, c.r, c.eps, c.trained)

    def learned(self) -> dict[str, Tensor]:
        return self.normalise.learned() if self.config.trained else {}

    def transform(self, wave_BS: Tensor, frames: int) -> Tensor:
        c = self.config
        return (self.normalise(self.energies.transform(wave_BS, frames)) - c.mean) / c.std


def check_normalisation(config: FrontEndConfig) -> None:
    """Check the initial values s, alpha, delta, r and eps of PCEN.

    Raises:
        AaspError: one is invalid; the message names the first.
    """
    check_range(config, "front end", "alpha delta r eps")
    check_range(config, "front end", "s", below=1)
    if config.s <= MIN_S:  # type: ignore[attr-defined]
        raise AaspError(f"front end: s is {config.s:g}; give a share above {MIN_S:.3g}, below 1")  # type: ignore[attr-defined]
