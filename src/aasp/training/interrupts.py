"""Signals that stop a run: recorded on arrival, handled after the current step, the same step in all processes.

Exchanging the signals waits for all processes and for the device. Several processes therefore exchange them only every
tenth step, or every two seconds where ten steps take longer.
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

MAX_STEPS = 10  # between two exchanges
SECONDS = 2.0  # between two exchanges, where steps are slow


class Interrupts:
    """A context in which SIGTERM, SIGUSR1 and Ctrl-C only set `exit_code`; a second signal of a kind acts as usual.

    Outside the main thread, where handlers can't be set, no signal is caught.
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
        else:  # a forked worker inherited this handler: it must exit at once
            os.kill(os.getpid(), number)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


class Agreement:
    """Stops all processes after the same step when any of them receives a signal.

    Args:
        machine: the processes.
        step: steps already done.
    """

    def __init__(self, machine: Accelerator, step: int) -> None:
        self._machine, self._asked, self._next = machine, step, step + 1
        self._clock = time.monotonic()

    def __call__(self, exit_code: int | None, step: int) -> int | None:
        """The exit code if a signal arrived by the end of `step`; None to continue. Every process must call it."""
        if self._machine.num_processes == 1:
            return exit_code
        if step < self._next:
            return None
        pace = (time.monotonic() - self._clock) / (step - self._asked)
        own = torch.tensor([[exit_code or 0, pace]], device=self._machine.device)
        code, slowest = self._machine.gather(own).amax(0).tolist()
        often = max(1, min(MAX_STEPS, int(SECONDS / max(slowest, 1e-6))))
        self._asked, self._next, self._clock = step, (step // often + 1) * often, time.monotonic()
        return int(code) or None
