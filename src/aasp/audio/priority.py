"""Decoding threads of low priority, so that computation gets the core first.

Without it, a model's step on two cores waits for the decoding threads at every parallel loop (docs/decisions/speed.md).
"""

from __future__ import annotations

import os
import sys
import threading

NICENESS = 10

_thread = threading.local()


def let_computing_first() -> None:
    """Lower the priority of this thread, once; only Linux has thread priorities."""
    if sys.platform == "linux" and not hasattr(_thread, "niceness"):
        thread = threading.get_native_id()
        _thread.niceness = min(19, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
        os.setpriority(os.PRIO_PROCESS, thread, _thread.niceness)
