"""Checkpoints: directories of safetensors and JSON, written atomically.

``checkpoints/step-00001234/`` holds ``model.safetensors`` (the objective's state, teacher included),
``optimizer.safetensors`` (``<parameter name>/<moment>``), ``random.safetensors`` (``<process>/<generator>``) and
``state.json``. It is written next to the others under a hidden name, synced and renamed; what a crash leaves behind
has that hidden name and is removed at the next start.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from aasp import weights
from aasp.documents import read_object
from aasp.errors import AaspError
from aasp.files import sync, system_error
from aasp.weights import unshared

FORMAT = 1
TENSORS = ("model", "optimizer", "random")
_HIDDEN = ".unfinished-"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after `step` steps. `state` is JSON-able; the rest are tensors on the host, by name."""

    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    random: dict[str, Tensor]
    state: dict[str, Any]


def save(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint into `folder` and remove all but the last `keep`.

    Raises:
        OSError: the disk is full or the folder can't be written; earlier checkpoints are kept.
    """
    target = folder / f"step-{checkpoint.step:08d}"
    if target.exists():
        return target
    beside = folder / f"{_HIDDEN}{target.name}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        state = {"format": FORMAT, "step": checkpoint.step, **checkpoint.state}
        (beside / "state.json").write_text(json.dumps(state, indent=1))
        for kind in TENSORS:
            save_file(unshared(getattr(checkpoint, kind)), beside / f"{kind}.safetensors")
            shutil.copymode(beside / "state.json", beside / f"{kind}.safetensors")  # else only the owner could read it
        for path in [*beside.iterdir(), beside]:
            sync(path)
        beside.rename(target)
        sync(folder)
    except Exception as error:
        raise system_error(error, target, beside) or error from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    for old in _finished(folder)[:-keep]:
        remove(old)
    return target


def remove(path: Path) -> None:
    """Remove a checkpoint."""
    hidden = path.with_name(f"{_HIDDEN}{path.name}")  # renamed first: a half-deleted one must not look complete
    path.rename(hidden)
    shutil.rmtree(hidden)


def remove_after(folder: Path, step: int) -> None:
    """Remove the checkpoints in `folder` that were taken after `step`."""
    for path in _finished(folder):
        if _step(path) > step:
            remove(path)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint directory.

    Raises:
        AaspError: a file is missing or damaged; the message names it.
    """
    step, state = read_state(path)
    return Checkpoint(step, **{kind: read_tensors(path / f"{kind}.safetensors") for kind in TENSORS}, state=state)


def read_state(path: Path) -> tuple[int, dict[str, Any]]:
    """A checkpoint's step and state, without its tensors.

    Raises:
        AaspError: as `load`.
    """
    if not path.is_dir():
        raise AaspError(f"no such checkpoint: {path}; give a folder like RUN/checkpoints/step-00001234")
    file = path / "state.json"
    try:
        state = read_object(file, "")
        found, step = state.pop("format"), state.pop("step")
    except FileNotFoundError:
        raise _damaged(file, "missing") from None
    except (AaspError, KeyError):
        raise _damaged(file, "not a checkpoint's state") from None
    if found != FORMAT:
        raise AaspError(f"checkpoint of format {found}: {path}; this version of aasp reads format {FORMAT}")
    if type(step) is not int or step < 0 or not isinstance(state.get("history", {}), dict):
        raise _damaged(file, "not a checkpoint's state")
    return step, state


def latest(run: str | Path) -> Path | None:
    """The last complete checkpoint of a run; None if there is none."""
    return next(reversed(_finished(Path(run) / "checkpoints")), None)


def clear_unfinished(folder: Path) -> None:
    """Remove the remains in `folder` of checkpoints that were being written or deleted during a crash."""
    for path in folder.glob(f"{_HIDDEN}*"):
        shutil.rmtree(path)


def check_names(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Check that the tensors read from `path` have the names and shapes of the model being trained.

    Raises:
        AaspError: they do not; the message names the first difference.
    """
    remedy = "it belongs to another model, resume with that run's recipe or start in a new --out"
    for name in sorted(found.keys() ^ expected.keys()):
        raise AaspError(f"{'unknown' if name in found else 'missing'} tensor {name} in {path}; {remedy}")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            shapes = f"{tuple(found[name].shape)}, expected {tuple(tensor.shape)}"
            raise AaspError(f"tensor {name} in {path} has shape {shapes}; {remedy}")


def _finished(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{8,}", path.name) and path.is_dir()]
    return sorted(found, key=_step)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read one of a checkpoint's safetensors files.

    Raises:
        AaspError: it is missing or damaged.
    """
    if not path.is_file():
        raise _damaged(path, "missing")
    try:
        return weights.read_tensors(path, "")
    except AaspError as error:
        raise _damaged(path, str(error).removeprefix(f"{path}: ").removesuffix("; ")) from None


def _damaged(path: Path, reason: str) -> AaspError:
    folder = path.parent.name
    return AaspError(f"damaged checkpoint: {path}: {reason}; move {folder} away to resume from the one before it")
