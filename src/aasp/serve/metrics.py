"""Counters of a server for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The counters, one set per server.

    Args:
        routes: paths counted by name; all others are counted as "other".
        inside: returns the number of current requests.
    """

    def __init__(self, routes: Collection[str], inside: Callable[[], float]) -> None:
        self._routes = frozenset(routes)
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        to = self._registry
        self._requests = Counter("aasp_requests", "Requests, by route and status", ["route", "status"], registry=to)
        self._seconds = Histogram("aasp_request_seconds", "Seconds a request", ["route"], buckets=SECONDS, registry=to)
        self._sound = Counter("aasp_sound_seconds", "Seconds of sound that were answered", registry=to)
        self._batch = Histogram("aasp_batch_sounds", "Sounds a batch", buckets=SIZES, registry=to)
        Gauge("aasp_requests_inside", "Requests being answered, or waiting", registry=to).set_function(inside)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request; status 0: disconnected or timed out."""
        route = path if path in self._routes else "other"
        self._requests.labels(route, str(status or "lost")).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, sounds: int) -> None:
        self._batch.observe(sounds)

    def sound(self, seconds: float) -> None:
        self._sound.inc(seconds)

    def text(self) -> bytes:
        """All counters in Prometheus' text format."""
        return generate_latest(self._registry)
