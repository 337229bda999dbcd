"""AaPE: convolutional patch tokens fused with adaptive features of the modulations that patching would alias.

    token = fuse [ project(x) ; norm(C y) ]        conv token, and features of equal rank
    y     = SBLU(windows of B x; Λ)                both parts of each state, and its log-magnitude
    Λ     = α, β (and γ) of each state             estimated by the Lambda Encoder from the patch x

Legend: B clips, G x F grid of patches, P frames x R mel bins of a patch, K taps, S states, D width.
Source: the paper's patch embedding (conv tokens, Lambda Encoder, SBLU, fusion); shapes, bounds, fusion and γ are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from aasp.casting import LayerNorm, widened, without_autocast
from aasp.config import ADDED_LATER, check_range
from aasp.errors import AaspError
from aasp.stems.contract import StemConfig
from aasp.stems.conv import PatchProjection
from aasp.stems.folding import by_merged_maps, has_hooks
from aasp.stems.lambda_encoder import (
    ALPHA_RANGE,
    LambdaEncoder,
    alpha_and_beta,
    as_blocks,
    beta_range,
    check_settings,
    chirped,
    gamma_range,
    health,
    of_patches,
    start_logits,
)
from aasp.stems.sblu import Complex, Gain, Phase, Window, bilateral_laplace
from aasp.stems.states import Change, States
from aasp.stems.windowed import WindowedStem, around, check_taps


@dataclass(frozen=True)
class AaPEConfig(StemConfig):
    """The aliasing-aware stem and its controls.

    Attributes:
        kind: the name of this stem in recipes.
        patch: (frames P, mel bins R) of one patch.
        taps: window K of the SBLU in frames; beyond P it reads those neighbouring patches that are visible to a view.
        states: SBLU states S per subband.
        phase: "conjugate" (envelope detector) or "even" (the paper's equation).
        window: the two-sided exponential or a control of the same bandwidth.
        gain: "paper" or "unit", see `bilateral_laplace`.
        parameters: decay and frequency "estimated" per patch, "learned" per subband and state, or "fixed".
        magnitude: also use the log-magnitude of every state, which a linear stem cannot represent.
        conv: fuse with the convolution's token; without it the token comes from the SBLU only.
        leaky: let masked views read masked patches in windows beyond P; a control, not for training.
        encoder_width: width of the Lambda Encoder.
        encoder_depth: its number of layers.
        encoder_heads: its attention heads.
        frames_per_token: neighbouring frames that form one of its tokens.
        chirp: let frequencies change within a window, by γ per frame, estimated or learned like them; initially zero.
        encoder_rate: learning rate of the Lambda Encoder, relative to all other parameters.
        encoder_gain: factor on the Lambda Encoder's output, by which estimates move from their initial values.
        alpha_range: bounds of the decay per frame.
        shared: (time patches, subbands) of a block with one Λ, estimated from its patches that are visible to a view.
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
    chirp: bool = field(default=False, metadata=ADDED_LATER)
    encoder_rate: float = field(default=1.0, metadata=ADDED_LATER)
    encoder_gain: float = field(default=1.0, metadata=ADDED_LATER)
    alpha_range: tuple[float, float] = field(default=ALPHA_RANGE, metadata=ADDED_LATER)
    shared: tuple[int, int] = field(default=(1, 1), metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        sizes = "patch states encoder_width encoder_heads frames_per_token shared"
        check_range(self, "stem", sizes, least=1, most=4_096)
        check_range(self, "stem", "encoder_depth", least=1, most=256)
        check_range(self, "stem", "encoder_rate encoder_gain alpha_range")
        check_taps(self.patch, self.taps)
        if self.chirp and self.parameters == "fixed":
            raise AaspError("stem: chirp with fixed parameters stays zero; set parameters to estimated or learned")
        if self.shares and self.parameters != "estimated":
            text = f"shared {self.shared[0]},{self.shared[1]} is about estimates, and parameters are {self.parameters}"
            raise AaspError(f"stem: {text}; set parameters to estimated")
        check_settings(self.patch[0], self.frames_per_token, self.encoder_width, self.encoder_heads, self.alpha_range)

    def build(self, width: int, mels: int) -> AaPE:
        return AaPE(width, mels, self)

    @property
    def shares(self) -> bool:
        """Whether several patches get one Λ."""
        return self.shared != (1, 1)


class AaPE(WindowedStem, States):
    """Aliasing-aware patch embedding, a drop-in for a transformer's patch convolution: (B, T, M) to (B, N, D).

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
        self.count, self.phase, self.window, self.gain, self.trained = c.states, c.phase, c.window, c.gain, c.parameters
        if c.conv:
            self.project = PatchProjection(self.patch, width)
        self.input_matrix = nn.Linear(self.patch[1], c.states, bias=False)
        if c.parameters == "estimated":
            if self.subbands % c.shared[1]:
                text = f"the second of shared {c.shared[0]},{c.shared[1]} must divide the {self.subbands} subbands"
                raise AaspError(f"stem: {text}")
            start = start_logits(c.states, self.patch[0], c.alpha_range)
            block = (self.patch[0] * c.shared[0], self.patch[1] * c.shared[1]), self.subbands // c.shared[1]
            sizes = (c.encoder_width, c.encoder_depth, c.encoder_heads, c.frames_per_token * c.shared[0])
            self.lambda_encoder = LambdaEncoder(*block, start, *sizes, c.chirp, c.encoder_gain)
        else:
            logits = start_logits(c.states, self.patch[0], c.alpha_range).expand(self.subbands, 2, -1).clone()
            self.logits = nn.Parameter(logits, requires_grad=c.parameters == "learned")
            if c.chirp:
                self.chirp_logits = nn.Parameter(torch.zeros(self.subbands, 1, c.states))
        self.output_matrix = nn.Linear((2 + c.magnitude) * c.states, width)
        self.norm = LayerNorm(width)
        if c.conv:
            self.fuse = nn.Linear(2 * width, width)
            with torch.no_grad():  # at step 0 the token is the conv token
                self.fuse.weight.copy_(torch.eye(width, 2 * width))
                self.fuse.bias.zero_()

    @property
    def receptive_field(self) -> int:
        return max(self.taps, (2 * self.config.shared[0] - 1) * self.patch[0])

    @property
    def sees_its_patch_only(self) -> bool:
        return self.taps == self.patch[0] and not self.config.shares  # in strict exports super()'s property is true

    def analyse(self, patches: Tensor) -> tuple[Tensor, ...]:
        return (self.windows(patches), *(() if self.config.shares else self.parameters_of(patches)))

    def view_context(self, patches: Tensor, seen_BVN: Tensor) -> tuple[Tensor, ...]:
        if not self.config.shares:
            return ()
        seen = seen_BVN.to(patches.dtype).unflatten(2, patches.shape[1:3])[..., None, None]
        found = self.parameters_of((patches[:, None] * seen).flatten(0, 1))
        return tuple(one.unflatten(0, seen.shape[:2]).flatten(2, 3) for one in found)

    def token(self, patches: Tensor, windows: Tensor, seen: Tensor | None, *others: Tensor) -> Tensor:
        y = self.sblu(windows, *others)
        return by_merged_maps(self, patches, y) if self._as_built() else self.plain(patches, y)

    def plain(self, patches: Tensor, y: Tensor) -> Tensor:
        """Tokens (..., D) of patches (..., P, R) and SBLU features (..., 3 S), computed as in the equation above."""
        features = self.norm(self.output_matrix(y.to(self.output_matrix.weight.dtype)))
        if not self.config.conv:
            return features
        conv_token = self.project(patches)
        return self.fuse(torch.cat([conv_token, features.to(conv_token.dtype)], dim=-1))

    def parameters_of(self, patches: Tensor) -> tuple[Tensor, ...]:
        """Λ: decay, frequency and, with `chirp`, the chirp rate, each (B, G, F, S), for patches (B, G, F, P, R)."""
        if self.config.parameters == "estimated":
            shared = self.config.shared
            logits = of_patches(self.lambda_encoder(as_blocks(patches, shared)), shared, patches.shape[1])
        else:
            logits = torch.cat([self.logits, self.chirp_logits], dim=1) if self.config.chirp else self.logits
            logits = logits.expand(*patches.shape[:2], -1, -1, -1)
        rates = (chirped(logits[..., 2, :], self.patch[0]),) if self.config.chirp else ()
        return *alpha_and_beta(logits, self.patch[0], self.config.alpha_range), *rates

    def windows(self, patches: Tensor) -> Tensor:
        """The projected subband signal around each patch, (B, G, F, S, K), minus the mean of the patch.

        The convolution's token carries the mean; in even phase it would dominate the modulations.
        """
        signal = widened(self.input_matrix(patches))  # (B, G, F, P, S)
        return around(signal, self.taps) - signal.mean(3, keepdim=True).transpose(3, 4)

    def sblu(self, windows: Tensor, *parameters: Tensor) -> Tensor:
        """SBLU features (..., 3 S): both parts of y, and its log-magnitude (..., 2 S without it)."""
        with without_autocast(windows):
            real, imag = self._analysed(windows, self.gain, *parameters)
            if not self.config.magnitude:
                return torch.cat([real, imag], dim=-1)
            magnitude = 0.5 * torch.log(real.square() + imag.square() + 1e-6)
        return torch.cat([real, imag, magnitude], dim=-1)

    def _analysed(
        self, windows: Tensor, gain: Gain, alpha: Tensor, beta: Tensor, gamma: Tensor | None = None
    ) -> Complex:
        return bilateral_laplace(windows, alpha, beta, phase=self.phase, window=self.window, gain=gain, gamma=gamma)

    def _as_built(self) -> bool:
        """Whether the modules of `plain` have their original types and no hooks: `by_merged_maps` can replace them."""
        return all(type(one) is kind and not has_hooks(one) for one, kind in self._maps())

    def _maps(self) -> Iterator[tuple[nn.Module, type[nn.Module]]]:
        yield self.output_matrix, nn.Linear
        yield self.norm, LayerNorm
        if self.config.conv:
            yield self.project, PatchProjection
            yield self.fuse, nn.Linear

    @torch.no_grad()
    def diagnostics(self, mel_BTM: Tensor) -> dict[str, Tensor]:
        """Mean, spread and saturation (share at a bound) of alpha, beta and gamma, and the truncated window mass."""
        values = self.parameters_of(self.cut(mel_BTM[:8]))
        every = (*self.bounds, gamma_range(self.patch[0]))
        return {"window_cut": torch.exp(-values[0] * self.taps / 2).mean()} | health(values, every)

    def gradient_diagnostics(self) -> dict[str, Tensor]:
        """Gradient norm of all parameters except the convolution's."""
        gradients = [p.grad for n, p in self.named_parameters() if p.grad is not None and not n.startswith("project.")]
        return {"sblu_gradient_norm": torch.stack(torch._foreach_norm(gradients)).norm()} if gradients else {}

    def estimate(self, mel_BTM: Tensor) -> tuple[Tensor, Tensor]:
        alpha, beta, *_ = self.parameters_of(self.cut(mel_BTM))
        return alpha, beta

    def responses(self, mel_BTM: Tensor, gain: Gain | None = None) -> Complex:
        patches = self.cut(mel_BTM)
        return self._analysed(self.windows(patches), gain or self.gain, *self.parameters_of(patches))

    @property
    def pickup(self) -> Tensor:
        return self.input_matrix.weight.detach().sum(1, dtype=torch.float64)

    @property
    def bounds(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return self.config.alpha_range, beta_range(self.patch[0])

    def start(self) -> tuple[Tensor, Tensor]:
        alphas = self.config.alpha_range
        return alpha_and_beta(start_logits(self.count, self.patch[0], alphas), self.patch[0], alphas)

    def learned(self) -> dict[str, Tensor]:
        """Decay and frequency, as the bias of the estimates or as learned; and the weights of each part."""
        estimated = self.config.parameters == "estimated"
        logits = self.lambda_encoder.head.bias.unflatten(0, (2, -1)) if estimated else self.logits
        alpha, beta = alpha_and_beta(logits.detach(), self.patch[0], self.config.alpha_range)
        read = {"decay (per frame)": alpha, "frequency (rad per frame)": beta} if self.trained != "fixed" else {}
        return read | {name: one for name, one in super().learned().items() if name != "logits"}

    def learning_rate_share(self, name: str) -> float:
        return self.config.encoder_rate if name.startswith("lambda_encoder.") else 1.0

    def untrained(self) -> AaPE:
        return AaPE(self.width, self.mels, self.config)

    def changed(self, change: Change) -> AaPE:
        other = deepcopy(self)

        def parameters_of(patches: Tensor) -> tuple[Tensor, ...]:
            alpha, beta, *rates = self.parameters_of(patches)
            return *change(alpha, beta), *rates

        other.parameters_of = parameters_of  # type: ignore[method-assign]
        return other

    @torch.no_grad()
    def silenced(self) -> AaPE:
        other = deepcopy(self)
        other.norm.weight.zero_()
        other.norm.bias.zero_()
        return other

    @torch.no_grad()
    def with_all_features(self) -> AaPE:
        other = deepcopy(self)
        if self.config.conv:
            other.fuse.weight[:, self.width :].copy_(torch.eye(self.width))
        return other
