"""What made a result, so that it can be made again."""

from __future__ import annotations

import platform

import torch

import aasp
from aasp.training.environment import commit


def software() -> str:
    """Versions, and the commit where the package runs from a git checkout."""
    at = commit()
    versions = f"aasp {aasp.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    return f"{versions}, commit {at[:12]}" if at else versions
