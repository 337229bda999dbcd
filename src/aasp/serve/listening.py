"""The socket: uvicorn, with a time limit for each exchange on a connection, and an orderly shutdown."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from aasp.errors import AaspError
from aasp.serve.app import Server
from aasp.serve.limits import Limits

IDLE_SECONDS = 5
"""How long a connection is kept open for another request."""
SPARE_SECONDS = 5.0
"""Seconds after a request's own limit, so that its error response can be sent."""


def listen(server: Server, limits: Limits, host: str, port: int, ready: Callable[[str], object]) -> None:
    """Serve until SIGTERM or an interrupt; then finish pending requests, within the time limit of a request.

    Args:
        server: the application.
        limits: the time limits.
        host, port: the address; port 0 chooses a free one.
        ready: called with the address once it listens; with 0.0.0.0 or :: that for this machine itself.

    Raises:
        AaspError: the address can't be listened on.
    """
    longest = limits.timeout + SPARE_SECONDS

    class Protocol(H11Protocol):
        """A connection with a time limit for each exchange: head, body and response."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch = self.loop.call_later(longest, transport.abort)

        def on_response_complete(self) -> None:
            self._watch.cancel()
            self._watch = self.loop.call_later(longest, self.transport.abort)
            super().on_response_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._watch.cancel()
            super().connection_lost(exc)

    config = uvicorn.Config(
        server.gate,
        host=host,
        port=port,
        http=Protocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,  # the program's own logging stays unchanged
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=int(longest) + 1,
        backlog=128,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=config.backlog)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise AaspError(f"--host {host} --port {port}: can't be listened on ({why}); choose another") from None
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    named = f"[{reached}]" if ":" in reached else reached
    running = _Running(config, lambda: ready(f"http://{named}:{listening.getsockname()[1]}"))
    before = signal.signal(signal.SIGTERM, _passed_on)  # uvicorn raises it again when it has finished
    try:
        running.run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)
        listening.close()


class _Running(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def _passed_on(number: int, frame: FrameType | None) -> None:
    """The shutdown was orderly: the exit code is 0."""
