"""The routes: the request body is a sound file, the response one JSON object."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import aasp
from aasp.audio import decoder_process
from aasp.audio.channels import Channels, checked
from aasp.errors import AaspError, shown
from aasp.serve.answers import Answer, Options
from aasp.serve.batches import Batcher
from aasp.serve.gate import Gate, refused
from aasp.serve.limits import Limits, Refusal
from aasp.serve.metrics import Metrics
from aasp.serve.sounds import decoded

LOCAL = ("localhost", "127.0.0.1", "::1")
ALL_ADDRESSES = frozenset({"0.0.0.0", "::"})
LOST = 499  # status counted for a client that disconnected, as in nginx; never sent
FILES = "sound-"  # prefix of the files that hold request bodies
_BODY = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}, "required": True}
_REFUSED = {"content": {"application/json": {"example": {"error": "what is wrong; what to do"}}}}
_STATUSES = {
    400: "no body, or another host's name",
    408: "the body comes too slowly",
    413: "too many bytes, or too much sound",
    415: "a form, or a packed body",
    422: "no sound that can be used, or no such option",
    503: "too many requests at once: wait for as long as Retry-After says",
    504: "no answer in time",
}


class Server:
    """The application of one model, and its resources while it runs.

    Args:
        model: its name, for /health.
        answers: its routes.
        limits: limits on a request.
        batch: maximum number of sounds computed together.
        wait_ms: how long the first of them waits for others.
        hosts: allowed host names, besides those of this machine itself; with 0.0.0.0 or :: every IP address is allowed.
    """

    def __init__(
        self,
        model: str,
        answers: Mapping[str, Answer],
        limits: Limits,
        *,
        batch: int = 16,
        wait_ms: float = 5.0,
        hosts: Collection[str] = (),
    ) -> None:
        self._model = Path(model).name  # not its path
        self._limits, self._size, self._wait = limits, batch, wait_ms
        self.metrics = Metrics([*answers, "/health", "/metrics", "/openapi.json"], lambda: self.gate.inside)
        logging.getLogger("aasp.audio.channels").setLevel(logging.ERROR)  # a response contains its warning
        api = FastAPI(
            title="aasp",
            version=aasp.__version__,
            description=f"{self._model}: a sound file in, as the body; JSON out.",
            docs_url=None,  # that page would load files from the network
            redoc_url=None,
            lifespan=self._lifespan,
        )
        for path, answer in answers.items():
            self._add(api, path, answer)
        api.get("/health", summary="Whether it answers")(self._health)
        api.get("/metrics", summary="Counters, for Prometheus", response_class=Response)(self._metrics)
        for kind in (RequestValidationError, HTTPException, AaspError, OSError, ClientDisconnect, Exception):
            api.add_exception_handler(kind, _told)
        any_address = not ALL_ADDRESSES.isdisjoint(hosts)
        self.gate = Gate(api, limits, [*LOCAL, *hosts], any_address, self.metrics.request)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        self._batcher = Batcher(self._size, self._wait, self.metrics.batch)
        self._pool = ThreadPoolExecutor(decoder_process.AT_ONCE, "decoding")
        with tempfile.TemporaryDirectory(prefix="aasp-serve-") as folder:
            self._folder = Path(folder)
            try:
                yield
            finally:
                self._batcher.close(self._limits.timeout)
                self._pool.shutdown(wait=True, cancel_futures=True)

    def _add(self, api: FastAPI, path: str, answer: Answer) -> None:
        async def handle(request: Request, options: Any) -> Response:
            channels = checked(options.channels)
            request_key = answer.request_key(options)
            content = await self._answered(request, answer, options, request_key, channels)
            return Response(content, media_type="application/json")

        handle.__annotations__ = {"request": Request, "options": Annotated[answer.query, Query()], "return": Response}
        handle.__name__ = path.strip("/")
        api.post(
            path,
            summary=(type(answer).__doc__ or "").partition("\n")[0],
            response_class=Response,
            openapi_extra={"requestBody": _BODY},
            responses={status: {"description": message, **_REFUSED} for status, message in _STATUSES.items()},
        )(handle)

    async def _answered(
        self, request: Request, answer: Answer, options: Options, request_key: Any, channels: Channels
    ) -> bytes:
        loop = asyncio.get_running_loop()
        handle, name = tempfile.mkstemp(prefix=FILES, dir=self._folder)
        try:
            with open(handle, "wb") as file:
                await _receive(request, file, self._limits)
            seconds = request.state.until - time.monotonic() + 1.0  # after the gate's limit: its response says more
            sound = await loop.run_in_executor(self._pool, decoded, name, channels, answer.front, self._limits, seconds)
        finally:
            os.unlink(name)
        found = await asyncio.wrap_future(self._batcher.submit(answer.compute, request_key, sound.sound))
        self.metrics.sound(sound.seconds)

        def as_json() -> bytes:
            message = {"model": self._model, "seconds": round(sound.seconds, 6), **answer.values(options, found)}
            if sound.warning:
                message["warning"] = sound.warning
            return json.dumps(message, ensure_ascii=False).encode() + b"\n"

        return await loop.run_in_executor(self._pool, as_json)

    async def _health(self) -> Response:
        alive = self._batcher.alive
        message = {"status": "ok" if alive else "failed", "model": self._model, "version": aasp.__version__}
        content = json.dumps({**message, "requests": self.gate.inside}).encode() + b"\n"
        return Response(content, 200 if alive else 503, media_type="application/json")

    async def _metrics(self) -> Response:
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _receive(request: Request, file: Any, limits: Limits) -> None:
    """Write a body to a file, up to the allowed size."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("multipart/") or kind == "application/json":
        raise Refusal(415, f"content type {shown(kind)}; send the file itself: curl --data-binary @dog.wav")
    packed = request.headers.get("content-encoding", "identity")
    if packed.lower() != "identity":
        raise Refusal(415, f"content encoding {shown(packed)}: a packed body is not unpacked; send the file as it is")
    most, held = limits.bytes, 0
    length = request.headers.get("content-length", "0")
    too_much = Refusal(413, f"a body of more than {limits.max_mb:g} MB, the limit; send a part, or use `aasp embed`")
    if not length.isdecimal() or int(length) > most:
        raise too_much
    async for part in request.stream():
        held += len(part)
        if held > most:
            raise too_much
        file.write(part)
    if not held:
        raise Refusal(400, "an empty body; send a sound file: curl --data-binary @dog.wav")


async def _told(request: Request, error: Exception) -> Response:
    """Our own errors and FastAPI's, as one line of JSON."""
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        name = ".".join(str(one) for one in first["loc"][1:2]) or "the request"
        known = "; the options are in /openapi.json"
        refusal = Refusal(422, f"{name[:80]}={shown(first.get('input'))}: {first['msg'].lower()}{known}")
    elif isinstance(error, HTTPException):
        known = "; the routes are in /openapi.json"
        refusal = Refusal(error.status_code, f"{request.method} {request.url.path[:80]}: {error.detail.lower()}{known}")
    elif isinstance(error, Refusal):
        refusal = error
    elif isinstance(error, AaspError):
        refusal = Refusal(422, str(error))
    elif isinstance(error, ClientDisconnect):
        refusal = Refusal(LOST, "the connection was lost")
    elif not isinstance(error, OSError):
        refusal = Refusal(500, "an error of the server's own, which its standard error shows; report it")
    else:
        refusal = Refusal(503, f"the server can't keep the body ({error.strerror}); free space on its disk")
    return _AsRefused(refusal)


class _AsRefused(Response):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(status_code=refusal.status)
        self._refusal = refusal

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await refused(self._refusal, scope, send)
