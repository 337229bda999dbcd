"""What the parts of a model cost: transformer, predictor, stems, front end.

Legend: D width, R sequences (clips, or views of clips), N tokens of a sequence with its class token, P frames x M mel
bins of a patch, S states, K taps. Source: the modules of the same names in `model`, `pretrain`, `stems`, `features`.
"""

from __future__ import annotations

import math

from aasp.errors import AaspError
from aasp.features import FrontEndConfig
from aasp.features.logmel import LogMelConfig
from aasp.model.encoder import EncoderConfig
from aasp.planning.cost import Cost, attention, gelu, linear, norm, product
from aasp.pretrain.predictors import PredictorConfig
from aasp.stems import StemConfig
from aasp.stems.aape import AaPEConfig
from aasp.stems.conv import ConvConfig
from aasp.stems.lowpass import LowpassConfig


def encoder(config: EncoderConfig, sequences: int, tokens: int) -> Cost:
    """The transformer on R sequences of N tokens each, the class token included."""
    ends = norm(sequences * tokens, config.width) + Cost(parameters=config.width)
    return encoder_blocks(config, sequences, tokens) + ends


def encoder_blocks(config: EncoderConfig, sequences: int, tokens: int) -> Cost:
    """Its blocks alone."""
    rows, width = sequences * tokens, config.width
    block = (
        2 * norm(rows, width)
        + linear(rows, width, 3 * width)
        + attention(sequences, tokens, tokens, width)
        + linear(rows, width, width)
        + _mlp(rows, width, int(width * config.mlp_ratio))
    )
    return config.depth * block


def predictor(
    config: PredictorConfig, width: int, sequences: int, queries: int, tokens: int, patches: int, outputs: int
) -> Cost:
    """The predictor of any kind.

    Args:
        config: of the predictor.
        width: D.
        sequences: R views.
        queries: hidden patches that each asks for.
        tokens: visible tokens of each, the class token included.
        patches: of the grid, N.
        outputs: width of the targets.
    """
    rows, keys, inner = sequences * queries, sequences * tokens, config.width
    ends = linear(keys, width, inner) + norm(rows, inner) + linear(rows, inner, outputs) + Cost(parameters=inner)
    if config.form == "self":
        return ends + encoder_blocks(EncoderConfig(inner, config.depth, config.heads), sequences, queries + tokens)
    if config.form == "conv":
        one = linear(sequences * patches, 9 * inner // config.heads, inner) + gelu(sequences * patches, inner)
        return ends + config.depth * one
    block = (
        2 * norm(rows, inner)
        + linear(rows, inner, inner)
        + linear(keys, inner, 2 * inner)
        + attention(sequences, queries, tokens, inner)
        + linear(rows, inner, inner)
        + _mlp(rows, inner, 4 * inner)
    )
    return config.depth * block + Cost(kept=-(config.depth - 1) * 2 * keys * inner) + ends


def convolution(patch: tuple[int, int], width: int, patches: int) -> Cost:
    """The strided convolution, one linear map of each patch."""
    return linear(patches, patch[0] * patch[1], width, gradient=False)


def aape(config: AaPEConfig, width: int, subbands: int, patches: int, fused: int) -> Cost:
    """All of AaPE but its convolution.

    Args:
        config: of the stem.
        width: D.
        subbands: rows of patches.
        patches: whose signal and parameters are computed: all of every clip.
        fused: tokens that are analysed and fused: as many, or, beyond patch-local taps, those that the views see.
    """
    frames, states = config.patch[0], config.states
    signal = linear(patches * frames, config.patch[1], states, bias=False, gradient=False)
    # As many real products of a weight and a tap as there are taps on both sides: both parts, folded; or not folded.
    products = fused * states * config.taps * (2 if config.window == "one-sided" else 1)
    sblu = Cost(kept=4 * fused * states * (config.taps + 5), elementwise=2 * products)
    fusion = _fusion(config, width, fused)
    if config.parameters == "estimated":
        return signal + lambda_encoder(config, subbands, patches) + sblu + fusion
    learned = subbands * 2 * states if config.parameters == "learned" else 0
    return signal + Cost(parameters=learned) + sblu + fusion


def fusion_maps(config: StemConfig, width: int) -> Cost:
    """AaPE's linear maps, multiplied with each other once a call, before any token is; nothing for other stems."""
    if not isinstance(config, AaPEConfig):
        return Cost()
    inner = _features(config) + 1  # with the bias
    maps = product(inner, width, inner)
    if not config.conv:
        return maps
    return maps + product(width, width, config.patch[0] * config.patch[1]) + product(width, width, inner)


def _features(config: AaPEConfig) -> int:
    """SBLU features of a token."""
    return (2 + config.magnitude) * config.states


def _fusion(config: AaPEConfig, width: int, rows: int) -> Cost:
    """The features' share of each fused token; the parameters are those of all maps (see `fusion_maps`)."""
    inner = _features(config) + 1
    parameters = inner * width + 2 * width + (2 * width + 1) * width * config.conv
    kept = 3 * 4 * rows * inner  # y, and what the deviation is made of, in fp32
    return product(rows, inner, inner) + product(rows, inner, width) + Cost(parameters=parameters, kept=kept)


def low_pass(config: LowpassConfig, fused: int) -> Cost:
    """The filter, and what of it is seen, as products with a band matrix."""
    frames, mels = config.patch
    return Cost(2 * fused * (mels + 1) * config.taps * frames)  # the filter is not trained


def lambda_encoder(config: AaPEConfig, subbands: int, patches: int) -> Cost:
    """The shallow transformer inside each of so many patches."""
    width, tokens = config.encoder_width, config.patch[0] // config.frames_per_token
    rows = patches * tokens
    layer = (
        2 * norm(rows, width)
        + linear(rows, width, 3 * width)
        + attention(patches, tokens, tokens, width)
        + linear(rows, width, width)
        + _mlp(rows, width, 2 * width)
    )
    return (
        linear(rows, config.patch[1] * config.frames_per_token, width, gradient=False)
        + Cost(parameters=(tokens + subbands) * width)
        + config.encoder_depth * layer
        + norm(patches, width)
        + linear(patches, width, 2 * config.states)
    )


def stem(
    config: StemConfig, width: int, mels: int, patches: int, fused: int | None = None
) -> tuple[Cost, Cost]:
    """A stem's convolution, and the rest of it: filter, or AaPE.

    Args:
        config: of the stem.
        width: D.
        mels: mel bins of the front end.
        patches: of all clips.
        fused: see `aape`; as many as patches when left out.
    """
    fused = patches if fused is None else fused
    if isinstance(config, ConvConfig):
        return convolution((config.reach, config.patch[1]), width, fused), Cost()
    kernel = convolution(config.patch, width, fused)
    if isinstance(config, LowpassConfig):
        return kernel, low_pass(config, fused)
    assert isinstance(config, AaPEConfig)
    rest = aape(config, width, mels // config.patch[1], patches, fused)
    return kernel if config.conv else Cost(), rest


def front_end(config: FrontEndConfig, clips: int, samples: int) -> Cost:
    """Log-mel of waveforms of so many samples: the filter bank's product, and the FFT's 2.5 n log2(n) apart."""
    if not isinstance(config, LogMelConfig):
        raise AaspError(f"plan: {type(config).__name__} is not costed; plan with model.frontend=logmel")
    frames, bins = clips * config.frames(samples), config.fft // 2 + 1
    fft = round(2.5 * config.fft * math.log2(config.fft))
    return Cost(forward=2 * frames * bins * config.mels, elementwise=frames * fft)


def _mlp(rows: int, width: int, hidden: int) -> Cost:
    return linear(rows, width, hidden) + gelu(rows, hidden) + linear(rows, hidden, width)
