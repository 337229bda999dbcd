"""Signals that ask a run to stop: noted when they come, obeyed when the step is done, by all processes after the same.

Asking the others waits for them and for the device, so that several processes ask every tenth step only, or every two
seconds where ten steps take longer.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType

import torch
from accelerate import Accelerator

EXIT_CODES = {signal.SIGTERM: 75, signal.SIGUSR1: 75, signal.SIGINT: 130}  # 75 is EX_TEMPFAIL: try again

MOST_STEPS = 10  # between two questions
SECONDS = 2.0  # the same, where steps are slow


class Interrupts:
    """A context in which SIGTERM, SIGUSR1 and Ctrl-C only set `exit_code`; a second one of a kind acts as usual.

    Outside the main thread, where handlers can't be set, nothing is caught.
    """

    exit_code: int | None = None

    def __enter__(self) -> Interrupts:
        self._before: dict[signal.Signals, object] = {}
        self._process = os.getpid()
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in EXIT_CODES}
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, self._before[signal.Signals(number)])  # type: ignore[arg-type]
        if os.getpid() == self._process:
            self.exit_code = EXIT_CODES[signal.Signals(number)]
        else:  # a forked worker inherited this handler: it is to go at once
            os.kill(os.getpid(), number)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


class Agreement:
    """Signals to any process stop all processes after the same step.

    Args:
        machine: the processes.
        step: steps that are done already.
    """

    def __init__(self, machine: Accelerator, step: int) -> None:
        self._machine, self._asked, self._next = machine, step, step + 1
        self._clock = time.monotonic()

    def __call__(self, exit_code: int | None, step: int) -> int | None:
        """The exit code that a signal asks for after `step`; None to continue. Every process must call it."""
        if self._machine.num_processes == 1:
            return exit_code
        if step < self._next:
            return None
        pace = (time.monotonic() - self._clock) / (step - self._asked)
        own = torch.tensor([[exit_code or 0, pace]], device=self._machine.device)
        code, slowest = self._machine.gather(own).amax(0).tolist()
        often = max(1, min(MOST_STEPS, int(SECONDS / max(slowest, 1e-6))))
        self._asked, self._next, self._clock = step, (step // often + 1) * often, time.monotonic()
        return int(code) or None
