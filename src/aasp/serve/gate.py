"""Access control for every route: hosts, concurrent requests, and time limits."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import time
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aasp.errors import one_line, shown
from aasp.serve.limits import Limits, Refusal

RETRY_SECONDS = 1

Done = Callable[[str, int, float], object]
"""Called with path, status (0: disconnected or timed out) and seconds of each request."""


class Gate:
    """ASGI middleware that refuses requests with one line of JSON and ends those that take too long.

    Args:
        app: the application behind it.
        limits: maximum number of concurrent requests, and the time limit of each.
        hosts: allowed host names. They stop web pages whose own name resolves to this machine (DNS rebinding); pages
            that send requests from elsewhere are refused by their Origin.
        any_address: also allow every IP address as a host, for a server that listens on all of this machine's.
        done: called after each request.
    """

    def __init__(self, app: ASGIApp, limits: Limits, hosts: Collection[str], any_address: bool, done: Done) -> None:
        self._any_address = any_address
        self._app, self._limits, self._done = app, limits, done
        self._hosts = {host.lower() for host in hosts}
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, came = time.monotonic(), 0, False

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        async def receiving() -> Message:
            nonlocal came
            message = await receive()
            came = came or message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message

        counted = scope["method"] == "POST"
        try:
            self._check(scope, counted)
            self.inside += counted
            scope.setdefault("state", {})["until"] = began + self._limits.timeout
            try:
                async with asyncio.timeout(self._limits.timeout):
                    await self._app(scope, receiving, sending)
            finally:
                self.inside -= counted
        except Refusal as refusal:
            await refused(refusal, scope, sending)
        except TimeoutError:
            if status:
                raise  # the server closes the connection: the response is incomplete
            limit = f"and {self._limits.timeout:g} s are the limit"
            late = Refusal(408, f"the body did not come in time, {limit}; send it faster, or a shorter sound")
            if came:
                late = Refusal(
                    504, f"no answer in time, {limit}; send a shorter sound, or try again when less is asked"
                )
            await refused(late, scope, sending)
        finally:
            self._done(scope["path"], status, time.monotonic() - began)

    def _check(self, scope: Scope, counted: bool) -> None:
        headers: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            headers[name] = value.decode("latin-1")
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        asked = _name(f"//{host}")
        if asked not in self._hosts and not (self._any_address and _is_address(asked)):
            text = f"host {shown(host)} is not this server's name"
            raise Refusal(400, f"{text}; ask by its address, or start it with --allow-host NAME")
        if origin is not None and _name(origin) not in {*self._hosts, asked}:
            raise Refusal(403, f"origin {shown(origin)}: pages of other sites may not ask; ask from a program")
        if counted and self.inside >= self._limits.queue:
            raise Refusal(503, f"{self.inside} requests are being answered, the limit; try again in a second")


async def refused(refusal: Refusal, scope: Scope, send: Send) -> None:
    """Send an error response."""
    body = json.dumps({"error": one_line(str(refusal))}, ensure_ascii=False).encode() + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.status == 503:
        headers.append((b"retry-after", str(RETRY_SECONDS).encode()))
    if scope["method"] == "HEAD":
        body = b""
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
