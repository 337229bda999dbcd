"""The machines that a plan is made for, and the size and decoding time of audio.

Rates of machines are from data sheets and can be overridden; values measured here name the measurement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aasp.errors import AaspError

H100_MEMORY = 80.0
"""GB of an H100 SXM."""
H100_TFLOPS = 989.0
"""Dense bf16 matrix products of an H100 SXM; the 1,979 of its data sheet assume sparsity."""
FP32_SHARE = 67 / 989
"""Ratio of an H100's fp32 to bf16 throughput, for operations outside autocast (same data sheet)."""
CORES_A_GPU = 14
"""112 cores for eight GPUs (DGX H100)."""
NVLINK_GBS, NVLINK_GPUS = 450.0, 8
"""GB/s that a GPU can send inside one machine, and GPUs per machine (DGX H100; 900 counts both directions)."""
PORTS_GBS = 400.0
"""GB/s between such machines: eight ports of 400 Gbit/s, shared by the parallel rings of the eight GPUs."""
STORAGE_GBS = 10.0
"""GB/s that all GPUs together read from a shared file system: an assumption, measure your own."""

AudioFormat = Literal["wav", "flac", "opus"]
BIT_RATE: dict[AudioFormat, float] = {"wav": 256e3, "flac": 131e3, "opus": 32e3}
"""Bits per second of 16 kHz mono: 16-bit WAV; FLAC, measured on ten minutes of mixed sounds; a usual rate of Opus."""
DECODED: dict[AudioFormat, float] = {"wav": 3.4, "flac": 0.86, "opus": 0.11}
"""Hours of audio that a core decodes per second, 16 kHz mono files of 10 s. Measured on a shared core with
benchmarks/pipeline.py."""

AUDIOSET_CLIPS, AUDIOSET_SECONDS = 1_900_000, 10.0
"""AudioSet-2M as used by EAT: the part of 2.08 M clips that could still be downloaded."""


@dataclass(frozen=True)
class Machines:
    """The machines to run on.

    Attributes:
        gpus: number of GPUs.
        utilisation: share of the peak that the step's matrix products reach.
        peak: TFLOP/s of a GPU, dense bf16.
        memory: GB of a GPU.
        cores: CPU cores per GPU for decoding.
        network: GB/s that a GPU sends in a ring of all (NCCL's bus bandwidth); if omitted, NVLink's inside one machine
            and that of its ports between several.
        storage: GB/s that all GPUs together can read.
        audio: storage format of the audio.
        decoded: hours of audio that a core decodes per second; the measured value of the format if omitted.
    """

    gpus: int
    utilisation: float
    peak: float = H100_TFLOPS
    memory: float = H100_MEMORY
    cores: float = CORES_A_GPU
    network: float | None = None
    storage: float = STORAGE_GBS
    audio: AudioFormat = "flac"
    decoded: float | None = None

    def __post_init__(self) -> None:
        if self.gpus < 1:
            raise AaspError(f"--gpus is {self.gpus}; give a number of at least 1")
        if not 0 < self.utilisation <= 1:
            raise AaspError(
                f"--utilisation is {self.utilisation:g}; give a share above 0, up to 1: 0.4 is 40 % of the peak"
            )
        for name in ("peak", "memory", "cores", "network", "storage", "decoded"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise AaspError(f"--{name} is {value:g}; give a positive number")

    @property
    def flops_per_second(self) -> float:
        """FLOP/s of one GPU at the given utilisation."""
        return self.utilisation * self.peak * 1e12

    @property
    def sent_per_second(self) -> float:
        """Bytes per second that each GPU sends in a ring of all."""
        return 1e9 * (self.network or (NVLINK_GBS if self.gpus <= NVLINK_GPUS else PORTS_GBS))

    @property
    def decoded_per_core(self) -> float:
        """Seconds of audio that a core decodes per second."""
        return 3600 * (self.decoded or DECODED[self.audio])


def audio_bytes(hours: float) -> dict[str, float]:
    """Bytes of `hours` of 16 kHz mono audio in each format."""
    return {name: hours * 3600 * rate / 8 for name, rate in BIT_RATE.items()}
