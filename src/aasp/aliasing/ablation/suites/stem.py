"""Stems, and every part of AaPE. Windows and phase are compared at 48 taps, where they differ at all: of a window of 16
taps at a decay of 0.1 a frame, 45 % is cut off."""

from __future__ import annotations

from aasp.aliasing.ablation.suite import Suite
from aasp.aliasing.ablation.suites.isolation import (
    CONV,
    FIXED,
    FIXED_LINEAR,
    FULL,
    LOWPASS,
    WIDE,
    WIDE_EVEN,
    WIDE_GAUSSIAN,
)

SUITE = Suite(
    "stem",
    "convolutions, and AaPE's parameters, windows, phases, taps, states and branches",
    (
        FULL,
        CONV,
        LOWPASS,
        FULL.but("overlap", "does a longer kernel do as well?", model__stem="conv", model__stem__taps="32"),
        FULL.but(
            "lowpass-trained", "and by filters that are learned?", model__stem="lowpass", model__stem__trained="true"
        ),
        FULL.but("polyphase", "is it where patches begin?", model__stem="polyphase"),
        FULL.but("s4d", "does a one-sided state space do?", model__stem="s4d"),
        FULL.but("mamba", "and one that depends on the sound?", model__stem="mamba"),
        FULL.but("learned", "does a parameter set for all patches do?", model__stem__parameters="learned"),
        FIXED,
        FIXED_LINEAR,
        FULL.but("no-magnitude", "is it the magnitude?", model__stem__magnitude="false"),
        FULL.but("no-conv", "does the SBLU do alone?", model__stem__conv="false"),
        FULL.but("even", "the phase as quoted from the paper", model__stem__phase="even"),
        FULL.but("paper-gain", "the gain as quoted from the paper", model__stem__gain="paper"),
        FULL.but("taps-32", "a window of 0.32 s", model__stem__taps="32"),
        WIDE,
        FULL.but("taps-64", "a window of 0.64 s", model__stem__taps="64"),
        WIDE_EVEN,
        WIDE_GAUSSIAN,
        WIDE.but("wide-one-sided", "are both sides needed?", model__stem__window="one-sided"),
        WIDE.but("wide-hann", "a window that ends", model__stem__window="hann"),
        WIDE.but("wide-rectangular", "a window with edges", model__stem__window="rectangular"),
        *(FULL.but(f"states-{count}", "how many states?", model__stem__states=str(count)) for count in (4, 8, 32, 64)),
    ),
)
