"""Hostile and mistaken requests: each is refused with one line of JSON, and affects no other request."""

from __future__ import annotations

import asyncio
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from aasp.audio import decoder_process

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
from aasp.serve import app, gate
from aasp.serve.limits import Limits

Asking = Callable[..., Any]

DECODERS = Path(__file__).parents[1] / "faults" / "decoders"


def refused(answer: Any, status: int) -> str:
    """The one line of a refusal, in which no path of the server's is."""
    assert answer.status_code == status and answer.json().keys() == {"error"}
    line = answer.json()["error"]
    assert "\n" not in line and "Traceback" not in line and "/tmp" not in line and app.FILES not in line
    return line


@pytest.fixture(scope="module")
def wav(sounds: Path) -> bytes:
    return (sounds / "a.wav").read_bytes()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("path=/etc/passwd", "path='/etc/passwd': extra inputs"),
        ("model=..%2F..%2Fother", "model='../../other': extra inputs"),
        ("layer=x", "layer='x'"),
        ("layer=9", "no such layer: 9; this encoder has 0 to 2"),
        ("pooling=sum", "no such pooling: sum; choose from"),
        ("hop=0.08", "hop=0.08 without frames; add frames=true"),
        ("frames=1&hop=0.3", "hop is 0.3 s; this model's time steps are"),
        ("frames=1&hop=nan", "hop='nan'"),
        ("channels=each", "channels=each: an answer covers one channel"),
        ("channels=../x", "no such channels: ../x"),
        ("channels=7", "the sound: has no channel 7, only 2; choose another, or mean"),
        (f"layer={'9' * 500}", "layer="),
        ("&".join(["layer=1"] * 65), "layer="),
        ("frames=%0a%0dX: y", "frames='\\n\\rX: y'"),
    ],
)
def test_a_wrong_option(asking: Asking, wav: bytes, query: str, message: str) -> None:
    assert refused(asking().post(f"/embed?{query}", content=wav), 422).startswith(message)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("top=0", "top='0'"),
        ("window=0.5", "window=0.5 without frames"),
        ("frames=1&window=3", "window is 3 s; give 0.025 s to the 2 s the model was trained on"),
        ("frames=1&hop=0.08", "hop=0.08: the model was fine-tuned on clips; give window"),
    ],
)
def test_a_wrong_option_of_predict(asking: Asking, wav: bytes, query: str, message: str) -> None:
    assert refused(asking("clips").post(f"/predict?{query}", content=wav), 422).startswith(message)


def test_bodies_that_are_no_sound(asking: Asking, sounds: Path, wav: bytes) -> None:
    client, flac = asking(), (sounds / "b.flac").read_bytes()
    post = lambda content, **headers: client.post("/embed", content=content, headers=headers)
    assert refused(post(b""), 400).startswith("an empty body; send a sound file")
    assert refused(post(b"#EXTM3U\nfile:///etc/passwd\n"), 422).startswith("the sound: not audio")
    assert refused(post(flac[: len(flac) // 2]), 422).startswith("the sound: truncated")
    assert refused(post(b"RIFF\xff\xff\xff\xffWAVE" + bytes(100)), 422).startswith("the sound: ")
    assert refused(post(wav, **{"content-encoding": "gzip"}), 415).startswith("content encoding 'gzip'")
    form = client.post("/embed", files={"file": ("../../x.wav", wav)})
    assert refused(form, 415).startswith("content type 'multipart/form-data'; send the file itself")
    assert refused(client.get("/embed"), 405).startswith("GET /embed: method not allowed")
    assert refused(client.post("/../../etc/passwd", content=wav), 404).startswith("POST /etc/passwd: not found")
    assert client.post("/embed", content=wav).status_code == 200


def test_a_body_is_not_read_beyond_its_limit(asking: Asking) -> None:
    client, sent = asking(max_mb=0.1), [0]

    def parts() -> Iterator[bytes]:
        for _ in range(1_000):
            sent[0] += 1
            yield bytes(10_000)

    message = "a body of more than 0.1 MB, the limit"
    assert refused(client.post("/embed", content=bytes(100_001)), 413).startswith(message)
    assert refused(client.post("/embed", content=parts()), 413).startswith(message)
    declared = client.post("/embed", content=b"x", headers={"content-length": "9" * 20})
    assert refused(declared, 413).startswith(message)


def test_more_sound_than_is_allowed(asking: Asking, tmp_path: Path) -> None:
    client = asking(max_seconds=4.0)
    soundfile.write(tmp_path / "long.flac", np.zeros(16_000 * 600, np.int16), 16_000)  # some kilobytes
    content = (tmp_path / "long.flac").read_bytes()
    assert len(content) < 1e5
    message = "600 s of sound, and 4 s are the limit; send a part"
    assert refused(client.post("/embed", content=content), 413).startswith(message)
    soundfile.write(tmp_path / "wide.flac", np.zeros((600_000 * 3, 8), np.int16), 600_000)
    message = "14,400,000 samples in 8 channels at 600,000 Hz, and 1,536,000 are the limit"
    assert refused(client.post("/embed", content=(tmp_path / "wide.flac").read_bytes()), 413).startswith(message)
    promised = (
        b"RIFF" + struct.pack("<I", 10**9) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8_000, 16_000, 2, 16)
    )
    promised += b"data" + struct.pack("<I", 10**9 - 36) + bytes(4_000)
    assert refused(client.post("/embed", content=promised), 422).startswith("the sound: truncated")


def test_an_answer_of_too_many_numbers(asking: Asking, wav: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    from aasp.serve import answers

    monkeypatch.setattr(answers, "MAX_NUMBERS", 100)
    monkeypatch.setattr(answers, "MAX_WINDOWS", 5)
    message = refused(asking().post("/embed?frames=1", content=wav), 413)
    assert message.startswith("frames: an answer of 1,536 numbers, and 100 are the limit; send a shorter sound")
    message = refused(asking("clips").post("/predict?frames=1&window=0.1", content=wav), 413)
    assert message.startswith("window=0.1: more than 5 windows, the limit; give a longer window")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8642", "", "[::1", "localhost."])
def test_another_hosts_name_is_refused(asking: Asking, host: str) -> None:
    assert refused(asking().get("/health", headers={"host": host}), 400).startswith(f"host {host!r} is not this")


def test_our_own_names_are_taken_and_pages_of_others_are_not(asking: Asking) -> None:
    client = asking()
    for host in ("localhost:8642", "127.0.0.1", "[::1]:8642", "LOCALHOST"):
        assert client.get("/health", headers={"host": host}).status_code == 200
    for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
        assert refused(client.get("/health", headers={"origin": origin}), 403).startswith(f"origin {origin!r}")
    assert client.get("/health", headers={"origin": "http://localhost:8000"}).status_code == 200


def test_a_server_on_all_addresses_is_reached_by_each_of_them_and_by_no_other_name() -> None:
    from fastapi.testclient import TestClient

    async def empty(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    client = TestClient(gate.Gate(empty, Limits(), ["localhost"], True, lambda *_: None))
    for host in ("192.0.2.2:8642", "[2001:db8::1]", "localhost"):
        assert client.get("/health", headers={"host": host}).status_code == 200
    assert client.get("/health", headers={"host": "192.0.2.2", "origin": "http://192.0.2.2"}).status_code == 200
    for host, origin in (("evil.example", "http://evil.example"), ("192.0.2.2", "http://198.51.100.7")):
        assert client.get("/health", headers={"host": host, "origin": origin}).status_code in (400, 403)


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Decoders that fail by the file's name."""
    decoder_process._pool.end()
    monkeypatch.setenv("PYTHONPATH", str(DECODERS))
    yield
    decoder_process._pool.end()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("hang", 504, "no answer in time, and 3 s are the limit"),
        ("abort", 422, "the sound: its decoder crashed, twice"),
        ("hungry", 422, "the sound: decoding it takes more than"),
    ],
)
def test_a_decoder_that_hangs_or_dies_costs_one_request(
    asking: Asking, sounds: Path, spoilt: None, monkeypatch: pytest.MonkeyPatch, name: str, status: int, message: str
) -> None:
    client, flac = asking(timeout=3.0), (sounds / "b.flac").read_bytes()
    assert client.post("/embed", content=flac).status_code == 200  # its process has started
    with monkeypatch.context() as patch:
        patch.setattr(app, "FILES", f"{name}-")
        began = time.monotonic()
        assert refused(client.post("/embed", content=flac), status).startswith(message)
        assert time.monotonic() - began < 60
    assert client.post("/embed", content=(sounds / "a.wav").read_bytes()).status_code == 200


def test_one_more_than_the_queue_holds_is_refused_and_health_is_not(
    asking: Asking, wav: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, inside = threading.Event(), threading.Semaphore(0)
    client = asking(queue=2)

    def slow(*arguments: Any) -> Any:
        inside.release()
        go.wait(10)
        return decode(*arguments)

    decode = app.decoded
    monkeypatch.setattr(app, "decoded", slow)
    codes: list[int] = []
    work = lambda: codes.append(client.post("/embed", content=wav).status_code)
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert inside.acquire(timeout=10) and inside.acquire(timeout=10)
    answer = client.post("/embed", content=wav)
    assert refused(answer, 503).startswith("2 requests are being answered, the limit; try again")
    assert answer.headers["retry-after"] == "1"
    assert client.get("/health").json()["requests"] == 2
    go.set()
    for thread in threads:
        thread.join()
    assert codes == [200, 200] and client.get("/health").json()["requests"] == 0
    assert client.post("/embed", content=wav).status_code == 200


def sent_by_gate(timeout: float, body: str, **scope: Any) -> list[dict[str, Any]]:
    """What the gate sends for a request whose body, or whose answer, never ends."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if body == "slow":
            await asyncio.sleep(60)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(60)

    one = gate.Gate(endless, Limits(timeout=timeout), ["localhost"], False, lambda *_: None)
    scope = {"type": "http", "method": "POST", "path": "/embed", "headers": [(b"host", b"localhost")], **scope}
    asyncio.run(one(scope, receive, send))
    assert one.inside == 0
    return sent


@pytest.mark.parametrize(("body", "status"), [("slow", 408), ("whole", 504)])
def test_a_request_that_takes_too_long_is_ended(body: str, status: int) -> None:
    began = time.monotonic()
    start, end = sent_by_gate(0.1, body)
    assert time.monotonic() - began < 5 and start["status"] == status and b"0.1 s are the limit" in end["body"]


def test_a_connection_that_is_lost_leaves_nothing(asking: Asking, wav: bytes) -> None:
    client = asking(queue=6)
    sent: list[Any] = []
    messages = iter([{"type": "http.request", "body": wav[:1_000], "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/embed", "headers": [(b"host", b"localhost")]}
    scope |= {
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "server": ("localhost", 80),
    }
    client.portal.call(client.app, scope, receive, send)  # type: ignore[union-attr]
    assert client.get("/health").json()["requests"] == 0
    assert 'aasp_requests_total{route="/embed",status="499"} 1.0' in client.get("/metrics").text
