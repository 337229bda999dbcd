"""The weights of the losses, each a mean over tokens (or views) and channels."""

from __future__ import annotations

from aasp.aliasing.ablation.suite import Suite
from aasp.aliasing.ablation.suites.isolation import FULL

SUITE = Suite(
    "losses",
    "weights of the utterance and the contrastive loss, and the latter's temperature",
    (
        FULL,
        *(
            FULL.but(f"utterance-{weight}", "how much of the utterance loss?", losses__utterance=weight)
            for weight in ("0", "0.03", "0.3", "1")
        ),
        *(
            FULL.but(f"contrastive-{weight}", "how much of the contrastive loss?", losses__contrastive=weight)
            for weight in ("0.03", "0.3", "1", "3")
        ),
        *(
            FULL.but(f"temperature-{value}", "how sharp?", losses__temperature=value)
            for value in ("0.05", "0.2", "0.5")
        ),
    ),
)
