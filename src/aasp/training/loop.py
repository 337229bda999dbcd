"""The training loop. It is independent of what it trains: the objective computes the losses, the batches hold the data.

A step is: schedules, forward and backward, clipping, non-finite check, optimizer step, the objective's `after_step`,
log, checkpoint. It waits for the device only at log and checkpoint steps. A step whose loss or gradient is not finite
is skipped and counted; three in a row stop the run (see `aasp.training.skipping`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator
from torch import Tensor

from aasp.errors import AaspError
from aasp.training import activations, checkpoint, engine, optim, snapshot
from aasp.training.fsdp import whole
from aasp.training.interrupts import Agreement, Interrupts
from aasp.training.metric_logger import MetricLogger
from aasp.training.objective import Objective, checked
from aasp.training.precision import Precision, autocast
from aasp.training.run import Run
from aasp.training.schedules import Schedules
from aasp.training.skipping import LIMIT, Skipping, not_finite
from aasp.training.trackers import Name, check_installed
from aasp.training.window import fetch


class TrainingStopped(AaspError):
    """Training failed: the losses are not finite, or training collapsed. The last good checkpoint is kept.

    Args:
        message: the reason, in one line.
        run: the run's directory, whose metrics show how training failed, in the first process; None in the others.
    """

    def __init__(self, message: str, run: Path | None = None) -> None:
        super().__init__(message)
        self.run = run


class Batches(snapshot.Positioned, Protocol):
    """An endless stream of batches whose position can be saved and restored.

    A stream that is restored from the ``state()`` taken after the k-th batch continues with batch k + 1, however many
    batches were already being prepared. ``rejoin`` does the same from the states of another number of processes.
    """

    def __next__(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Settings:
    """Settings of the training loop.

    Attributes:
        name: name of what is trained, for the progress display.
        optimizer: optimizer settings; those of its schedule are not used.
        log_every: steps between log lines.
        checkpoint_every: steps between checkpoints; one is always saved at the last step.
        keep: number of checkpoints to keep.
        precision: precision of the forward pass.
        track: trackers to show the run in (`aasp.training.trackers`).
        accumulate: micro-batches per step; that of `optimizer` if omitted.
    """

    name: str
    optimizer: optim.OptimizerConfig
    log_every: int = 50
    checkpoint_every: int = 500
    keep: int = 2
    precision: Precision = "auto"
    track: Sequence[Name] = ("tensorboard",)
    accumulate: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "accumulate", self.accumulate or self.optimizer.accumulate)
        for name in ("log_every", "checkpoint_every", "keep"):
            if getattr(self, name) < 1:
                raise AaspError(f"{name} is {getattr(self, name)}; give a number of at least 1")
        check_installed(self.track)


@dataclass(frozen=True)
class Result:
    """How a call of `train` ended: the step, and the exit code (0: finished; 75 or 130: stopped by a signal)."""

    step: int
    exit_code: int


def train(
    objective: Objective,
    batches: Batches,
    *,
    run: Run,
    schedules: Schedules,
    machine: Accelerator,
    fingerprint: str,
    settings: Settings,
    measure: Callable[[Mapping[str, Any]], tuple[int, float]],
    start: Path | None = None,
    on_checkpoint: Callable[[int, Mapping[str, Tensor]], None] = lambda step, tensors: None,
    history: Mapping[str, Any] | None = None,
) -> Result:
    """Train an objective to the end of its schedules, or until a signal stops it.

    Args:
        objective: see `Objective`; it is moved to the machine's device and trained in place.
        batches: see `Batches`; each process has its own.
        run: the directory to write to, locked by `open_run`.
        schedules: values per step; their length is the number of steps.
        machine: processes and devices.
        fingerprint: identifies what is trained; a checkpoint with another one is refused.
        settings: see `Settings`.
        measure: returns the number of clips and the seconds of audio in a batch.
        start: the checkpoint to resume from.
        on_checkpoint: called in every process after each checkpoint, and at once when resuming from one, with the step
            and the objective's tensors by name: full tensors, even where FSDP has sharded the objective's own.
        history: further facts about the run to store in each checkpoint (see `aasp.training.history`), JSON-able.

    Returns:
        Where it ended; a run that was stopped by a signal has saved a checkpoint.

    Raises:
        TrainingStopped: the losses were not finite three times in a row, or the objective's own health check failed.
        AaspError: `start` is damaged or belongs to another run.
        OSError: the disk is full; the last checkpoint is kept.
    """
    steps, exit_code = len(schedules), None
    if settings.optimizer.recompute:
        activations.recompute(objective)
    optimizer = optim.build(objective, settings.optimizer, objective.learning_rate_share)
    model, _ = machine.prepare(objective, optimizer)
    trainable = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    context = autocast(settings.precision, machine.device)
    objective.train()
    so_far = snapshot.Progress()
    if start is not None:
        so_far = snapshot.restore(start, objective, optimizer, batches, machine, fingerprint)
        on_checkpoint(so_far.step, snapshot.model_tensors(objective))  # the run may have been killed during this call
    skipping = Skipping(objective, machine, so_far.bad_steps)
    agreed = Agreement(machine, so_far.step)

    with Interrupts() as interrupts, MetricLogger(run, so_far, steps, machine, settings.name, settings.track) as logger:
        while so_far.step < steps and exit_code is None:
            now, step = schedules.at(so_far.step), so_far.step + 1
            optim.set_step(optimizer, now["learning_rate"], now["weight_decay"])
            with logger.waiting():
                batch = next(batches)
            to_log = step % settings.log_every == 0 or step == steps
            to_save = step % settings.checkpoint_every == 0 or step == steps

            skipping.begin()
            parts = list(activations.micro_batches(batch, settings.accumulate))
            outputs: list[dict[str, Any]] = []
            for part in parts:
                more = len(outputs) + 1 < len(parts)  # gradients are reduced over processes once, after the last part
                with machine.no_sync(model) if more else nullcontext():
                    with context:
                        output = model(engine.to_device(part, machine.device), to_log or to_save)
                    outputs.append(checked(output, type(objective).__name__))
                    machine.backward(outputs[-1]["loss"] if len(parts) == 1 else outputs[-1]["loss"] / len(parts))
            output = activations.mean(outputs)
            diagnostics = output["diagnostics"] | (objective.gradient_diagnostics() if to_log else {})
            norm = whole(machine.clip_grad_norm_(trainable, settings.optimizer.clip))
            skipped = skipping.judge(output["loss"], norm)
            optim.step_unless(optimizer, skipped)
            optimizer.zero_grad()
            objective.after_step(now)

            losses = {f"losses/{name}": value for name, value in output["losses"].items()}
            measured = {"loss": output["loss"], **losses, "gradient_norm": norm}
            so_far.window.add(measured, skipped)
            so_far.count(*measure(batch))
            logger.advance()

            exit_code = agreed(interrupts.exit_code, step)
            to_save = to_save or exit_code is not None
            broken = skipping.broken(to_log or to_save)
            if to_log or to_save or broken:
                means, health = fetch(so_far.window.means(), machine), fetch(diagnostics, machine)
                so_far.bad_steps = skipping.state()
                good = step - so_far.bad_steps["in_a_row"]
                problem: str | None = _broken(measured) if broken else None
                if health and not broken:
                    problem = objective.check_health({**means, **health})
                if to_log or problem:
                    shown = {f"diagnostics/{name}": value for name, value in health.items()}
                    logger.log({**means, **now, **shown, "skipped_steps": so_far.bad_steps["skipped"]})
                if problem:
                    raise _stopped(settings.name, step, problem, run, good, machine)
            if to_log:
                so_far.window.clear()
            if to_save:
                with so_far.paused():
                    taken = snapshot.capture(
                        objective, optimizer, so_far, batches, machine, fingerprint, history or {}, settings.accumulate
                    )
                    if machine.is_main_process:
                        logger.sync()
                        # Checkpoints saved during bad steps (up to three) must not displace the ones before them.
                        keep = settings.keep + so_far.bad_steps["in_a_row"]
                        checkpoint.save(run.checkpoints, taken, keep=keep)
                    on_checkpoint(so_far.step, taken.model)
                    machine.wait_for_everyone()
    return Result(so_far.step, exit_code or 0)


def _broken(measured: Mapping[str, Tensor]) -> str:
    """Names the value that was not finite at the last bad step, and a remedy."""
    advice = "try --precision fp32 or a lower learning rate"
    return f"{not_finite(measured)} is not finite, {LIMIT} steps in a row; {advice}"


def _stopped(name: str, step: int, problem: str, run: Run, good: int, machine: Accelerator) -> TrainingStopped:
    """The exception that stops a run. Checkpoints after step `good` are removed."""
    if machine.is_main_process:
        checkpoint.remove_after(run.checkpoints, good)
    machine.wait_for_everyone()
    last = checkpoint.latest(run.path)
    kept = f"the last good checkpoint is {last}" if last else "no checkpoint was saved yet"
    text = f"{name} stopped at step {step}: {problem}; {kept}"
    return TrainingStopped(text, run.path if machine.is_main_process else None)
