"""A page used as a person would use it: headless Chromium over its DevTools protocol, through a pipe.

Where `browser` reads a page's own report, this presses keys, clicks, sets a phone's width and takes pictures.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser import chromium

PATIENCE = 120.0  # seconds
KEYS = {" ": ("Space", 32), "Enter": ("Enter", 13), "Backspace": ("Backspace", 8), "Escape": ("Escape", 27)}
KEYS |= {f"Arrow{way}": (f"Arrow{way}", 37 + number) for number, way in enumerate(("Left", "Up", "Right", "Down"))}


class Tab:
    """One tab.

    Attributes:
        complaints: console errors, uncaught exceptions, and resources that were refused or not loaded.
    """

    def __init__(self, write: int, read: int) -> None:
        self._out, self._in = os.fdopen(write, "wb", 0), os.fdopen(read, "rb", 0)
        self._number, self._left, self._session = 0, b"", ""
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol and its answer; events in between are searched for complaints."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._look(answer)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def open(self, address: str, *, width: int = 1200, height: int = 800, dark: bool = False) -> None:
        """Open a page at a width in CSS pixels, and wait until its scripts have run."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=address)
        self.until("document.documentElement?.dataset.ready")

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """The value of an expression once it is true."""
        end = time.monotonic() + PATIENCE
        while not (value := self.ask(expression)):
            assert time.monotonic() < end, f"never: {expression}; {self.complaints}"
            time.sleep(0.05)
        return value

    def press(self, *keys: str) -> None:
        for key in keys:
            code, number = KEYS.get(key, ("", ord(key[0].upper())))
            text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            how = {"key": key, "code": code, "windowsVirtualKeyCode": number}
            self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **how)
            self.call("Input.dispatchKeyEvent", type="keyUp", **how)

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def photograph(self, picture: Path) -> None:
        picture.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            more = self._in.read(1 << 16)
            assert more, "the browser is gone"
            self._left += more
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def _look(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(json.dumps(params["args"]))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')[:200]}")


@contextmanager
def tab(*options: str) -> Iterator[Tab]:
    """A tab of a new browser; by default it has WebGL, computed on the processor."""
    to_browser, from_us = os.pipe()
    from_browser, to_us = os.pipe()
    profile = tempfile.mkdtemp()
    command = [
        chromium(), "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--autoplay-policy=no-user-gesture-required", "--remote-debugging-pipe",
        f"--user-data-dir={profile}", *(options or ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")),
    ]  # fmt: skip

    def hand_over() -> None:  # the protocol's pipe is descriptors 3 and 4
        one, other = os.dup(to_browser), os.dup(to_us)
        for was, now in ((one, 3), (other, 4)):
            os.dup2(was, now)

    process = subprocess.Popen(
        command, preexec_fn=hand_over, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(to_browser)
    os.close(to_us)
    try:
        yield Tab(from_us, from_browser)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(profile, ignore_errors=True)
