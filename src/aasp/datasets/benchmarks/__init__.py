"""The benchmarks of the field, each read from its published layout."""

from __future__ import annotations

from difflib import get_close_matches

from aasp.datasets.benchmarks.contract import Benchmark
from aasp.datasets.benchmarks.esc50 import ESC10, ESC50
from aasp.errors import AaspError

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        # the paper's seven
        ESC50,
        # further forms of them
        ESC10,
        # others of the field
    )
}


def names() -> list[str]:
    """Names of all benchmarks, the paper's seven first."""
    return list(BENCHMARKS)


def get(name: str) -> Benchmark:
    """A benchmark by name.

    Raises:
        AaspError: there is none of that name.
    """
    if name not in BENCHMARKS:
        close = get_close_matches(name, BENCHMARKS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(BENCHMARKS)}"
        raise AaspError(f"benchmark {name!r} is unknown; {hint}")
    return BENCHMARKS[name]
