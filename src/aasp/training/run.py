"""A run's directory: its layout, and the lock for writing to it.

``recipe.json``, ``environment.json``, ``metrics.jsonl``, ``tensorboard/``, ``checkpoints/``, ``model/``; if files were
skipped, ``skipped.csv``; after a failure, until the run is resumed, ``failure.json`` with the reason.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from aasp.config import flat
from aasp.documents import read_object
from aasp.errors import AaspError
from aasp.files import atomic_write, clear_left, locked
from aasp.training import checkpoint
from aasp.training.status import FAILURE, note_failure

Reading = Callable[[Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Run:
    """The directory of one run."""

    path: Path

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.json"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def skipped(self) -> Path:
        return self.path / "skipped.csv"


def starting_point(out: str | Path, resume: str | Path = "auto") -> Path | None:
    """The checkpoint that `open_run` resumes from; None for a new start.

    Raises:
        AaspError: `resume` has no checkpoint.
    """
    return checkpoint.latest(out) if str(resume) in ("auto", "never") else _named(Path(resume))


def recorded_steps(out: str | Path, resume: str | Path = "auto") -> int | None:
    """The steps in the recipe of the run that `open_run` resumes; None if there is no such run or record.

    Raises:
        AaspError: `resume` has no checkpoint.
    """
    start = starting_point(out, resume)
    if start is None:
        return None
    try:
        return read_object(Run(start.resolve().parents[1]).recipe, "copy the run again")["steps"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # `check_run` reports the problem


def check_run(
    out: str | Path,
    recipe: dict[str, Any],
    resume: str | Path = "auto",
    remedies: Mapping[str, str] | None = None,
    read: Reading = dict,
) -> bool:
    """Check, before the work starts, that `open_run` would not fail; nothing is written.

    Args:
        out, recipe, resume: as in `open_run`.
        remedies: for the error message: an alternative remedy by name of the recipe field that differs.
        read: converts a recipe, whatever version wrote it, to the form in which two are compared.

    Returns:
        Whether the directory already holds this run.

    Raises:
        AaspError: `out` holds something else, or `resume` has no checkpoint or one of another recipe.
    """
    run = Run(Path(out))
    if run.path.exists() and not run.path.is_dir():
        raise AaspError(f"output is a file: {out}; --out names a folder")
    if str(resume) not in ("auto", "never"):
        _check_named(Path(resume), recipe, read)
    _check_kept(run, resume)
    if not run.path.exists() or all(path.name.startswith(".") for path in run.path.iterdir()):
        return False
    _check_same(run, recipe, remedies or {}, read)
    if resume == "never":
        raise AaspError(f"output holds a run: {out}; resume it with --resume auto, or choose another --out")
    return True


@contextlib.contextmanager
def open_run(
    out: str | Path, recipe: dict[str, Any], machine: Accelerator, *, resume: str | Path = "auto", read: Reading = dict
) -> Iterator[tuple[Run, Path | None]]:
    """Open and lock the directory of a run of `recipe`: a new one, or one in which this recipe resumes.

    Args:
        out: the directory; missing or empty for a new run.
        recipe: everything that defines the run, JSON-able.
        machine: with several processes, the first opens the run and sends the outcome to the others.
        resume: ``auto`` resumes from the last checkpoint in `out` if there is one; ``never`` needs a new directory;
            a path (a checkpoint, or a run: its last) resumes from there, in a new directory or in that run itself.
        read: as in `check_run`.

    Yields:
        The run, and the checkpoint to resume from or None. Within the context no other process can open the run.

    Raises:
        AaspError: `out` holds something else or is in use, or `resume` has no checkpoint.
    """
    start: list[Any] = [None]
    with contextlib.ExitStack() as held:
        if machine.is_main_process:
            try:
                start = [held.enter_context(_opened(Run(Path(out)), recipe, resume, read))]
            except (AaspError, OSError) as error:
                start = [error]
        broadcast_object_list(start)
        if isinstance(start[0], Exception):
            raise start[0]
        yield Run(Path(out)), start[0]


@contextlib.contextmanager
def _opened(run: Run, recipe: dict[str, Any], resume: str | Path, read: Reading) -> Iterator[Path | None]:
    known = check_run(run.path, recipe, resume, read=read)
    named = None if str(resume) in ("auto", "never") else _named(Path(resume))
    run.path.mkdir(parents=True, exist_ok=True)
    with _locked(run):
        _check_kept(run, resume)
        last = checkpoint.latest(run.path)
        checkpoint.clear_unfinished(run.checkpoints)
        clear_left(run.path, held=True)
        if not known:
            with atomic_write(run.recipe) as beside:
                beside.write_text(json.dumps(recipe, indent=1) + "\n")
        (run.path / FAILURE).unlink(missing_ok=True)
        try:
            yield named or last
        except Exception as error:
            with contextlib.suppress(OSError):  # for example a full disk: the first failure matters more
                note_failure(run.path, str(error) if isinstance(error, AaspError | OSError) else repr(error))
            raise


@contextlib.contextmanager
def _locked(run: Run) -> Iterator[None]:
    """Prevent a second process from writing to the same run; the system releases the lock when this process ends."""
    with locked(run.path / ".lock") as ours:
        if not ours:
            raise AaspError(f"run in use: {run.path}; another process trains there, wait for it or stop it")
        yield


def _check_same(run: Run, recipe: dict[str, Any], remedies: Mapping[str, str], read: Reading) -> None:
    try:
        found = read_object(run.recipe, "choose another --out")
    except FileNotFoundError:
        raise AaspError(f"output is neither empty nor a run: {run.path}; choose another --out") from None
    except AaspError as error:
        raise AaspError(f"damaged recipe: {error}") from None
    for name, there, here in _differences(found, recipe, read):
        text = f"output holds another run: {run.path} has {name} = {there}, this one {here}"
        other = f", or {remedies[name]}" if name in remedies else ""
        raise AaspError(f"{text}; choose another --out, or the same settings to resume{other}")


def _differences(found: Any, recipe: dict[str, Any], read: Reading) -> Iterator[tuple[str, Any, Any]]:
    """Fields in which two recipes differ, with the values found and expected."""
    there, here = flat(read(found)), flat(read(json.loads(json.dumps(recipe))))
    for name in sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name)):
        yield name, there.get(name), here.get(name)


def _check_kept(run: Run, resume: str | Path) -> None:
    """Check that resuming from another checkpoint would not lose the run's last one."""
    last = checkpoint.latest(run.path)
    named = None if str(resume) in ("auto", "never") else _named(Path(resume))
    if last is not None and named is not None and named.resolve() != last.resolve():
        remedy = f"leave out --resume to resume from {last}, or choose another --out"
        raise AaspError(f"resuming from {named} would lose {last}; {remedy}")


def _check_named(path: Path, recipe: dict[str, Any], read: Reading) -> None:
    """Check that a checkpoint, or a run's last, belongs to this recipe, if its run still has its recipe file."""
    run = Run(_named(path).resolve().parents[1])
    try:
        found = read_object(run.recipe, "copy the run again")
    except (OSError, AaspError):
        return  # the checkpoint's own fingerprint decides
    for name, there, here in _differences(found, recipe, read):
        text = f"checkpoint of another run: {path} has {name} = {there}, this one {here}"
        raise AaspError(f"{text}; use that run's settings to resume, or --from {path} to start from its weights")


def _named(path: Path) -> Path:
    holds = lambda *names: any((path / name).exists() for name in names)
    start = checkpoint.latest(path) if holds("checkpoints", "recipe.json") else path
    if start is None:
        model = f"; start from its model with --from {path}" if holds("model") else ""
        raise AaspError(f"no checkpoint in {path}; --resume needs a run that saved one, or a checkpoint folder{model}")
    if holds("config.json"):
        raise AaspError(f"no such checkpoint: {path}: a model, not a run; start from it with --from {path}")
    if not (start / "state.json").is_file():
        raise AaspError(f"no such checkpoint: {start}; give a folder like RUN/checkpoints/step-00001234, or a run")
    return start
