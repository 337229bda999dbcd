"""Labelling in the browser: an HTTP server for this machine only, which serves a page and the index's sounds.

It listens on 127.0.0.1. Every URL begins with a random token, which only the printed link has; a request with another
Host (DNS rebinding) or another Origin is refused. Sounds are requested by row number and are served decoded and encoded
again, never as the original file.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aasp.errors import AaspError
from aasp.explore.labelling import Labelling
from aasp.explore.listening import whole
from aasp.explore.page import render_page

STYLES, SCRIPTS = ("colours.css", "label.css"), ("label.js",)
MAX_SECONDS = 60.0
MAX_BODY_BYTES = 4_096
"""Maximum size of a request's body."""
TIMEOUT = 20.0
MAX_SOUNDS = 4
"""Sounds decoded at the same time."""


class LabelServer(ThreadingHTTPServer):
    """Serves one labelling until it is shut down.

    Args:
        labelling: the labelling to serve.
        port: on 127.0.0.1; 0 for any free one.

    Attributes:
        address: the link to open, with the token.
    """

    daemon_threads = True

    def __init__(self, labelling: Labelling, port: int = 0) -> None:
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise AaspError(f"--port {port}: {error.strerror}; choose another, or leave it out") from None
        self.labelling, self.token = labelling, secrets.token_urlsafe(16)
        self.lock, self.decoding = threading.Lock(), threading.Semaphore(MAX_SOUNDS)
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}
        self.address = f"http://127.0.0.1:{self.server_port}/{self.token}/"
        title = labelling.index.folder.absolute().name
        self.page = render_page("label.html", STYLES, SCRIPTS, "'self'; connect-src 'self'", title=title).encode()


class _Refused(Exception):
    """A refused request: the status, and the reason."""


class _Handler(BaseHTTPRequestHandler):
    server: LabelServer
    timeout = TIMEOUT
    server_version, sys_version = "aasp", ""

    def do_GET(self) -> None:
        self._answer({"": self._page, "state": self._state}, sounds=True)

    def do_POST(self) -> None:
        self._answer({"label": self._label, "undo": self._undo, "skip": self._skip, "class": self._class})

    def _answer(self, routes: dict[str, Callable[[], tuple[str, bytes]]], sounds: bool = False) -> None:
        status = 200
        try:
            what = self._checked()
            if sounds and what.startswith("sound/"):
                kind, body = self._sound(what.removeprefix("sound/"))
            elif what in routes:
                kind, body = routes[what]()
            else:
                raise _Refused(404, "no such address")
        except _Refused as refused:
            status, kind, body = refused.args[0], "application/json", json.dumps({"error": refused.args[1]}).encode()
        except (AaspError, OSError) as error:
            status, kind, body = 409, "application/json", json.dumps({"error": str(error)}).encode()
        with suppress(ConnectionError, TimeoutError):  # the page may have moved on to the next sound
            self._send(status, kind, body)

    def _checked(self) -> str:
        """The path after the token, once host, origin and token are checked."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if host not in self.server.hosts:
            raise _Refused(403, "another host")
        if origin != f"http://{host}" and (origin is not None or self.command == "POST"):
            raise _Refused(403, "another origin")
        _, token, *rest = self.path.split("/", 2)
        if not rest or not secrets.compare_digest(token.encode(), self.server.token.encode()):
            raise _Refused(404, "no such address; open the link that `aasp label` printed")
        return rest[0]

    def _page(self) -> tuple[str, bytes]:
        return "text/html; charset=utf-8", self.server.page

    def _state(self) -> tuple[str, bytes]:
        with self.server.lock:
            return self._shown()

    def _label(self) -> tuple[str, bytes]:
        given = self._given({"row": int, "name": str})
        with self.server.lock:
            self.server.labelling.label(**given)
            return self._shown()

    def _undo(self) -> tuple[str, bytes]:
        self._given({})
        with self.server.lock:
            self.server.labelling.undo()
            return self._shown()

    def _skip(self) -> tuple[str, bytes]:
        self._given({})
        with self.server.lock:
            self.server.labelling.skip()
            return self._shown()

    def _class(self) -> tuple[str, bytes]:
        given = self._given({"name": str})
        with self.server.lock:
            self.server.labelling.add_class(**given)
            return self._shown()

    def _shown(self) -> tuple[str, bytes]:
        return "application/json", json.dumps(self.server.labelling.state()).encode()

    def _sound(self, text: str) -> tuple[str, bytes]:
        index = self.server.labelling.index
        if not text.isdecimal() or len(text) > 12 or int(text) >= len(index):
            raise _Refused(404, "no such row")
        with self.server.decoding:
            return "audio/wav", whole(index, int(text), MAX_SECONDS)

    def _given(self, kinds: dict[str, type]) -> dict[str, Any]:
        """The fields of a request's JSON."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            raise _Refused(413, f"a body of at most {MAX_BODY_BYTES} bytes is read")
        try:
            given = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise _Refused(400, "not JSON") from None
        if not isinstance(given, dict) or {name: type(value) for name, value in given.items()} != kinds:
            raise _Refused(400, f"fields: {', '.join(kinds) or 'none'}")
        return given

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
            "Cross-Origin-Resource-Policy": "same-origin",
        }.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the token would be in the log."""
