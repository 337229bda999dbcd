"""The benchmarks of the field, each read from its published layout."""

from __future__ import annotations

from aasp.datasets.benchmarks.audioset import AUDIOSET_2M, AUDIOSET_20K
from aasp.datasets.benchmarks.contract import Benchmark
from aasp.datasets.benchmarks.crema_d import CREMA_D, CREMA_D_EVAR
from aasp.datasets.benchmarks.esc50 import ESC10, ESC50
from aasp.datasets.benchmarks.fsd50k import FSD50K
from aasp.datasets.benchmarks.gtzan import GTZAN
from aasp.datasets.benchmarks.nsynth import NSYNTH_FAMILY, NSYNTH_PITCH, NSYNTH_SOURCE
from aasp.datasets.benchmarks.speech_commands import (
    SPEECH_COMMANDS_V1,
    SPEECH_COMMANDS_V1_10,
    SPEECH_COMMANDS_V1_12,
    SPEECH_COMMANDS_V2,
    SPEECH_COMMANDS_V2_10,
    SPEECH_COMMANDS_V2_12,
)
from aasp.datasets.benchmarks.surge import SURGE
from aasp.datasets.benchmarks.urbansound8k import URBANSOUND8K
from aasp.datasets.benchmarks.voxceleb1 import VOXCELEB1
from aasp.datasets.benchmarks.voxforge import VOXFORGE
from aasp.parts import look_up

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        # the seven of the paper
        AUDIOSET_2M,
        AUDIOSET_20K,
        ESC50,
        URBANSOUND8K,
        NSYNTH_FAMILY,
        SPEECH_COMMANDS_V2,
        CREMA_D,
        # variants of these
        ESC10,
        NSYNTH_PITCH,
        NSYNTH_SOURCE,
        SPEECH_COMMANDS_V2_12,
        SPEECH_COMMANDS_V2_10,
        SPEECH_COMMANDS_V1,
        SPEECH_COMMANDS_V1_12,
        SPEECH_COMMANDS_V1_10,
        CREMA_D_EVAR,
        # others in common use
        VOXCELEB1,
        VOXFORGE,
        GTZAN,
        SURGE,
        FSD50K,
    )
}


def names() -> list[str]:
    """Names of all benchmarks, the paper's seven first."""
    return list(BENCHMARKS)


def get(name: str) -> Benchmark:
    """A benchmark by name.

    Raises:
        AaspError: there is no benchmark of that name.
    """
    return look_up(name, BENCHMARKS, "benchmark")
