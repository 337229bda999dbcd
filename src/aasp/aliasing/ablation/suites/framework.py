"""The parts of the pre-training: losses, masks, predictor, targets, and whether masks are leak-free."""

from __future__ import annotations

from aasp.aliasing.ablation.suite import Suite
from aasp.aliasing.ablation.suites.isolation import FULL, NO_CONTRASTIVE, WIDE

VIEWS_16 = FULL.but("views-16", "sixteen masks a clip", masking__views="16")
VIEWS_16_ALONE = VIEWS_16.but("views-16-no-contrastive", "the same, without contrast", losses__contrastive="0")
ALL = FULL.but("predict-all", "all hidden patches are predicted", masking__predicted="1")

SUITE = Suite(
    "framework",
    "losses, masks, predictors, targets, and leakage",
    (
        FULL,
        NO_CONTRASTIVE,
        FULL.but("no-utterance", "what is the utterance loss worth?", losses__utterance="0"),
        VIEWS_16,
        VIEWS_16_ALONE,
        # One view has nothing to agree with: its contrastive loss is zero, so it stands against 16 without it.
        VIEWS_16_ALONE.but("views-1", "a single mask a clip", masking__views="1"),
        ALL,
        ALL.but("self-attention", "a predictor whose queries see each other", predictor__form="self"),
        ALL.but("convolutions", "a predictor of convolutions", predictor__form="conv"),
        FULL.but("reconstruction", "log-mel patches as targets", teacher__frame="patches"),
        FULL.but("both-targets", "layers and log-mel patches as targets", teacher__frame="layers+patches"),
        FULL.but("random-masks", "single patches are kept", masking__scheme="random"),
        FULL.but("structured-masks", "whole columns or subbands are kept", masking__scheme="structured"),
        WIDE,
        WIDE.but("wide-leaky", "windows that see into masked patches", model__stem__leaky="true"),
    ),
)
