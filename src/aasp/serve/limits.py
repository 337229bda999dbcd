"""Limits on one request, and on the number of requests."""

from __future__ import annotations

from dataclasses import dataclass

from aasp.config import check_range
from aasp.errors import AaspError

MAX_NUMBERS = 1 << 21
"""Maximum numbers in one response: about 40 MB of JSON."""
MAX_WINDOWS = 1_200
"""Maximum windows of one sound that is classified window by window: ten minutes at one per second."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits on one request, and on the number of requests.

    Attributes:
        max_mb: maximum file size in megabytes (10⁶ bytes).
        max_seconds: maximum duration of its sound.
        queue: maximum number of concurrent requests, including waiting ones; more are refused with 503.
        timeout: seconds from a request's first line to the end of its response.

    Raises:
        AaspError: a number is out of its range.
    """

    max_mb: float = 64.0
    max_seconds: float = 300.0
    queue: int = 32
    timeout: float = 60.0

    def __post_init__(self) -> None:
        check_range(self, "serving", "max_mb", most=4_096)
        check_range(self, "serving", "max_seconds", most=86_400)
        check_range(self, "serving", "queue", least=1, most=4_096)
        check_range(self, "serving", "timeout", most=3_600)

    @property
    def bytes(self) -> int:
        return round(self.max_mb * 1e6)


class Refusal(AaspError):
    """A request that gets an error response: its HTTP status, and one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
