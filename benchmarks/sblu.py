"""The SBLU's inner product, forward and backward, against the literal complex64 formula: time and memory.

usage: python benchmarks/sblu.py [--rounds N] [--threads N]

Both start from the same leaf tensors, all with gradients: the projected subband signal v = B u, (rows, frames, S),
where a row is one clip's subband, and decay and frequency of every patch and state, (rows, patches, S). Both cut the
signal into windows by `unfold`, a view with a hop of 16 frames, and backpropagate through it; both have the paper's
even phase and gain. The literal formula then materialises a complex kernel of K taps for every patch and state, its
exponent, and its product with the windows, and lets autograd keep what it needs of them. Ours materialises the gradient
of all windows, as the literal does too. Values and gradients of the two are compared before timing.

The cost of a chirp is measured on the unit alone, with the gradient of its rate, and on the stem that contains it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from aasp.stems.aape import AaPE, AaPEConfig
from aasp.stems.sblu import Gain, Phase, bilateral_laplace
from harness import Row, Spread, alternately, memory_growth, options, ratio, report

PATCH, SUBBANDS, PATCHES = 16, 8, 512
CASES = {(8, 16, 16): (">= 5", "<= 0.25"), (8, 64, 64): (">= 10", "<= 0.25"), (64, 16, 16): ("", "")}
"""Clips, states and taps, and the required ratios of time and memory."""
CHIRPED = {16: "", 48: "<= 1.3"}
"""Taps, and the required ratio of time with a chirp over that without, for unit and stem."""
TOLERANCE = 1e-5


def literal(signal: Tensor, alpha: Tensor, beta: Tensor, taps: int) -> tuple[Tensor, Tensor]:
    windows = signal.unfold(1, taps, PATCH)
    rate = torch.complex(alpha, beta)[..., None]
    offset = torch.arange(taps, device=signal.device) - (taps - 1) / 2
    kernel = 2 / rate * torch.sinh(rate / 2) * torch.exp(-rate * offset.abs())
    y = (kernel * windows).sum(-1)
    return y.real, y.imag


def ours(signal: Tensor, alpha: Tensor, beta: Tensor, taps: int) -> tuple[Tensor, Tensor]:
    return bilateral_laplace(signal.unfold(1, taps, PATCH), alpha, beta, phase="even", gain="paper")


WAYS = {"literal": literal, "ours": ours}


def prepare(way: str, clips: int, states: int, taps: int) -> Callable[[], list[Tensor]]:
    """Forward and backward on noise; the result has both parts of y and the three gradients."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    generator = torch.Generator().manual_seed(0)
    rows, columns = clips * SUBBANDS, PATCHES // SUBBANDS
    shape = (rows, columns, states)
    signal = torch.randn(rows, (columns - 1) * PATCH + taps, states, generator=generator)
    alpha = torch.empty(shape).uniform_(0.02, 1.0, generator=generator)
    beta = torch.empty(shape).uniform_(torch.pi / PATCH, torch.pi, generator=generator)
    weights = torch.randn(2, *shape, generator=generator).to(device)
    leaves = [leaf.to(device).requires_grad_() for leaf in (signal, alpha, beta)]

    def run() -> list[Tensor]:
        parts = WAYS[way](*leaves, taps)
        return [*(part.detach() for part in parts), *torch.autograd.grad(parts, leaves, tuple(weights))]

    return run


def prepare_unit(chirp: bool, taps: int, phase: Phase, gain: Gain) -> Callable[[], list[Tensor]]:
    """The unit on noise, forward and backward, with or without a separate chirp at every point."""
    generator = torch.Generator().manual_seed(0)
    rows, columns, states = shape = (8 * SUBBANDS, PATCHES // SUBBANDS, 16)
    signal = torch.randn(rows, (columns - 1) * PATCH + taps, states, generator=generator)
    ranges = ((0.02, 1.0), (torch.pi / PATCH, torch.pi), (-torch.pi / PATCH, torch.pi / PATCH))
    points = [torch.empty(shape).uniform_(*one, generator=generator) for one in ranges[: 2 + chirp]]
    leaves = [leaf.requires_grad_() for leaf in (signal, *points)]

    def run() -> list[Tensor]:
        alpha, beta, *gamma = leaves[1:]
        windows = leaves[0].unfold(1, taps, PATCH)
        parts = bilateral_laplace(windows, alpha, beta, phase=phase, gain=gain, gamma=gamma[0] if chirp else None)
        return list(torch.autograd.grad(parts, leaves, [torch.ones_like(part) for part in parts]))

    return run


def prepare_stem(chirp: bool, taps: int) -> Callable[[], None]:
    """AaPE on 8 clips of 512 frames, forward and backward."""
    torch.manual_seed(0)
    stem, mel = AaPE(192, config=AaPEConfig(taps=taps, chirp=chirp)), torch.randn(8, 512, 128)

    def run() -> None:
        stem(mel).square().sum().backward()
        stem.zero_grad()

    return run


def prepare_warm(way: str, *case: int) -> Callable[[], list[Tensor]]:
    """The same in a process that has run it once, so that loading code is not counted."""
    prepare(way, 1, 1, 16)()
    return prepare(way, *case)


def check(case: tuple[int, int, int]) -> float:
    """The largest difference between the two, over values and gradients, relative to each one's largest entry."""
    pairs = zip(*(prepare(way, *case)() for way in WAYS), strict=True)
    worst = max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)
    assert worst < TOLERANCE, f"{case}: the two differ by {worst:.1e}"
    return worst


def main() -> None:
    arguments = options(__doc__, rounds=5).parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for case, (faster, leaner) in CASES.items():
        clips, states, taps = case
        name = f"{clips} clips × {PATCHES} patches × {states} states × {taps} taps"
        worst = check(case)
        took = alternately({way: prepare(way, *case) for way in WAYS}, arguments.rounds)
        milliseconds = {way: 1e3 * Spread.of(values).median for way, values in took.items()}
        detail = f"{milliseconds['literal']:.0f} and {milliseconds['ours']:.0f} ms; they differ by {worst:.0e}"
        rows.append(Row(f"{name}: literal time / ours", ratio(took["literal"], took["ours"]), faster, detail))
        grew = {way: [memory_growth(prepare_warm, way, *case) for _ in range(3)] for way in WAYS}
        mib = {way: Spread.of(values).median for way, values in grew.items()}
        detail = f"{mib['ours']:.0f} and {mib['literal']:.0f} MiB beyond the inputs"
        rows.append(Row(f"{name}: our memory / literal", ratio(grew["ours"], grew["literal"]), leaner, detail))
    for taps, reach in CHIRPED.items():
        things = {
            "unit in even phase": partial(prepare_unit, taps=taps, phase="even", gain="paper"),
            "unit in conjugate phase": partial(prepare_unit, taps=taps, phase="conjugate", gain="unit"),
            "stem": partial(prepare_stem, taps=taps),
        }
        for what, prepared in things.items():
            took = alternately({"with": prepared(True), "without": prepared(False)}, arguments.rounds)
            milliseconds = {way: 1e3 * Spread.of(values).median for way, values in took.items()}
            detail = f"{milliseconds['with']:.0f} and {milliseconds['without']:.0f} ms"
            name = f"8 clips × {PATCHES} patches × 16 states × {taps} taps: the {what}, with a chirp / without"
            rows.append(Row(name, ratio(took["with"], took["without"]), reach, detail))
    report("sblu", rows, arguments.threads, tolerance=TOLERANCE)


if __name__ == "__main__":
    main()
