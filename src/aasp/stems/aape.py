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

from aasp.errors import AaspError
from aasp.stems.contract import Stem, take
from aasp.stems.conv import PatchProjection
from aasp.stems.lambda_encoder import LambdaEncoder, bounded, start_logits
from aasp.stems.sblu import Gain, Phase, Window, bilateral_laplace


@dataclass(frozen=True)
class AaPEConfig:
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
    encoder_width: int = 64
    encoder_depth: int = 1
    encoder_heads: int = 4
    frames_per_token: int = 2

    def __post_init__(self) -> None:
        frames = self.patch[0]
        if self.taps < frames or (self.taps - frames) % 2:
            raise AaspError(
                f"stem: taps {self.taps} must be the patch's {frames} frames plus an even number, so that the window "
                f"is centred on the patch; try {frames}, {2 * frames} or {3 * frames}"
            )
        if frames % self.frames_per_token:
            raise AaspError(f"stem: frames_per_token {self.frames_per_token} must divide the patch's {frames} frames")
        if self.encoder_width % self.encoder_heads:
            raise AaspError(f"stem: encoder_heads {self.encoder_heads} must divide encoder_width {self.encoder_width}")


class AaPE(Stem):
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
        super().__init__(width, mels, config.patch)
        self.config = c = config
        self.project = PatchProjection(self.patch, width)
        self.input_matrix = nn.Linear(self.patch[1], c.states, bias=False)
        if c.parameters == "estimated":
            sizes = (c.encoder_width, c.encoder_depth, c.encoder_heads, c.frames_per_token)
            self.lambda_encoder = LambdaEncoder(self.patch, self.subbands, c.states, *sizes)
        else:
            logits = start_logits(c.states, self.patch[0]).expand(self.subbands, 2, -1).clone()
            self.logits = nn.Parameter(logits, requires_grad=c.parameters == "learned")
        self.output_matrix = nn.Linear(3 * c.states, width)
        self.norm = nn.LayerNorm(width)
        self.fuse = nn.Linear(2 * width, width)
        with torch.no_grad():  # at step 0 the token is the conv token
            self.fuse.weight.copy_(torch.eye(width, 2 * width))
            self.fuse.bias.zero_()

    @property
    def receptive_field(self) -> int:
        return self.config.taps

    def forward(self, mel_BTM: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        patches = self.cut(mel_BTM)
        windows = self.windows(patches)
        if self.config.taps > self.patch[0]:
            everything = windows.new_ones(len(windows), windows.shape[1] * self.subbands)
            windows = windows * self._seen(everything if valid_BN is None else valid_BN)
        y = self._sblu(windows, *self.parameters_of(patches))
        return self._fused(patches, y).flatten(1, 2)

    def views(self, mel_BTM: Tensor, visible_BVn: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        if self.config.taps == self.patch[0]:
            return super().views(mel_BTM, visible_BVn, valid_BN)
        # The signal and its parameters once per clip; the inner product once per view, with what it may not see zeroed.
        patches = self.cut(mel_BTM)
        visible_BVN = torch.zeros(*visible_BVn.shape[:2], patches.shape[1] * self.subbands, device=mel_BTM.device)
        visible_BVN = visible_BVN.scatter(2, visible_BVn, 1.0)
        if valid_BN is not None:
            visible_BVN = visible_BVN * valid_BN[:, None]
        pick = lambda x: take(x.flatten(1, 2), visible_BVn)
        seen = self._seen(visible_BVN.flatten(0, 1)).flatten(1, 2).unflatten(0, visible_BVn.shape[:2])
        seen = torch.take_along_dim(seen, visible_BVn[..., None, None], dim=2)
        alpha, beta = self.parameters_of(patches)
        y = self._sblu(pick(self.windows(patches)) * seen, pick(alpha), pick(beta))
        return self._fused(pick(patches), y)

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
        signal = self.input_matrix(patches).float()  # (B, G, F, P, S)
        mean = signal.mean(3, keepdim=True).transpose(3, 4)
        margin = (self.config.taps - self.patch[0]) // 2
        if margin == 0:
            return signal.transpose(3, 4) - mean
        frames = functional.pad(signal.permute(0, 2, 4, 1, 3).flatten(3), (margin, margin))
        return frames.unfold(3, self.config.taps, self.patch[0]).permute(0, 3, 1, 2, 4) - mean

    def _seen(self, seen_BN: Tensor) -> Tensor:
        """Which taps lie in patches that are seen, 0 or 1, shape (B, G, F, 1, K)."""
        columns = seen_BN.float().unflatten(1, (-1, self.subbands)).transpose(1, 2)  # (B, F, G)
        margin = (self.config.taps - self.patch[0]) // 2
        frames = functional.pad(columns.repeat_interleave(self.patch[0], dim=2), (margin, margin))
        return frames.unfold(2, self.config.taps, self.patch[0]).transpose(1, 2).unsqueeze(3)

    def _sblu(self, windows: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        """SBLU features (..., 3 S): both parts of y, and its log-magnitude, which no linear stem could hold."""
        c = self.config
        with torch.autocast(windows.device.type, enabled=False):
            real, imag = bilateral_laplace(windows, alpha, beta, phase=c.phase, window=c.window, gain=c.gain)
            magnitude = 0.5 * torch.log(real.square() + imag.square() + 1e-6)
        return torch.cat([real, imag, magnitude], dim=-1)

    def _fused(self, patches: Tensor, y: Tensor) -> Tensor:
        """fuse(concat(project(patches), norm(output_matrix(y)))), with the linear maps multiplied before any token is.

        All that is not linear in the norm is a token's deviation, whose square is a quadratic form in y. So nothing but
        the token itself is as wide as a token, and no token is multiplied by a matrix of width by width.
        """
        by_conv, by_sblu = self.fuse.weight.split(self.width, dim=1)
        constant = by_conv @ self.project.bias + by_sblu @ self.norm.bias + self.fuse.bias
        tokens = functional.linear(patches.flatten(-2), by_conv @ self.project.weight, constant)
        with torch.autocast(y.device.type, enabled=False):
            weight, bias = self.output_matrix.weight, self.output_matrix.bias
            centred = torch.cat([weight - weight.mean(0), (bias - bias.mean())[:, None]], dim=1)
            y = functional.pad(y, (0, 1), value=1.0)
            variance = (y @ (centred.T @ centred / self.width) * y).sum(-1, keepdim=True).clamp_min(0)
            y = y * torch.rsqrt(variance + self.norm.eps)
            features = (by_sblu * self.norm.weight) @ centred
        return tokens + functional.linear(y, features).to(tokens.dtype)
