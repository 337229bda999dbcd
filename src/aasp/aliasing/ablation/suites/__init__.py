"""The suites, one small file each."""

from __future__ import annotations

from aasp.aliasing.ablation.suite import Suite
from aasp.aliasing.ablation.suites import framework, isolation, losses, stem, stride
from aasp.parts import look_up

SUITES = {one.SUITE.name: one.SUITE for one in (isolation, stem, framework, losses, stride)}


def get(name: str) -> Suite:
    """A suite by name.

    Raises:
        AaspError: there is none of that name.
    """
    return look_up(name, SUITES, "suite")
