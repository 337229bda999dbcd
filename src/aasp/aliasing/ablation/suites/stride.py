"""Time strides of 4 to 32 frames at an equal patch area of 256: as many tokens, another post-patch Nyquist frequency.

Taps go with the stride: the SBLU's window is two patches long, as in `full`, whose stride is 8 frames.
"""

from __future__ import annotations

from aasp.aliasing.ablation.suite import Cell, Suite
from aasp.aliasing.ablation.suites.isolation import CONV, FULL


def at_stride(frames: int) -> tuple[Cell, Cell]:
    """AaPE and the convolution at a stride; the one is compared with `full`, the other with the one."""
    patch = f"{frames},{256 // frames}"
    aape = FULL.but(
        f"stride-{frames}",
        f"a post-patch Nyquist frequency of {50 / frames:g} Hz",
        model__stem__patch=patch,
        model__stem__taps=str(2 * frames),
    )
    stem = {"model.stem": "conv", "model.stem.patch": patch}
    conv = Cell(f"conv-stride-{frames}", "what is AaPE worth there?", stem, aape.name)
    return aape, conv


SUITE = Suite(
    "stride",
    "time strides of 4, 8, 16 and 32 frames at equal patch area, with AaPE and without",
    (FULL, CONV, *at_stride(4), *at_stride(16), *at_stride(32)),
)
