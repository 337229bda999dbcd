"""Set-up of the fuzzing tests: how many cases, and how much memory and time one may take.

`AASP_FUZZ=10000 pytest tests/fuzz` tries ten thousand cases of each, half an hour on one core; without it some dozens.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import hypothesis
import pytest

CASES = int(os.environ.get("AASP_FUZZ", "40"))
MEMORY = 2 << 30
hypothesis.settings.register_profile(
    "fuzz",
    max_examples=CASES,
    deadline=timedelta(seconds=20),
    derandomize=CASES <= 40,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)


@pytest.fixture(autouse=True, scope="module")
def bounded() -> Iterator[None]:
    """The process may take so much address space more: what allocates more fails, and with it the test."""
    before = hypothesis.settings.get_current_profile_name()
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = taken + MEMORY if hard == resource.RLIM_INFINITY else min(hard, taken + MEMORY)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    hypothesis.settings.load_profile(before)
