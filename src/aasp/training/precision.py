"""The precision of a forward pass: on CPUs, the faster type is measured, not looked up.

bfloat16 instructions are no guarantee of speed: compared with float32, bfloat16 matrix products are four times as fast
with AMX, but half as fast where the AVX-512 ones run at half rate (docs/decisions/speed.md). $AASP_CPU_PRECISION, fp32
or bf16, replaces the measurement, so that machines with different processors compute alike.
"""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from typing import Literal, get_args

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from aasp.errors import AaspError
from aasp.training.tracking import read_starts

Precision = Literal["auto", "bf16", "fp16", "fp32"]
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}

VARIABLE = "AASP_CPU_PRECISION"
"""The environment variable that says what ``auto`` is on CPUs."""
PRODUCT = (1024, 768, 768)
"""Rows, inner dimension and columns of the timed product; it takes 10 ms at most."""
_TRIES = 5


def resolve_precision(precision: Precision, machine: Accelerator, environment: Path | None = None) -> Precision:
    """Resolve ``auto``: the precision of a resumed run's last start, else bf16 if it is faster, else fp32.

    Args:
        precision: the requested precision.
        machine: processes and devices; all processes use the first one's result.
        environment: the run's list of starts (see `aasp.training.environment`), which need not exist.

    Raises:
        AaspError: no such precision, or fp16, in which gradients underflow without loss scaling.
    """
    if _known(precision) == "fp16":
        raise AaspError("no training in fp16: small gradients would underflow; use auto, bf16 or fp32")
    if precision == "auto":
        found = [_last(environment) or ("bf16" if has_fast_bf16(machine.device) else "fp32")]
        precision = broadcast_object_list(found)[0]
    return precision


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 matrix products are faster than float32 ones on a device; on CPUs both are timed, once.

    Raises:
        AaspError: $AASP_CPU_PRECISION is neither fp32 nor bf16.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        if chosen := os.environ.get(VARIABLE):
            if chosen not in ("fp32", "bf16"):
                raise AaspError(f"${VARIABLE} is {chosen!r}; give fp32 or bf16, or unset it")
            return chosen == "bf16"
        supported = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        return supported and seconds_of_a_product()[torch.bfloat16] < seconds_of_a_product()[torch.float32]
    return False


def fastest(precision: Precision, device: torch.device) -> Precision:
    """Resolve ``auto`` for inference: bf16 where it is fast, else fp16 on GPUs with tensor cores for it.

    For GPUs this follows the manufacturers' specifications and is not yet measured here; Apple's use fp32 until then.

    Raises:
        AaspError: no such precision.
    """
    if _known(precision) != "auto":
        return precision
    if has_fast_bf16(device):
        return "bf16"
    return "fp16" if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (7, 0) else "fp32"


def for_vectors(precision: Precision, whitened: int) -> Precision:
    """Resolve ``auto`` to fp32 if the vector is whitened, since a whitening enlarges rounding; else leave it.

    In bf16 the whitened vectors of pure tones differ from fp32's by up to 0.06 in cosine distance.
    """
    return "fp32" if precision == "auto" and whitened else precision


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The autocast context for a forward pass; it can be entered repeatedly.

    Raises:
        AaspError: no such precision.
    """
    half = HALVES.get(fastest(precision, device))
    return torch.autocast(device.type, half or torch.bfloat16, enabled=half is not None)


def _known(precision: Precision) -> Precision:
    if precision not in get_args(Precision):
        raise AaspError(f"no such precision: {precision}; choose from {', '.join(get_args(Precision))}")
    return precision


@functools.cache
def seconds_of_a_product() -> dict[torch.dtype, float]:
    """The shortest time of the matrix product `PRODUCT` on the CPU, by type; runs alternate, so noise affects both."""
    rows, inner, columns = PRODUCT
    inputs = {dtype: torch.ones(rows, inner, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}
    weights = {dtype: torch.ones(columns, inner, dtype=dtype) for dtype in inputs}
    took = dict.fromkeys(inputs, float("inf"))
    with torch.inference_mode():
        for _ in range(_TRIES):
            for dtype in inputs:
                began = time.perf_counter()
                torch.nn.functional.linear(inputs[dtype], weights[dtype])
                took[dtype] = min(took[dtype], time.perf_counter() - began)
    return took


def _last(environment: Path | None) -> Precision | None:
    """The precision of a run's last start."""
    starts = [] if environment is None else read_starts(environment)
    return starts[-1].get("precision") if starts else None
