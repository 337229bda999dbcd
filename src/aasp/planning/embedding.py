"""The cost of embedding a clip, or hours of audio, with an `AudioEncoder`.

Source: `AudioEncoder.forward`, which splits audio longer than its window into windows that overlap by half.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.windows import WINDOWS_PER_BATCH
from aasp.planning.machines import Machines, audio_bytes
from aasp.planning.trace import Cost, on_meta, traced


def embedding_cost(config: AudioEncoderConfig, seconds: float) -> tuple[Cost, int]:
    """The cost of embedding a single clip, and the dimension of its embedding.

    Args:
        config: the model.
        seconds: length of the clip.

    Raises:
        AaspError: the clip is shorter than one analysis window.
    """
    encoder = on_meta(lambda: AudioEncoder(config)).eval()
    wave = torch.empty(1, round(seconds * config.frontend.rate), device="meta")
    widths: list[int] = []
    with torch.no_grad():
        trace = traced(encoder, {}, lambda: widths.append(encoder(wave).clip.shape[1]))
    return trace.total, widths[0]


def _long_cost(config: AudioEncoderConfig, window: float, seconds: float) -> float:
    """FLOPs for a recording of many windows, where all further batches of windows cost as much as the second."""
    batches = [(batch * WINDOWS_PER_BATCH + 1) / 2 * window for batch in (1, 2)]  # seconds; windows overlap by half
    first, both = (embedding_cost(config, length)[0].flops for length in batches)
    return first + (both - first) * (seconds - batches[0]) / (batches[1] - batches[0])


@dataclass(frozen=True)
class EmbeddingPlan:
    """The cost of embedding a set, as clips of one window each and as recordings of one hour.

    Attributes:
        hours: hours of audio.
        window_seconds: length of the model's window.
        window_flops: FLOPs of one window.
        gpu_hours: GPU hours by length of the files, computing only.
        days: the same in days on all GPUs.
        decoding_core_hours: core hours to decode the whole set from its storage format.
        decoding_cores_per_gpu: cores that decode as fast as a GPU computes, by length of the files.
        limits: days for each resource alone, for clips of one window.
        bottleneck: the resource with the longest time.
        set_bytes: size of the set, by storage format.
        embedding_bytes: size of one embedding per window in fp32.
    """

    hours: float
    window_seconds: float
    window_flops: int
    gpu_hours: dict[str, float]
    days: dict[str, float]
    decoding_core_hours: float
    decoding_cores_per_gpu: dict[str, float]
    limits: dict[str, float]
    bottleneck: str
    set_bytes: dict[str, float]
    embedding_bytes: float


def embedding_plan(config: AudioEncoderConfig, machines: Machines, hours: float) -> EmbeddingPlan:
    """Plan the embedding of a set.

    Args:
        config: the model.
        machines: the machines to run on.
        hours: hours of audio.

    Raises:
        AaspError: the hours are not a positive number.
    """
    if not 0 < hours < float("inf"):
        raise AaspError(f"--embed-hours is {hours:g}; give a positive number")
    window = config.window_patches * config.stem.patch[0] / config.frontend.frame_rate
    lengths = {"clips of one window": window, "recordings of an hour": 3600.0}
    (one, width), hour = embedding_cost(config, window), _long_cost(config, window, 3600.0)
    costs = dict(zip(lengths, (one.flops, hour), strict=True))
    # Seconds per second of audio: of computing on one GPU, and of decoding on one core.
    computing = {name: costs[name] / lengths[name] / machines.flops_per_second for name in lengths}
    decoding = 1 / machines.decoded_per_core
    gpu_hours = {name: hours * share for name, share in computing.items()}
    sizes = audio_bytes(hours)
    limits = {
        "computing": gpu_hours["clips of one window"] / machines.gpus / 24,
        "decoding": hours * decoding / (machines.gpus * machines.cores) / 24,
        "storage": sizes[machines.audio] / (1e9 * machines.storage) / 86_400,
    }
    return EmbeddingPlan(
        hours=hours,
        window_seconds=window,
        window_flops=one.flops,
        gpu_hours=gpu_hours,
        days={name: value / machines.gpus / 24 for name, value in gpu_hours.items()},
        decoding_core_hours=hours * decoding,
        decoding_cores_per_gpu={name: decoding / share for name, share in computing.items()},
        limits=limits,
        bottleneck=max(limits, key=lambda name: limits[name]),
        set_bytes=sizes,
        embedding_bytes=hours * 3600 / window * 4 * width,
    )
