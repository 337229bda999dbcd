"""One-sided state-space stems: baselines for the SBLU, without its frequency band and its second side.

    token = fuse [ project(x) ; norm(C y) ]        as in AaPE; at step 0 it is the convolution's token, as there

    S4D     x' = A x + u, complex and diagonal; A and the step are learned and shared by all patches
    Mamba   x' = A x + B u, real and diagonal; the step, B and the read-out depend on each frame of the input

Both have one output per window, at its last frame, where the state is a sum over the window's frames, so that no scan
is needed. The two differ from AaPE in the computation of y; the maps around it are the same.

Legend: B clips, G x F grid of patches, P frames x R mel bins of a patch, K frames of a window, H signals u of a
subband, N states of a signal, D width.
Source: Gu, Gupta, Goel & Re 2022, "On the Parameterization and Initialization of Diagonal State Space Models" (S4D-Lin,
zero-order hold); Gu & Dao 2023, "Mamba" (selective state space, its initial values and Euler discretisation of B).
Ours: signals are linear maps of a patch's mel bins; initial steps are for windows of tens of frames, not thousands;
Mamba's convolution and gate are left out.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.casting import LayerNorm, finest_type, widened, without_autocast
from aasp.config import check_range
from aasp.errors import AaspError
from aasp.stems.contract import StemConfig
from aasp.stems.conv import PatchProjection
from aasp.stems.sblu import bilateral_laplace
from aasp.stems.windowed import WindowedStem, around, check_taps


@dataclass(frozen=True)
class StateSpaceConfig(StemConfig):
    """Settings shared by both.

    Attributes:
        patch: (frames P, mel bins R) of one patch.
        taps: frames K of a window, centred on its patch; the output is that at its last frame.
        signals: number H of signals per subband.
        order: number N of states per signal; those of S4D are complex.
        step: initial steps of the signals, log-uniform between these two, in frames; published: 0.001 and 0.1, for
            thousands of frames.
    """

    patch: tuple[int, int] = (16, 16)
    taps: int = 16
    signals: int = 16
    order: int = 4
    step: tuple[float, float] = (0.02, 0.2)

    def __post_init__(self) -> None:
        check_range(self, "stem", "patch signals order", least=1)
        check_range(self, "stem", "step")
        check_taps(self.patch, self.taps)
        if self.step[0] >= self.step[1]:
            raise AaspError(f"stem: step is {self.step[0]:g},{self.step[1]:g}; give a smaller one first")

    def log_steps(self) -> Tensor:
        """Logarithms of the initial steps of the signals, evenly spaced, shape (H,)."""
        low, high = (math.log(one) for one in self.step)
        return torch.tensor([low + (high - low) * (h + 0.5) / self.signals for h in range(self.signals)])


@dataclass(frozen=True)
class S4DConfig(StateSpaceConfig):
    """A diagonal state space (S4D-Lin) whose states are the features.

    Attributes:
        kind: the name of this stem in recipes.
        magnitude: also use the log-magnitude of every state, as in AaPE; without it the stem is linear.
    """

    kind: Literal["s4d"] = "s4d"
    magnitude: bool = True

    def build(self, width: int, mels: int) -> S4DStem:
        return S4DStem(width, mels, self)


@dataclass(frozen=True)
class MambaConfig(StateSpaceConfig):
    """A selective state space; its features are the outputs of the signals.

    Attributes:
        kind: the name of this stem in recipes.
    """

    kind: Literal["mamba"] = "mamba"
    signals: int = 32

    def build(self, width: int, mels: int) -> MambaStem:
        return MambaStem(width, mels, self)


class StateSpaceStem(WindowedStem):
    """The convolution's token fused with features of a state space (see the module's docstring).

    Args:
        width: token width D.
        mels: mel bins M of the log-mel.
        config: sizes.
        features: number of features.
    """

    def __init__(self, width: int, mels: int, config: StateSpaceConfig, features: int) -> None:
        super().__init__(width, mels, config.patch, config.taps)
        self.project = PatchProjection(self.patch, width)
        self.input_matrix = nn.Linear(self.patch[1], config.signals, bias=False)
        self.output_matrix = nn.Linear(features, width)
        self.norm = LayerNorm(width)
        self.fuse = nn.Linear(2 * width, width)
        with torch.no_grad():
            self.fuse.weight.copy_(torch.eye(width, 2 * width))
            self.fuse.bias.zero_()

    @abstractmethod
    def features(self, windows: Tensor) -> Tensor:
        """Features (..., features) of the signals (..., H, K) of each patch, in fp32 or float64."""

    def analyse(self, patches: Tensor) -> tuple[Tensor, ...]:
        return (around(widened(self.input_matrix(patches)), self.taps),)

    def token(self, patches: Tensor, windows: Tensor, seen: Tensor | None, *others: Tensor) -> Tensor:
        with without_autocast(windows):
            y = self.features(windows)
        token = self.project(patches)
        features = self.norm(self.output_matrix(y.to(self.output_matrix.weight.dtype)))
        return self.fuse(torch.cat([token, features.to(token.dtype)], dim=-1))

    def gradient_diagnostics(self) -> dict[str, Tensor]:
        """Gradient norm of all parameters except the convolution's."""
        gradients = [p.grad for n, p in self.named_parameters() if p.grad is not None and not n.startswith("project.")]
        return {"state_gradient_norm": torch.stack(torch._foreach_norm(gradients)).norm()} if gradients else {}

    @torch.no_grad()
    def with_all_features(self) -> Self:
        other = deepcopy(self)
        other.fuse.weight[:, self.width :].copy_(torch.eye(self.width))
        return other


class S4DStem(StateSpaceStem):
    """The states of a diagonal state space at a window's last frame.

    Args:
        width: token width D.
        mels: mel bins M of the log-mel.
        config: sizes.
    """

    def __init__(self, width: int, mels: int = 128, config: S4DConfig | None = None) -> None:
        c = config or S4DConfig()
        super().__init__(width, mels, c, (2 + c.magnitude) * c.signals * c.order)
        self.config = c
        self.log_step = nn.Parameter(c.log_steps())
        self.log_decay = nn.Parameter(torch.full((c.signals, c.order), math.log(0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(c.order).float().expand(c.signals, -1).clone())

    def poles(self, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Decay per frame and frequency in radians per frame of every state, each (H, N): the step times -A."""
        dtype = dtype or finest_type(self.log_step.device)
        step = self.log_step.to(dtype).exp()[:, None]
        return step * self.log_decay.to(dtype).exp(), step * self.frequency.to(dtype)

    def learned(self) -> dict[str, Tensor]:
        alpha, beta = (one.detach() for one in self.poles())
        poles = {"decay (per frame)": alpha, "frequency (rad per frame)": beta, "step": self.log_step.detach().exp()}
        raw = ("log_step", "log_decay", "frequency")
        return poles | {name: one for name, one in super().learned().items() if name not in raw}

    def features(self, windows: Tensor) -> Tensor:
        alpha, beta = self.poles(windows.dtype)
        held = bilateral_laplace(windows[..., None, :], alpha, beta, window="one-sided", gain="paper")
        # The hold in `bilateral_laplace` has a step of 1 frame.
        step = self.log_step.to(windows.dtype).exp()[:, None]
        real, imag = (step * part for part in held)
        parts = [real, imag]
        if self.config.magnitude:
            parts.append(0.5 * torch.log(real.square() + imag.square() + 1e-6))
        return torch.cat([part.flatten(-2) for part in parts], dim=-1)

    @torch.no_grad()
    def diagnostics(self, mel_BTM: Tensor) -> dict[str, Tensor]:
        """Mean decay per frame and frequency in radians per frame, and the truncated window mass."""
        alpha, beta = self.poles()
        return {
            "alpha_mean": alpha.mean(),
            "beta_mean": beta.abs().mean(),
            "window_cut": torch.exp(-alpha * self.taps).mean(),
        }


class MambaStem(StateSpaceStem):
    """The outputs of a selective state space at a window's last frame.

    Args:
        width: token width D.
        mels: mel bins M of the log-mel.
        config: sizes.
    """

    def __init__(self, width: int, mels: int = 128, config: MambaConfig | None = None) -> None:
        c = config or MambaConfig()
        super().__init__(width, mels, c, c.signals)
        self.config = c
        self.rank = -(-c.signals // 16)
        self.select = nn.Linear(c.signals, self.rank + 2 * c.order, bias=False)
        self.step = nn.Linear(self.rank, c.signals)
        nn.init.uniform_(self.step.weight, -(self.rank**-0.5), self.rank**-0.5)
        with torch.no_grad():
            self.step.bias.copy_(torch.log(torch.expm1(c.log_steps().exp())))  # its softplus is the step
        self.log_decay = nn.Parameter(torch.arange(1, c.order + 1).float().log().expand(c.signals, -1).clone())
        self.skip = nn.Parameter(torch.ones(c.signals))

    def selected(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step (..., K, H), B and C (..., K, N) of each frame of windows (..., H, K)."""
        low, B, C = functional.linear(windows.mT, self.select.weight.to(windows.dtype)).split(
            [self.rank, self.config.order, self.config.order], dim=-1
        )
        weight, bias = self.step.weight.to(windows.dtype), self.step.bias.to(windows.dtype)
        return functional.softplus(functional.linear(low, weight, bias)), B, C

    def learned(self) -> dict[str, Tensor]:
        silent = functional.softplus(self.step.bias.detach())
        read = {"step, of silence": silent, "decay (per step)": self.log_decay.detach().exp()}
        return read | {name: one for name, one in super().learned().items() if name not in ("step", "log_decay")}

    def features(self, windows: Tensor) -> Tensor:
        signals = windows.mT  # (..., K, H)
        step, B, C = self.selected(windows)
        later = step.flip(-2).cumsum(-2).flip(-2) - step  # the sum of the steps after a frame, (..., K, H)
        left = torch.exp(-later[..., None] * self.log_decay.to(windows.dtype).exp())  # decay of inputs, (..., K, H, N)
        state = (left * (step * signals)[..., None] * B[..., None, :]).sum(-3)
        read = (state * C[..., -1, None, :]).sum(-1)
        return read + self.skip.to(windows.dtype) * signals[..., -1, :]

    @torch.no_grad()
    def diagnostics(self, mel_BTM: Tensor) -> dict[str, Tensor]:
        """Mean step in frames, and its standard deviation over the frames of a signal."""
        (windows,) = self.analyse(self.cut(mel_BTM[:8]))
        step, _, _ = self.selected(windows)
        return {"step_mean": step.mean(), "step_spread": step.flatten(0, -2).std(0).mean()}
