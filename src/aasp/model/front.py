"""The front end and the stem of a model, built and checked: both may be a user's own."""

from __future__ import annotations

from aasp.errors import AaspError
from aasp.features import FrontEnd, FrontEndConfig
from aasp.stems import Stem, StemConfig


def build_front(frontend: FrontEndConfig, stem: StemConfig, width: int) -> tuple[FrontEnd, Stem]:
    """The modules of two configurations.

    Args:
        frontend, stem: their configurations.
        width: token width D.

    Raises:
        AaspError: one is not derived from its contract, or the stem has another patch than its configuration.
    """
    front, embedding = frontend.build(), stem.build(width, frontend.bins)
    for part, config, contract in ((front, frontend, FrontEnd), (embedding, stem, Stem)):
        if not isinstance(part, contract):
            text = f"{type(config).__name__}.build gives {type(part).__name__}, which does not derive from"
            raise AaspError(f"{text} {contract.__module__}.{contract.__qualname__}; derive it from that class")
    if tuple(embedding.patch) != tuple(stem.patch):
        text = f"{type(stem).__name__} has patch {tuple(stem.patch)}, and the stem that it builds {embedding.patch}"
        raise AaspError(f"{text}; set both to the same patch")
    return front, embedding
