"""Pieces and recurrences against the plain formulas, differentiated by autograd."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.utils.checkpoint

from aasp.numerics import pieces
from aasp.numerics.exponentials import exponential_sums
from aasp.stems.aape import AaPE, AaPEConfig
from aasp.stems.sblu import bilateral_laplace
from aasp.stems.windowed import around

OPTIONS = list(itertools.product(("even", "conjugate"), ("two-sided", "one-sided", "hann"), ("paper", "unit")))


def plain(v, alpha, beta, phase, window, gain):
    """The formulas as they are written, over materialised complex kernels; autograd differentiates them."""
    taps, rate = v.shape[-1], torch.complex(alpha, beta)[..., None]
    m = torch.arange(taps) - (taps - 1) / 2
    if window == "one-sided":
        w = (1 - torch.exp(-rate)) / rate * torch.exp(-rate * (taps - 1 - torch.arange(taps)))
    elif window == "two-sided":
        w = 2 / rate * torch.where(m == 0, 1 - torch.exp(-rate / 2), torch.sinh(rate / 2) * torch.exp(-rate * m.abs()))
    else:
        length = (7.03 / alpha[..., None]).clamp_max(taps)
        envelope = (m.abs() <= length / 2) * (0.5 + 0.5 * torch.cos(2 * torch.pi * m.abs() / length))
        w = envelope * torch.exp(-1j * beta[..., None] * m.abs())
    if phase == "conjugate" and window != "one-sided":
        w = torch.where(m < 0, w.conj(), torch.where(m == 0, torch.complex(w.real, 0 * w.real), w))
    if gain == "unit":
        w = w / w.abs().square().sum(-1, keepdim=True).sqrt()
    y = (w * v).sum(-1)
    return y.real, y.imag


def draw(shape: tuple[int, ...], taps: int, alpha_shape: tuple[int, ...] | None = None) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(taps)
    v = torch.randn(*shape, taps, generator=generator)
    alpha = torch.empty(shape if alpha_shape is None else alpha_shape).uniform_(0.02, 1, generator=generator)
    beta = torch.empty(shape).uniform_(0.2, 3.14, generator=generator)
    return [x.requires_grad_() for x in (v, alpha, beta)]


def results(function, inputs: list[torch.Tensor], **options: str) -> list[torch.Tensor]:
    """Both parts and all gradients."""
    parts = function(*inputs, **options)
    weights = [torch.linspace(-1, 1, part.numel()).view_as(part) for part in parts]
    return [*parts, *torch.autograd.grad(parts, inputs, weights)]


def agree(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6 + 1e-5 * b.abs().max().item() if b.numel() else 0)


@pytest.mark.parametrize("taps", [1, 2, 7, 16, 64])
@pytest.mark.parametrize(("phase", "window", "gain"), OPTIONS)
def test_values_and_gradients_in_single_precision(
    taps: int, phase: str, window: str, gain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In seven whole pieces and a part of one, and broadcast decays."""
    monkeypatch.setitem(pieces.POINTS, "cpu", 3 * 4 * 5)
    inputs = draw((4, 22, 5), taps, (22, 1))
    options = dict(phase=phase, window=window, gain=gain)
    agree(results(bilateral_laplace, inputs, **options), results(plain, inputs, **options))


@pytest.mark.parametrize("points", [1, 7, 10**6])
def test_pieces_of_any_size_and_windows_that_overlap(points: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pieces.POINTS, "cpu", points)
    signal, (_, alpha, beta) = torch.randn(3, 48, 5, requires_grad=True), draw((3, 5, 5), 16)
    options = dict(phase="conjugate", window="two-sided", gain="unit")
    found, expected = (
        results(lambda u, *rest, f=f: f(u.unfold(1, 16, 8), *rest, **options), [signal, alpha, beta])
        for f in (bilateral_laplace, plain)
    )
    agree(found, expected)


@pytest.mark.parametrize("taps", [6, 8, 14, 22])
def test_windows_around_patches_are_those_of_the_padded_signal(taps: int) -> None:
    patches = torch.randn(2, 5, 3, 4, 2)
    margin = (taps - 4) // 2
    track = torch.nn.functional.pad(patches.permute(0, 2, 4, 1, 3).flatten(3), (margin, margin))
    found = around(patches, taps)
    assert torch.equal(found, track.unfold(3, taps, 4).permute(0, 3, 1, 2, 4)) and found.stride(3) == 1


def test_the_gradient_of_windows_lies_in_memory_as_they_do() -> None:
    signal, (_, alpha, beta) = torch.randn(3, 48, 5, requires_grad=True), draw((3, 5, 5), 16)
    windows = signal.unfold(1, 16, 8)
    real, _ = bilateral_laplace(windows, alpha, beta)
    (found,) = torch.autograd.grad(real.sum(), windows)
    assert found.stride() == (5 * 16 * 5, 16 * 5, 1, 5)


def test_only_inputs_that_require_a_gradient_get_one() -> None:
    for asking in range(3):
        inputs = [x.detach().requires_grad_(i == asking) for i, x in enumerate(draw((2, 3), 6))]
        sum(part.sum() for part in bilateral_laplace(*inputs)).backward()
        assert [x.grad is not None for x in inputs] == [i == asking for i in range(3)]


def test_an_empty_batch_has_empty_gradients() -> None:
    inputs = draw((0, 3), 16)
    assert [tuple(x.shape) for x in results(bilateral_laplace, inputs)] == [(0, 3)] * 2 + [(0, 3, 16)] + [(0, 3)] * 2


def test_the_gradient_refuses_to_be_differentiated() -> None:
    inputs = draw((2, 3), 6)
    with pytest.raises(RuntimeError, match="create_graph"):
        torch.autograd.grad(bilateral_laplace(*inputs)[0].sum(), inputs, create_graph=True)


@pytest.mark.parametrize("chirped", [False, True])
@pytest.mark.parametrize("order", ["outwards", "folded", "backwards"])
@pytest.mark.parametrize("taps", [1, 2, 5, 8])
def test_exponential_sums_and_their_gradients(order: str, taps: int, chirped: bool) -> None:
    generator = torch.Generator().manual_seed(taps)
    v, points = (torch.randn(*shape, generator=generator).double() for shape in ((3, taps), (4 + chirped, 3)))
    alpha, beta, re, im, *gamma = points
    half, first = taps // 2, 0 if order == "backwards" else (1 + taps % 2) / 2
    sides = {"backwards": [v.flip(-1)], "outwards": [v[:, :half].flip(-1), v[:, taps - half :]]}
    sides["folded"] = [sum(sides["outwards"])]
    j, signs = torch.arange(sides[order][0].shape[-1]).double(), [-1, 1] if order == "outwards" else [1]
    weight, rate = torch.complex(re, im)[:, None], torch.complex(alpha, beta)[:, None]
    phase = sum(gamma, torch.zeros(3).double())[:, None] * (j + first).square() / 2
    by_side = zip(signs, sides[order], strict=True)
    sums = [(weight * torch.exp(-rate * j - 1j * sign * phase) * side).sum(-1) for sign, side in by_side]
    expected = sums[1] + sums[0].conj() if order == "outwards" else sums[0]
    torch.testing.assert_close(torch.complex(*exponential_sums(v, order, *points)), expected)
    inputs = [tensor.requires_grad_() for tensor in (v, *points)]
    assert torch.autograd.gradcheck(lambda v, *points: exponential_sums(v, order, *points), inputs)


def test_the_stem_is_exported_for_any_number_of_clips() -> None:
    stem = AaPE(32, 64, AaPEConfig(states=4, encoder_width=16)).eval()
    clips = torch.export.Dim("clips", min=2, max=64)
    program = torch.export.export(stem, (torch.randn(2, 32, 64),), dynamic_shapes=({0: clips},))
    mel = torch.randn(5, 32, 64)
    torch.testing.assert_close(program.module()(mel), stem(mel), rtol=1e-5, atol=1e-5)
    assert not any(name in str(node.target) for node in program.graph.nodes for name in ("complex", "polar"))


def test_compiled_graphs_hold_the_same_gradients() -> None:
    inputs = draw((2, 3), 6)
    compiled = torch.compile(bilateral_laplace, backend="aot_eager", fullgraph=True)
    agree(results(compiled, inputs), results(bilateral_laplace, inputs))


@pytest.mark.slow
def test_compiled_graphs_take_clips_of_any_length() -> None:
    stem = AaPEConfig(patch=(4, 8), taps=6, states=3, encoder_width=8, encoder_heads=2).build(8, 16)
    compiled = torch.compile(stem, backend="aot_eager", fullgraph=True, dynamic=True)
    for frames in (8, 12, 20):
        mel = torch.randn(2, frames, 16, generator=torch.Generator().manual_seed(frames))
        for one in (stem, compiled):
            one(mel).square().sum().backward()
            found = [parameter.grad for parameter in stem.parameters() if parameter.grad is not None]
            stem.zero_grad()
            if one is stem:
                expected = found
        agree(found, expected)


def test_activations_can_be_computed_again_in_the_backward_pass() -> None:
    stem = AaPEConfig(patch=(4, 8), taps=6, states=3, encoder_width=8, encoder_heads=2).build(8, 16)
    mel = torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (expected,) = torch.autograd.grad(stem(mel).square().sum(), mel)
    again = torch.utils.checkpoint.checkpoint(stem, mel, use_reentrant=False)
    agree([torch.autograd.grad(again.square().sum(), mel)[0]], [expected])


@pytest.mark.parametrize("gain", ["paper", "unit"])
def test_windows_that_end_at_once_have_finite_gradients(gain: str) -> None:
    v, _, beta = draw((4,), 9)
    alpha = torch.tensor([60.0, 95.0, 120.0, 200.0], requires_grad=True)
    found = results(bilateral_laplace, [v, alpha, beta], phase="conjugate", window="two-sided", gain=gain)
    assert all(one.isfinite().all() for one in found)
