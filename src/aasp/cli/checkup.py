"""The checks of `aasp doctor`: software, processor, memory, precision, GPUs, disks; with advice where applicable."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import os
import platform
import resource
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import aasp
from aasp.cli.plan import si

DISTRIBUTION = "aasp-audio"
LITTLE_DISK, NO_DISK = 10e9, 0.5e9  # bytes: a run of `aasp_base` keeps 5 GB
LITTLE_SHM = 1e9
FEW_FILES = 1024


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        section: the section it belongs to.
        name: name of the check.
        value: the result, JSON-able.
        advice: what to do about it, if anything.
        problem: whether something does not work until then.
    """

    section: str
    name: str
    value: Any
    advice: str | None = None
    problem: bool = False


def everything() -> list[Finding]:
    """All findings, in display order."""
    from aasp.cli.decoders import decoders

    return [*software(), *processor(), *precisions(), *gpus(), *several(), *decoders(), *disks(), *extras()]


def software() -> Iterator[Finding]:
    from aasp.training.environment import commit

    section = "software"
    version = platform.python_version()
    old = tuple(map(int, version.split(".")[:2])) < (3, 11)
    yield Finding(section, "Python", version, "install Python 3.11 or later" if old else None, old)
    at = commit()
    yield Finding(section, "aasp", aasp.__version__ + (f", commit {at[:12]}" if at else ""))
    for name, wanted, there in requirements(""):
        fits = there is not None and wanted.specifier.contains(there, prereleases=True)
        if name == "torch" or not fits:
            remedy = None if fits else f"pip install '{wanted}'"
            yield Finding(section, name, there or "missing", remedy, not fits)
    blas = "MKL" if torch.backends.mkl.is_available() else "no MKL"
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    yield Finding(section, "torch build", f"{torch.__version__}, {build}, {blas}")


def processor(root: Path = Path("/sys/fs/cgroup")) -> Iterator[Finding]:
    """Cores, threads and memory available to this process."""
    section = "processor"
    yield Finding(section, "instructions", f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}")
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cgroup_cpus(root)
    cores = min(affinity, limit) if limit is not None else affinity
    note = f"{os.cpu_count()}, {affinity} of them for this process"
    yield Finding(section, "cores", note + (f", limited to {limit:g} by the container" if limit is not None else ""))
    threads, advice = torch.get_num_threads(), None
    if threads > max(1, math.ceil(cores)):
        advice = f"more than the {cores:g} cores, so threads wait for each other: --threads {max(1, math.ceil(cores))}"
    elif threads < math.floor(cores) and "OMP_NUM_THREADS" in os.environ:
        advice = f"OMP_NUM_THREADS is {os.environ['OMP_NUM_THREADS']}: --threads {math.floor(cores)} takes every core"
    yield Finding(section, "threads of torch", threads, advice)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory = cgroup_memory(root)
    within = f", limited to {si(memory, 'B')} by the container" if memory is not None and memory < total else ""
    yield Finding(section, "memory", si(total, "B") + within)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    few = files < FEW_FILES
    yield Finding(section, "open files", files, f"`ulimit -n {FEW_FILES}`, or fewer workers" if few else None)


def precisions() -> Iterator[Finding]:
    """Speed of matrix products by precision, and the resulting choice of `--precision auto`."""
    from aasp.training.precision import PRODUCT, fastest, has_fast_bf16, seconds_of_a_product

    section, device = "precision", torch.device("cuda" if torch.cuda.is_available() else "cpu")
    operations = 2 * math.prod(PRODUCT)
    for dtype, seconds in seconds_of_a_product().items():
        name = str(dtype).removeprefix("torch.")
        yield Finding(section, f"{name} on the processor", f"{operations / seconds / 1e9:.0f} GFLOP/s")
    training = "bf16" if has_fast_bf16(device) else "fp32"
    embedding = fastest("auto", device)
    others = "" if embedding == "fp32" else " (fp32 if the vector is whitened)"
    yield Finding(section, "auto", f"{training} in training, {embedding} in embedding{others}, on {device.type}")


def gpus() -> Iterator[Finding]:
    section, count = "GPUs", torch.cuda.device_count()
    for number in range(count):
        found = torch.cuda.get_device_properties(number)
        memory = f"{si(found.total_memory, 'B')}, capability {found.major}.{found.minor}"
        yield Finding(section, f"cuda:{number}", f"{found.name}, {memory}")
    if torch.backends.mps.is_available():
        yield Finding(section, "mps", "Apple's GPU")
    elif not count:
        there = Path("/dev/nvidia0").exists()
        why = f"torch {torch.__version__} does not find this machine's NVIDIA GPU" if there else "none"
        remedy = (
            "install a torch build for its CUDA version (https://pytorch.org) and a matching driver" if there else None
        )
        yield Finding(section, "found", why, remedy, there)


def several() -> Iterator[Finding]:
    """Requirements of multi-process runs and of compilation."""
    from torch import distributed

    section = "engines"
    backends = []
    if distributed.is_available():
        backends = [name for name in ("gloo", "nccl", "mpi") if getattr(distributed, f"is_{name}_available")()]
    yield Finding(section, "several processes", ", ".join(backends) or "not in this build of torch")
    fsdp = importlib.util.find_spec("torch.distributed.fsdp") is not None and bool(backends)
    yield Finding(section, "FSDP2", "available" if fsdp else "not in this build of torch")
    named = os.environ.get("CXX")
    compiler = next((one for one in (named, "g++", "clang++", "c++") if one and shutil.which(one)), None)
    triton = importlib.util.find_spec("triton") is not None
    gpu = torch.cuda.is_available()
    able = triton if gpu else compiler is not None
    note = ("Triton" if gpu else compiler) if able else "not possible"
    remedy = "pip install triton" if gpu else "install a C++ compiler (apt install g++); only torch.compile needs it"
    yield Finding(section, "torch.compile", note, None if able else remedy)


def disks() -> Iterator[Finding]:
    """Free space where files are written."""
    from aasp.files import cache_folder

    section = "disk"
    places = {
        "working directory": Path.cwd(),
        "cache": cache_folder(),
        "temporary files": Path(tempfile.gettempdir()),
    }
    for name, place in places.items():
        there = next(one for one in [place, *place.absolute().parents] if one.exists())
        free = shutil.disk_usage(there).free
        advice = f"free some space there: {place}" if free < LITTLE_DISK else None
        if not os.access(there, os.W_OK):
            advice = f"{place} can't be written; choose another place, or change its permissions"
        yield Finding(section, name, f"{place}, {si(free, 'B')} free", advice, free < NO_DISK)
    shm = Path("/dev/shm")
    if shm.is_dir():
        size = shutil.disk_usage(shm)
        little = size.total < LITTLE_SHM
        advice = "Ray and NCCL pass data through it: in a container, --shm-size=8g" if little else None
        yield Finding(section, str(shm), f"{si(size.total, 'B')}, {si(size.free, 'B')} free", advice)
    data = os.environ.get("AASP_DATA")
    lost = data is not None and not Path(data).is_dir()
    note = "not set; only tests on real audio read it" if data is None else f"{data}{', no such folder' * lost}"
    yield Finding(section, "AASP_DATA", note, "set it to the folder of the sets, or unset it" if lost else None, lost)


def extras() -> Iterator[Finding]:
    """Optional dependencies of the package, installed or not."""
    try:
        names = importlib.metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:
        note = f"unknown: {DISTRIBUTION} runs from its source, uninstalled"
        yield Finding("optional", "extras", note, "pip install -c constraints.txt -e .")
        return
    for extra in names:
        if extra == "test":
            continue
        found = list(requirements(extra))
        missing = [name for name, wanted, there in found if there is None or not wanted.specifier.contains(there, True)]
        have = ", ".join(f"{name} {there}" for name, _, there in found)
        yield Finding("optional", extra, f"not installed: pip install '{DISTRIBUTION}[{extra}]'" if missing else have)


def requirements(extra: str) -> Iterator[tuple[str, Any, str | None]]:
    """Requirements of the package (or of an extra): names, specifiers, and installed versions."""
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        lines = []
    for wanted in map(Requirement, lines):
        belongs = wanted.marker is None if not extra else wanted.marker is not None
        if not belongs or (wanted.marker is not None and not wanted.marker.evaluate({"extra": extra})):
            continue
        if wanted.name == DISTRIBUTION:
            for other in wanted.extras:
                yield from requirements(other)
            continue
        try:
            there: str | None = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            there = None
        yield wanted.name, wanted, there


def cgroup_cpus(root: Path) -> float | None:
    """The CPU limit of a container, for either version of cgroups; None if there is none."""
    words = _read(root / "cpu.max").split() or [
        _read(root / f"cpu/cpu.cfs_{one}_us").strip() for one in ("quota", "period")
    ]
    try:
        quota, period = float(words[0]), float(words[1])
    except (ValueError, IndexError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def cgroup_memory(root: Path) -> int | None:
    """The memory limit of a container in bytes; None if there is none."""
    text = _read(root / "memory.max") or _read(root / "memory/memory.limit_in_bytes")
    return int(text) if text.strip().isdecimal() else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
