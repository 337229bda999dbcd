"""What made a result, so that it can be made again."""

from __future__ import annotations

import platform

import torch

from aasp.evaluate.records import code_version


def software() -> str:
    """Versions, with the commit where the package runs from a git checkout."""
    return f"aasp {code_version()}, torch {torch.__version__}, Python {platform.python_version()}"
