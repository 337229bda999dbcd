"""AaPE: conv patch tokens fused with adaptive features of the modulations that the patches would alias.

Legend: B clips, V views, G x F grid of patches, P frames x R mel bins of a patch, K taps, S states, D width.
Source: the paper's patch embedding (conv tokens, Lambda Encoder, SBLU, fusion); shapes, bounds and fusion are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.casting import widened, without_autocast
from aasp.errors import AaspError
from aasp.stems.contract import StemConfig
from aasp.stems.conv import PatchProjection
from aasp.stems.lambda_encoder import LambdaEncoder, bounded, start_logits
from aasp.stems.sblu import Gain, Phase, Window, bilateral_laplace
from aasp.stems.windowed import WindowedStem, around, check_taps


@dataclass(frozen=True)
class AaPEConfig(StemConfig):
    """The aliasing-aware stem and its controls.

    Attributes:
        kind: the name of this stem in recipes.
        patch: (frames P, mel bins R) of one patch.
        taps: window K of the SBLU in frames; beyond P it reaches into neighbouring patches, as far as a view sees them.
        states: SBLU states S per subband.
        phase: "conjugate" (envelope detector) or "even" (the quoted equation).
        window: the two-sided exponential or a control of the same bandwidth.
        gain: "paper" or "unit", see `bilateral_laplace`.
        parameters: decay and frequency "estimated" per patch, "learned" per subband and state, or "fixed".
        magnitude: also give the log-magnitude of every state, which no linear stem could hold.
        conv: fuse with the convolution's token; without it the token is the SBLU's alone.
        leaky: let masked views read masked patches in windows beyond P: a control, not a way to train.
        encoder_width: width of the Lambda Encoder.
        encoder_depth: its layers.
        encoder_heads: its attention heads.
        frames_per_token: neighbouring frames that form one of its tokens.
    """

    kind: Literal["aape"] = "aape"
    patch: tuple[int, int] = (16, 16)
    taps: int = 16
    states: int = 16
    phase: Phase = "conjugate"
    window: Window = "two-sided"
    gain: Gain = "unit"
    parameters: Literal["estimated", "learned", "fixed"] = "estimated"
    magnitude: bool = True
    conv: bool = True
    leaky: bool = False
    encoder_width: int = 64
    encoder_depth: int = 1
    encoder_heads: int = 4
    frames_per_token: int = 2

    def __post_init__(self) -> None:
        check_taps(self.patch, self.taps)
        frames = self.patch[0]
        if frames % self.frames_per_token:
            raise AaspError(f"stem: frames_per_token {self.frames_per_token} must divide the patch's {frames} frames")
        if self.encoder_width % self.encoder_heads:
            raise AaspError(f"stem: encoder_heads {self.encoder_heads} must divide encoder_width {self.encoder_width}")

    def build(self, width: int, mels: int) -> AaPE:
        return AaPE(width, mels, self)


class AaPE(WindowedStem):
    """Aliasing-aware patch embedding, a drop-in for the patch convolution of any spectrogram transformer.

    Args:
        width: token width D.
        mels: mel bins M of the log-mel.
        config: sizes and controls.

    Example:
        >>> stem = AaPE(width=768, mels=128)
        >>> stem(torch.randn(2, 1024, 128)).shape
        torch.Size([2, 512, 768])
    """

    def __init__(self, width: int, mels: int = 128, config: AaPEConfig | None = None) -> None:
        config = config or AaPEConfig()
        super().__init__(width, mels, config.patch, config.taps, config.leaky)
        self.config = c = config
        if c.conv:
            self.project = PatchProjection(self.patch, width)
        self.input_matrix = nn.Linear(self.patch[1], c.states, bias=False)
        if c.parameters == "estimated":
            sizes = (c.encoder_width, c.encoder_depth, c.encoder_heads, c.frames_per_token)
            self.lambda_encoder = LambdaEncoder(self.patch, self.subbands, c.states, *sizes)
        else:
            logits = start_logits(c.states, self.patch[0]).expand(self.subbands, 2, -1).clone()
            self.logits = nn.Parameter(logits, requires_grad=c.parameters == "learned")
        self.output_matrix = nn.Linear((2 + c.magnitude) * c.states, width)
        self.norm = nn.LayerNorm(width)
        if c.conv:
            self.fuse = nn.Linear(2 * width, width)
            with torch.no_grad():  # at step 0 the token is the conv token
                self.fuse.weight.copy_(torch.eye(width, 2 * width))
                self.fuse.bias.zero_()

    def analyse(self, patches: Tensor) -> tuple[Tensor, ...]:
        return self.windows(patches), *self.parameters_of(patches)

    def token(self, patches: Tensor, windows: Tensor, seen: Tensor | None, *others: Tensor) -> Tensor:
        return self._fused(patches, self._sblu(windows, *others))

    def estimate(self, mel_BTM: Tensor) -> tuple[Tensor, Tensor]:
        """Decay per frame and frequency in radians per frame of every patch and state, each (B, G, F, S)."""
        return self.parameters_of(self.cut(mel_BTM))

    def parameters_of(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Decay and frequency, each (B, G, F, S), for patches (B, G, F, P, R)."""
        if self.config.parameters == "estimated":
            logits = self.lambda_encoder(patches)
        else:
            logits = self.logits.expand(*patches.shape[:2], -1, -1, -1)
        return bounded(logits, self.patch[0])

    def windows(self, patches: Tensor) -> Tensor:
        """The projected subband signal around each patch, (B, G, F, S, K), less the mean of the patch itself.

        The mean is the conv token's business, and in even phase it would drown the modulations.
        """
        signal = widened(self.input_matrix(patches))  # (B, G, F, P, S)
        return around(signal, self.taps) - signal.mean(3, keepdim=True).transpose(3, 4)

    def _sblu(self, windows: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        """SBLU features (..., 3 S): both parts of y, and its log-magnitude (..., 2 S without it)."""
        c = self.config
        with without_autocast(windows):
            real, imag = bilateral_laplace(windows, alpha, beta, phase=c.phase, window=c.window, gain=c.gain)
            if not c.magnitude:
                return torch.cat([real, imag], dim=-1)
            magnitude = 0.5 * torch.log(real.square() + imag.square() + 1e-6)
        return torch.cat([real, imag, magnitude], dim=-1)

    def _fused(self, patches: Tensor, y: Tensor) -> Tensor:
        """fuse(concat(project(patches), norm(output_matrix(y)))), with the linear maps multiplied before any token is.

        All that is not linear in the norm is a token's deviation, whose square is a quadratic form in y. So nothing but
        the token itself is as wide as a token, and no token is multiplied by a matrix of width by width.
        """
        tokens: Tensor = self.norm.bias
        by_sblu = None
        if self.config.conv:
            by_conv, by_sblu = self.fuse.weight.split(self.width, dim=1)
            constant = by_conv @ self.project.bias + by_sblu @ self.norm.bias + self.fuse.bias
            tokens = functional.linear(patches.flatten(-2), by_conv @ self.project.weight, constant)
        with without_autocast(y):
            weight, bias = self.output_matrix.weight.to(y.dtype), self.output_matrix.bias.to(y.dtype)
            centred = torch.cat([weight - weight.mean(0), (bias - bias.mean())[:, None]], dim=1)
            y = functional.pad(y, (0, 1), value=1.0)
            variance = (y @ (centred.T @ centred / self.width) * y).sum(-1, keepdim=True).clamp_min(0)
            y = y * torch.rsqrt(variance + self.norm.eps)
            scaled = self.norm.weight[:, None] * centred
            features = functional.linear(y, scaled if by_sblu is None else by_sblu.to(y.dtype) @ scaled)
        return tokens + features.to(tokens.dtype)
