"""The record of a run next to its checkpoints: its environment and skipped files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator
from accelerate.utils import gather_object

from aasp.datasets.index import Skipped
from aasp.datasets.manifest import write_skipped
from aasp.training import environment
from aasp.training.loop import Result
from aasp.training.run import Run


class Decoding(Protocol):
    """A pipeline that lists the files it failed to decode."""

    @property
    def skipped(self) -> list[Skipped]: ...


class RunManifest:
    """Writes a run's environment and skipped files to its directory.

    Args:
        name: name of what is trained.
        steps: total steps of the run.
        run: the run to write to.
        machine: processes; the first writes.
        pipeline: lists the files that failed to decode.
        unusable: files that were left out from the start; `write_skipped` adds those found later.
    """

    def __init__(
        self, name: str, steps: int, run: Run, machine: Accelerator, pipeline: Decoding, unusable: list[Skipped]
    ) -> None:
        self._name, self._steps, self._run, self._machine = name, steps, run, machine
        self._pipeline, self._unusable, self._reported = pipeline, unusable, 0

    def begin(self, summary: str, data: Mapping[str, Any], start: Path | None, precision: str) -> None:
        """Record and print the environment and data of this start.

        Args:
            summary: the data in words.
            data: the data in numbers.
            start: the checkpoint that the run resumes from.
            precision: precision of the forward pass.
        """
        facts = environment.describe(self._machine, precision)
        step = int(start.name.removeprefix("step-")) if start is not None else 0
        if self._machine.is_main_process:
            changed = environment.record(self._run.environment, step, facts | dict(data))
            place = f"{facts['device']} in {precision}, {facts['processes']} × {facts['threads']} threads"
            print(f"{self._name}: {summary}; {place}")
            if start is not None:
                print(f"resuming from {start}")
            if start is not None and environment.OWN_CODE in changed:
                changed.remove(environment.OWN_CODE)
                print("files of your own parts have changed since the last start; the run continues with the new ones")
            if start is not None and changed:
                print(f"resumed on a different setup than before ({'; '.join(changed)}): last digits will differ")
        self.write_skipped()

    def print_lines(self, lines: Iterable[str]) -> None:
        """Print lines, in the first process only."""
        if self._machine.is_main_process:
            for line in lines:
                print(line)

    def write_skipped(self) -> list[Skipped]:
        """Update and return the list of skipped files. Every process must call it: each has its own list."""
        skipped = sorted({*self._unusable, *gather_object(self._pipeline.skipped)})
        if self._machine.is_main_process and len(skipped) > self._reported:
            write_skipped(skipped, self._run.skipped)
            print(f"skipped files: {len(skipped):,}, listed in {self._run.skipped}")
        self._reported = len(skipped)
        return skipped

    def end(self, result: Result, done: str) -> None:
        """Print how the run ended: `done`, or that the same command resumes it."""
        if self._machine.is_main_process and result.exit_code:
            print(f"stopped at step {result.step} of {self._steps}, saved; run the same command again to resume")
        elif self._machine.is_main_process and done:
            print(done)
