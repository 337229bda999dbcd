"""AaPE removed with all else unchanged, and all else removed with AaPE unchanged; with the controls that show why."""

from __future__ import annotations

from aasp.aliasing.ablation.suite import Cell, Suite

FULL = Cell("full", "the whole system")
CONV = FULL.but("conv", "what is AaPE worth?", model__stem="conv")
WIDE = FULL.but("wide", "does a window beyond the patch help?", model__stem__taps="48")
LOWPASS = FULL.but("lowpass", "and against removing what would alias?", model__stem="lowpass")
FIXED = FULL.but("fixed", "are estimated parameters better than fixed ones?", model__stem__parameters="fixed")
FIXED_LINEAR = FIXED.but(
    "fixed-linear",
    "the negative control: linear in the patch, it can hold nothing that the conv token can't",
    model__stem__magnitude="false",
)
WIDE_GAUSSIAN = WIDE.but("wide-gaussian", "is it the two-sided exponential?", model__stem__window="gaussian")
WIDE_EVEN = WIDE.but("wide-even", "and the phase?", model__stem__phase="even")
NO_CONTRASTIVE = FULL.but("no-contrastive", "what is the contrastive loss worth?", losses__contrastive="0")
CONV_NO_CONTRASTIVE = CONV.but("conv-no-contrastive", "and without AaPE?", losses__contrastive="0")

SUITE = Suite(
    "isolation",
    "what AaPE and the contrastive loss are worth, each with the other and without",
    (
        FULL,
        CONV,
        WIDE,
        LOWPASS,
        FIXED,
        FIXED_LINEAR,
        WIDE_GAUSSIAN,
        WIDE_EVEN,
        NO_CONTRASTIVE,
        CONV_NO_CONTRASTIVE,
    ),
)
