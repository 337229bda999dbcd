"""Batches of waiting sounds are computed in one thread, the only one that uses the model."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from aasp.audio.sounds import Samples

Compute = Callable[[Hashable, list[Samples]], Sequence[Any]]
"""From a request key and sounds to a result for each sound; an exception among them concerns that sound only."""


@dataclass(eq=False)
class _Item:
    compute: Compute
    request_key: Hashable
    sound: Samples
    answer: Future[Any] = field(default_factory=Future)


class Batcher:
    """Collects sounds for a few milliseconds and computes those with equal keys together.

    Args:
        batch: maximum number of sounds.
        wait_ms: how long the first sound waits for others.
        computed: called with the number of sounds in each batch.
    """

    def __init__(self, batch: int, wait_ms: float, computed: Callable[[int], object] = lambda count: None) -> None:
        self._batch, self._wait, self._computed = batch, wait_ms / 1000, computed
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="computing", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def submit(self, compute: Compute, request_key: Hashable, sound: Samples) -> Future[Any]:
        """The future result. Sounds of one `compute` and `request_key` share a batch; cancelled ones are skipped."""
        item = _Item(compute, request_key, sound)
        self._queue.put(item)
        return item.answer

    def close(self, seconds: float) -> None:
        """Compute the queued sounds, within `seconds`, and stop."""
        self._queue.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            items, until, last = [first], time.monotonic() + self._wait, False
            while len(items) < self._batch and not last:
                try:
                    item = self._queue.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    break
                last = item is None
                items += [] if item is None else [item]
            kinds: dict[tuple[Compute, Hashable], list[_Item]] = {}
            for item in items:
                if item.answer.set_running_or_notify_cancel():
                    kinds.setdefault((item.compute, item.request_key), []).append(item)
            for some in kinds.values():
                self._compute(some)
            del first, items, kinds, some  # do not keep a waveform until the next one arrives
            if last:
                return

    def _compute(self, items: list[_Item]) -> None:
        """Compute sounds with equal keys; if the batch fails, one by one, so that a failure affects one sound only."""
        try:
            found = items[0].compute(items[0].request_key, [item.sound for item in items])
        except Exception as error:
            if len(items) == 1:
                items[0].answer.set_exception(error)
            else:
                for item in items:
                    self._compute([item])
            return
        self._computed(len(items))
        for item, one in zip(items, found, strict=True):
            if isinstance(one, Exception):
                item.answer.set_exception(one)
            else:
                item.answer.set_result(one)
