"""The front end and the stem of a model, built and checked: both may be a user's own."""

from __future__ import annotations

from aasp.errors import AaspError
from aasp.features import FrontEnd, FrontEndConfig
from aasp.stems import Stem, StemConfig


def built(frontend: FrontEndConfig, stem: StemConfig, width: int) -> tuple[FrontEnd, Stem]:
    """The modules of two configurations.

    Args:
        frontend, stem: their configurations.
        width: token width D.

    Raises:
        AaspError: one is not derived from its contract, or the stem has another patch than its configuration.
    """
    made = frontend.build(), stem.build(width, frontend.bins)
    for part, config, contract in zip(made, (frontend, stem), (FrontEnd, Stem), strict=True):
        if not isinstance(part, contract):
            text = f"{type(config).__name__}.build gives {type(part).__name__}, which does not derive from"
            raise AaspError(f"{text} {contract.__module__}.{contract.__qualname__}; let it derive from that")
    if tuple(made[1].patch) != tuple(stem.patch):
        text = f"{type(stem).__name__} has patch {tuple(stem.patch)}, and the stem that it builds {made[1].patch}"
        raise AaspError(f"{text}; let both have the same")
    return made
