"""Signals that ask a run to stop: noted when they come, obeyed when the step is done."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType

EXIT_CODES = {signal.SIGTERM: 75, signal.SIGINT: 130}  # 75 is EX_TEMPFAIL of sysexits.h: try again


class Interrupts:
    """A context in which SIGTERM and Ctrl-C only set `exit_code`; a second one of the same kind acts as usual.

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
