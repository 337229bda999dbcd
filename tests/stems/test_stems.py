"""Properties of every stem: its grid, and that no visible token carries masked content."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from aasp.errors import AaspError
from aasp.stems.aape import AaPE, AaPEConfig, by_merged_maps
from aasp.stems.contract import Stem, gather_patches
from aasp.stems.conv import ConvConfig, ConvStem
from aasp.stems.lambda_encoder import ALPHA_RANGE, beta_range
from aasp.stems.lowpass import LowpassConfig, LowpassStem
from aasp.stems.polyphase import PolyphaseConfig, PolyphaseStem
from aasp.stems.sblu import bilateral_laplace
from aasp.stems.state_space import MambaConfig, MambaStem, S4DConfig, S4DStem

WIDTH, MELS, FRAMES = 32, 64, 96
STEMS = {
    "conv": lambda: ConvStem(WIDTH, MELS),
    "conv 8x32": lambda: ConvStem(WIDTH, MELS, ConvConfig(patch=(8, 32))),
    "lowpass": lambda: LowpassStem(WIDTH, MELS),
    "lowpass 8x32": lambda: LowpassStem(WIDTH, MELS, LowpassConfig(patch=(8, 32), taps=24)),
    "lowpass, trained": lambda: LowpassStem(WIDTH, MELS, LowpassConfig(taps=32, trained=True)),
    "polyphase": lambda: PolyphaseStem(WIDTH, MELS),
    "polyphase, filtered": lambda: PolyphaseStem(WIDTH, MELS, PolyphaseConfig(taps=48, offsets=2, trained=True)),
    "s4d": lambda: S4DStem(WIDTH, MELS),
    "s4d, wide": lambda: S4DStem(WIDTH, MELS, S4DConfig(taps=48, magnitude=False)),
    "mamba": lambda: MambaStem(WIDTH, MELS),
    "mamba, wide": lambda: MambaStem(WIDTH, MELS, MambaConfig(taps=32, signals=8)),
    "overlap": lambda: ConvStem(WIDTH, MELS, ConvConfig(taps=32)),
    "overlap, three patches": lambda: ConvStem(WIDTH, MELS, ConvConfig(taps=48)),
    **{
        name: lambda fields=fields: AaPE(WIDTH, MELS, AaPEConfig(states=4, encoder_width=16, **fields))
        for name, fields in {
            "local": {},
            "local even": {"phase": "even", "gain": "paper"},
            "wide": {"taps": 48},
            "wide even": {"taps": 32, "phase": "even"},
            "wide one-sided": {"taps": 48, "window": "one-sided"},
            "wide learned": {"taps": 64, "parameters": "learned"},
            "fixed": {"parameters": "fixed"},
            "fixed, linear": {"parameters": "fixed", "magnitude": False},
            "no convolution": {"conv": False},
            "wide, no convolution": {"conv": False, "taps": 48},
            "8x32": {"patch": (8, 32), "taps": 24},
        }.items()
    },
}


@pytest.fixture(params=STEMS)
def stem(request: pytest.FixtureRequest) -> Stem:
    torch.manual_seed(0)
    stem = STEMS[request.param]()
    if hasattr(stem, "fuse"):  # at step 0 the branch beside the convolution is zero: make it count
        with torch.no_grad():
            stem.fuse.weight.add_(0.1 * torch.randn_like(stem.fuse.weight))
    return stem.eval()


def perturb(mel: torch.Tensor, stem: Stem, patches: list[int]) -> torch.Tensor:
    """Noise in the named patches of every clip."""
    (frames, bins), subbands = stem.patch, stem.subbands
    mel = mel.clone()
    for n in patches:
        g, f = divmod(n, subbands)
        block = mel[:, g * frames : (g + 1) * frames, f * bins : (f + 1) * bins]
        block += torch.randn_like(block)
    return mel


@torch.no_grad()
def test_views_carry_nothing_of_masked_patches(stem: Stem) -> None:
    mel = torch.randn(2, FRAMES, MELS)
    patches = math.prod(stem.grid(FRAMES))
    visible = torch.stack([torch.randperm(patches)[: patches // 4] for _ in range(6)]).view(2, 3, -1)
    before = stem.views(mel, visible)
    for clip in range(2):
        for view in range(3):
            hidden = sorted(set(range(patches)) - set(visible[clip, view].tolist()))
            after = stem.views(perturb(mel, stem, hidden), visible)
            torch.testing.assert_close(after[clip, view], before[clip, view], rtol=0, atol=0)
            seen = stem.views(perturb(mel, stem, visible[clip, view].tolist()), visible)
            assert ((seen - before)[clip, view].abs().amax(-1) > 1e-3).all()


@torch.no_grad()
def test_a_patch_moves_only_tokens_whose_receptive_field_holds_it(stem: Stem) -> None:
    if isinstance(stem, PolyphaseStem):  # where patches begin is one choice for the clip: here always the same
        stem.chosen = lambda tokens, seen: torch.ones(tokens.shape[:2], dtype=torch.long)
    mel = torch.randn(1, FRAMES, MELS)
    columns, subbands = stem.grid(FRAMES)
    column, subband = columns // 2, 1
    moved = (stem(perturb(mel, stem, [column * subbands + subband])) - stem(mel)).abs().amax(-1).view(columns, subbands)
    reach = math.ceil((stem.receptive_field - stem.patch[0]) / 2 / stem.patch[0])
    for g in range(columns):
        for f in range(subbands):
            near = f == subband and abs(g - column) <= reach
            assert near or moved[g, f] == 0, f"patch ({g}, {f}) moved"
    assert moved[column, subband] > 1e-3


@torch.no_grad()
def test_a_view_of_everything_is_the_full_view(stem: Stem) -> None:
    mel = torch.randn(2, FRAMES, MELS)
    everything = torch.arange(math.prod(stem.grid(FRAMES))).expand(2, 1, -1)
    torch.testing.assert_close(stem.views(mel, everything)[:, 0], stem(mel), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_padding_moves_no_valid_token(stem: Stem) -> None:
    mel = torch.randn(1, FRAMES, MELS)
    frames = torch.tensor([FRAMES - 37])
    short = mel[:, : frames[0]]
    padded = torch.cat([short, torch.zeros(1, FRAMES - frames[0], MELS)], dim=1)
    valid = stem.valid_patches(frames, FRAMES)
    alone = stem(short)
    torch.testing.assert_close(stem(padded, valid)[:, : alone.shape[1]], alone, rtol=1e-5, atol=1e-5)
    assert valid.sum() == alone.shape[1]
    visible = torch.arange(0, alone.shape[1], 3).expand(1, 1, -1)
    torch.testing.assert_close(stem.views(padded, visible, valid), stem.views(short, visible), rtol=1e-5, atol=1e-5)


def test_grid_counts_a_partial_patch(stem: Stem) -> None:
    frames = stem.patch[0]
    assert stem.grid(frames)[0] == 1
    assert stem.grid(frames + 1)[0] == 2
    assert stem(torch.randn(1, frames + 1, MELS)).shape == (1, 2 * stem.subbands, WIDTH)


def test_aape_starts_as_the_conv_stem() -> None:
    aape, conv = AaPE(WIDTH, MELS), ConvStem(WIDTH, MELS)
    conv.project.load_state_dict(aape.project.state_dict())
    mel = torch.randn(2, FRAMES, MELS)
    torch.testing.assert_close(aape(mel), conv(mel), rtol=0, atol=1e-6)


def shaken(config: AaPEConfig, width: int = WIDTH) -> AaPE:
    """In double precision, and every weight off its start."""
    torch.manual_seed(0)
    stem = AaPE(width, MELS, config).double()
    with torch.no_grad():
        for parameter in stem.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return stem


@pytest.mark.parametrize("width", [16, 32])
@pytest.mark.parametrize("fields", [{}, {"conv": False}, {"magnitude": False}])
def test_the_folded_token_is_the_plain_one_and_so_are_its_gradients(width: int, fields: dict[str, Any]) -> None:
    stem = shaken(AaPEConfig(**fields), width)
    patches = stem.cut(torch.randn(2, FRAMES, MELS).double()).requires_grad_()
    found = []
    for form in (by_merged_maps, AaPE.plain):
        y = stem.sblu(stem.windows(patches), *stem.parameters_of(patches))
        tokens = form(stem, patches, y.double())
        weights = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(0)).double()
        found.append([tokens, *torch.autograd.grad((tokens * weights).sum(), [patches, *stem.parameters()])])
    assert len(found[0]) == 2 + len(list(stem.parameters()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_hooks_and_replaced_layers_use_the_plain_form() -> None:
    stem, mel = shaken(AaPEConfig()), torch.randn(2, FRAMES, MELS).double()
    folded_tokens, shapes = stem(mel), dict[str, torch.Size]()
    hooks = [
        getattr(stem, name).register_forward_hook(lambda one, given, out, name=name: shapes.update({name: out.shape}))
        for name in ("project", "output_matrix", "norm", "fuse")
    ]
    torch.testing.assert_close(stem(mel), folded_tokens)
    assert shapes == dict.fromkeys(("project", "output_matrix", "norm", "fuse"), (2, 6, 4, WIDTH))
    shapes.clear()
    for hook in hooks:
        hook.remove()
    stem(mel)
    assert not shapes

    class Doubled(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    doubled = Doubled(2 * WIDTH, WIDTH).double()
    doubled.load_state_dict(stem.fuse.state_dict())
    stem.fuse = doubled
    torch.testing.assert_close(stem(mel), 2 * folded_tokens)


def test_conv_stem_is_the_strided_convolution() -> None:
    stem, conv = ConvStem(WIDTH, MELS), torch.nn.Conv2d(1, WIDTH, 16, stride=16)
    with torch.no_grad():
        conv.weight.copy_(stem.project.weight.view(WIDTH, 1, 16, 16))
        conv.bias.copy_(torch.randn(WIDTH))
        stem.project.bias.copy_(conv.bias)
    mel = torch.randn(2, FRAMES, MELS)
    expected = conv(mel[:, None]).flatten(2).transpose(1, 2)
    torch.testing.assert_close(stem(mel), expected, rtol=1e-5, atol=1e-5)


def test_parameters_start_spread_over_the_band_and_stay_within_it() -> None:
    stem = AaPE(WIDTH, MELS)
    alpha, beta = stem.estimate(torch.randn(4, FRAMES, MELS))
    assert alpha.shape == beta.shape == (4, 6, 4, 16)
    centres = beta.mean((0, 1, 2)).log()
    steps = centres.diff()
    assert (steps > 0).all() and steps.max() < 3 * steps.mean()
    assert centres[0] < math.log(math.pi / 16) + 0.5 and centres[-1] > math.log(math.pi) - 0.5
    assert beta.std((0, 1, 2)).min() > 1e-3, "the Lambda Encoder's estimate must depend on its input"
    with torch.no_grad():
        stem.lambda_encoder.head.weight.mul_(1e4)
    for value, (low, high) in zip(
        stem.estimate(torch.randn(4, FRAMES, MELS)), (ALPHA_RANGE, beta_range(16)), strict=True
    ):
        assert value.min() >= low and value.max() <= high + 1e-6


def test_lambda_encoder_learns_a_rate() -> None:
    """Its in-patch positions let it read a modulation rate, whatever its phase: without them it could not."""
    torch.manual_seed(0)
    stem = AaPE(WIDTH, 16, AaPEConfig(states=1, encoder_width=32, encoder_depth=1))
    encoder = stem.lambda_encoder
    optimizer = torch.optim.Adam(encoder.parameters(), 5e-3)

    def modulated(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        rate, phase = torch.rand(count) * 2.5 + 0.4, torch.rand(count) * 2 * math.pi
        mel = torch.sin(rate[:, None] * torch.arange(16) + phase[:, None])
        return mel[..., None].expand(-1, -1, 16), rate

    for _ in range(150):
        mel, rate = modulated(128)
        loss = (stem.estimate(mel)[1].flatten() - rate).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    mel, rate = modulated(512)
    assert (stem.estimate(mel)[1].flatten() - rate).abs().mean() < 0.5 * (rate - rate.mean()).abs().mean()


def test_every_parameter_learns() -> None:
    stem = AaPE(WIDTH, MELS)
    with torch.no_grad():
        stem.fuse.weight.add_(0.1 * torch.randn_like(stem.fuse.weight))
    stem(torch.randn(2, FRAMES, MELS)).square().sum().backward()
    dead = [name for name, p in stem.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not dead


def test_no_complex_dtype_and_fp32_under_autocast() -> None:
    stem = AaPE(WIDTH, MELS)
    assert not any(p.is_complex() for p in [*stem.parameters(), *stem.buffers()])
    mel = torch.randn(2, FRAMES, MELS)
    with torch.autocast("cpu", torch.bfloat16):
        alpha, beta = stem.estimate(mel)
        assert stem(mel).isfinite().all()
    assert alpha.dtype == beta.dtype == torch.float32


def test_patches_are_gathered_for_all_views() -> None:
    tokens = torch.arange(24.0).view(2, 4, 3)
    index = torch.tensor([[[0, 3], [1, 2]], [[2, 2], [3, 0]]])
    assert torch.equal(gather_patches(tokens, index)[1, 0], tokens[1, [2, 2]])
    assert gather_patches(tokens, index).shape == (2, 2, 2, 3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"taps": 17}, "taps 17"), ({"taps": 8}, "taps 8"), ({"frames_per_token": 5}, "frames_per_token 5")],
)
def test_impossible_settings_are_refused_in_one_line(fields: dict, words: str) -> None:
    with pytest.raises(AaspError, match=words) as error:
        AaPEConfig(**fields)
    assert "\n" not in str(error.value)


def test_mel_bins_must_divide() -> None:
    with pytest.raises(AaspError, match="80 mel bins"):
        ConvStem(WIDTH, 80, ConvConfig(patch=(16, 32)))


@torch.no_grad()
def test_a_leaky_stem_leaks() -> None:
    torch.manual_seed(0)
    stem = AaPE(WIDTH, MELS, AaPEConfig(states=4, encoder_width=16, taps=48, leaky=True, conv=False))
    mel = torch.randn(1, FRAMES, MELS)
    visible = torch.tensor([[[8]]])  # of column 2; column 3 of the same subband is patch 12
    assert (stem.views(perturb(mel, stem, [12]), visible) - stem.views(mel, visible)).abs().max() > 1e-3
    torch.testing.assert_close(stem.views(mel, visible)[:, 0, 0], stem(mel)[:, 8])


@torch.no_grad()
def test_lowpass_blurs_every_frame_before_the_convolution() -> None:
    stem, mel = LowpassStem(WIDTH, MELS), torch.randn(1, FRAMES, MELS)
    weights = 1 + np.cos(np.pi * np.arange(-16, 17) / 17)
    blurred = np.zeros((FRAMES, MELS))
    for t in range(FRAMES):
        near = [k for k in range(-16, 17) if 0 <= t + k < FRAMES]
        share = weights[[k + 16 for k in near]]
        blurred[t] = share @ mel[0].numpy()[[t + k for k in near]] / share.sum()
    expected = stem.project(stem.cut(torch.from_numpy(blurred).float()[None])).flatten(1, 2)
    torch.testing.assert_close(stem(mel), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_lowpass_passes_slow_modulations_and_attenuates_aliasing_ones() -> None:
    stem, frame = LowpassStem(WIDTH, MELS), torch.arange(640) / 100
    constant = torch.ones(1, 640, MELS)
    expected = stem.project(stem.cut(constant)).flatten(1, 2)
    torch.testing.assert_close(stem(constant), expected, rtol=1e-4, atol=1e-5)
    some = torch.arange(0, 40 * 4, 7).expand(1, 1, -1)  # a view whose neighbours are hidden: no edge shows
    torch.testing.assert_close(stem.views(constant, some), expected[:, None, some[0, 0]], rtol=1e-4, atol=1e-5)

    def gain(hertz: float) -> float:
        smooth = stem.smooth.T @ torch.sin(2 * math.pi * hertz * frame).unfold(0, 48, 1).T
        return float(smooth.pow(2).mean().sqrt() * 2**0.5)

    assert gain(0.5) > 0.97 and abs(gain(100 / 34) - 0.5) < 0.02
    assert all(gain(hertz) < 0.03 for hertz in (6.25, 9.4, 12.5, 25.0, 40.0))


@torch.no_grad()
def test_overlap_is_the_longer_convolution_of_the_same_stride() -> None:
    stem = ConvStem(WIDTH, MELS, ConvConfig(taps=32))
    conv = torch.nn.Conv2d(1, WIDTH, (32, 16), stride=16, padding=(8, 0))
    conv.weight.copy_(stem.project.weight.view(WIDTH, 1, 32, 16))
    conv.bias.copy_(stem.project.bias)
    mel = torch.randn(2, FRAMES, MELS)
    torch.testing.assert_close(stem(mel), conv(mel[:, None]).flatten(2).transpose(1, 2), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_without_its_convolution_a_token_is_the_normalised_features() -> None:
    stem = shaken(AaPEConfig(conv=False))
    patches = stem.cut(torch.randn(2, FRAMES, MELS).double())
    y = stem.sblu(stem.windows(patches), *stem.parameters_of(patches))
    torch.testing.assert_close(by_merged_maps(stem, patches, y), stem.norm(stem.output_matrix(y)))


@torch.no_grad()
def test_a_stem_exposes_its_states_and_diagnostics() -> None:
    conv, stem, mel = ConvStem(WIDTH, MELS), AaPE(WIDTH, MELS), torch.randn(2, FRAMES, MELS)
    assert conv.states is None and conv.diagnostics(mel) == conv.gradient_diagnostics() == {}
    assert stem.states is stem and stem.stride == (16, 16)
    alpha, beta = stem.estimate(mel)
    responses = torch.stack(stem.responses(mel))
    expected = torch.stack(bilateral_laplace(stem.windows(stem.cut(mel)), alpha, beta, gain="unit"))
    assert torch.equal(responses, expected) and torch.equal(stem.pickup, stem.input_matrix.weight.double().sum(1))
    with_kernels = torch.stack(stem.kernels(alpha, beta)) * stem.windows(stem.cut(mel))
    torch.testing.assert_close(with_kernels.sum(-1), responses, rtol=1e-4, atol=1e-5)
    measured = stem.diagnostics(mel)
    near = (beta < math.pi / 16 + 0.02 * math.pi * 15 / 16) | (beta > math.pi - 0.02 * math.pi * 15 / 16)
    assert measured["alpha_mean"] == alpha.mean() and measured["beta_saturation"] == near.float().mean()
    assert set(measured) == {"window_cut"} | {
        f"{name}_{what}" for name in ("alpha", "beta") for what in ("mean", "spread", "saturation")
    }
    slow = stem.changed(lambda alpha, beta: (alpha, torch.full_like(beta, 0.25)))
    assert (slow.estimate(mel)[1] == 0.25).all() and not (stem.estimate(mel)[1] == 0.25).any()
    only = stem.with_all_features()(mel) - stem(mel)
    y = stem.sblu(*stem.analyse(stem.cut(mel)))
    torch.testing.assert_close(only, stem.norm(stem.output_matrix(y)).flatten(1, 2), rtol=1e-4, atol=1e-4)
    assert torch.equal(stem.with_all_features().silenced()(mel), stem(mel))


@pytest.mark.parametrize("config", [ConvConfig, AaPEConfig, LowpassConfig])
@pytest.mark.parametrize("taps", [0, 15, 17])
def test_windows_that_are_not_centred_on_the_patch_are_refused(config: type, taps: int) -> None:
    with pytest.raises(AaspError, match=f"stem: taps {taps} must be the patch's 16 frames plus an even number"):
        config(taps=taps)
