"""The labelling's server: only the link's holder, from this machine's page, gets sounds of rows and sets labels."""

from __future__ import annotations

import http.client
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from aasp.explore.labelling import Labelling
from aasp.explore.server import MAX_BODY_BYTES, LabelServer
from aasp.index import Index


@pytest.fixture
def server(small: Index, tmp_path: Path) -> Iterator[LabelServer]:
    with LabelServer(Labelling(small, tmp_path / "labels.csv", [], ["low", "middle", "high"])) as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def ask(
    server: LabelServer, what: str, body: Any = None, *, method: str = "", origin: str | None = "own", **headers: str
) -> tuple[int, bytes]:
    """Status and body of an answer; `what` stands behind the token unless it begins with a slash."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    given = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    headers |= {"Origin": f"http://127.0.0.1:{server.server_port}" if origin == "own" else origin} if origin else {}
    path = what if what.startswith("/") else f"/{server.token}/{what}"
    connection.request(method or ("GET" if given is None else "POST"), path, given, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_a_label_is_taken_and_written(server: LabelServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    row = json.loads(ask(server, "state")[1])["current"]["row"]
    status, body = ask(server, "label", {"row": row, "name": "low"})
    state = json.loads(body)
    assert status == 200 and state["labelled"] == 1 and state["current"]["row"] != row
    assert ",low,train\n" in server.labelling.file.read_text(encoding="utf-8")
    assert json.loads(ask(server, "class", {"name": " new "})[1])["classes"][-1] == {"name": "new", "count": 0}
    assert json.loads(ask(server, "undo", {})[1])["current"]["row"] == row
    assert json.loads(ask(server, "skip", {})[1])["current"]["row"] != row
    assert ask(server, "label", {"row": row, "name": "low"})[0] == 409


def test_a_rows_sound_is_decoded_and_encoded_again(server: LabelServer, small: Index) -> None:
    status, body = ask(server, "sound/4")
    wave, rate = soundfile.read(io.BytesIO(body))
    assert (status, rate, len(wave)) == (200, 32_000, 16_000) and np.abs(np.fft.rfft(wave, rate)).argmax() == 500
    assert body != Path(small.sound(4).path).read_bytes()


@pytest.mark.parametrize(
    ("what", "how", "status"),
    [
        ("/", {}, 404),
        ("/wrong/state", {}, 404),
        ("/%s", {}, 404),
        ("sound/60", {}, 404),
        ("sound/-1", {}, 404),
        ("sound/../../etc/passwd", {}, 404),
        ("sound/4/..", {}, 404),
        ("sound/²", {}, 404),
        ("labels.csv", {}, 404),
        ("state", {"Host": "evil.example"}, 403),
        ("state", {"Host": "127.0.0.1"}, 403),
        ("state", {"origin": "http://evil.example"}, 403),
        ("state", {"origin": "null"}, 403),
        ("undo", {"body": {}, "origin": None}, 403),
        ("undo", {"body": {}, "origin": "https://127.0.0.1"}, 403),
        ("label", {"body": {"row": True, "name": "low"}}, 400),
        ("label", {"body": {"row": 1}}, 400),
        ("label", {"body": b"{"}, 400),
        ("label", {"body": b"[" * 4_000}, 400),
        ("label", {"body": b"x" * (MAX_BODY_BYTES + 1)}, 413),
        ("label", {"body": b"", "Content-Length": "-1"}, 413),
        ("class", {"body": {"name": "<b>" * 40}}, 409),
        ("class", {"body": {"name": "low"}}, 409),
        ("undo", {"body": {}}, 409),
        ("state", {"method": "PUT"}, 501),
    ],
)
def test_what_is_refused(server: LabelServer, what: str, how: dict[str, Any], status: int) -> None:
    if not what.isascii():
        what = "sound/%C2%B2"
    assert ask(server, what, **how)[0] == status
    assert server.labelling.labels == [] and not server.labelling.file.exists()
