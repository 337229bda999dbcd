"""A server under load, observed from outside: are its memory, open files and speed constant?

    python benchmarks/soak_serve.py [--minutes 60] [--rate 5]

`aasp serve` of a small model receives sounds of four formats and several lengths, broken files, files that are too
large or too long, wrong options and incomplete requests, repeatedly in the same order, at a given rate. Every status is
compared with the expected one, and every vector with the first one of the same file. Memory and CPU time are those of
the server and its decoders; speed is in requests per second of CPU time, so that other work on the machine does not
matter. The first fifth is warm-up. The results are written to benchmarks/results/soak_serve.json.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from soak import Look, summarised

RESULT = Path(__file__).parent / "results" / "soak_serve.json"
LIMITS = ["--max-mb", "2", "--max-seconds", "20", "--timeout", "20", "--queue", "32", "--threads", "1"]
CLIENTS = 4
CLOSE = 1e-5
GONE = 0  # instead of a status: the client closed the connection


@dataclass(frozen=True)
class Case:
    """A request, and the expected status."""

    name: str
    route: str
    body: bytes
    status: int = 200


@dataclass
class Seen:
    """The responses: counts, unexpected ones, and the first vector of each file."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, case: Case, status: int, vector: list[float] | None) -> None:
        with self.lock:
            self.counts[str(status)] += 1
            if status != case.status:
                self.wrong[f"{case.name}: {status}"] += 1
            if vector is not None:
                first = self.vectors.setdefault(case.name, np.array(vector))
                if np.abs(first - vector).max() > CLOSE:
                    self.wrong[f"{case.name}: another vector"] += 1


def cases() -> list[Case]:
    """The requests, in the order in which they are repeated."""
    rng = np.random.default_rng(0)

    def sound(kind: str, seconds: float, rate: int = 16_000, channels: int = 1) -> bytes:
        file = io.BytesIO()
        noise = 0.1 * rng.standard_normal((round(rate * seconds), channels))
        soundfile.write(file, noise, rate, format=kind)
        return file.getvalue()

    good = [
        Case(f"{seconds:g} s of {kind}", route, sound(kind, seconds, rate, channels))
        for kind, rate, channels in (("WAV", 16_000, 1), ("FLAC", 44_100, 2), ("OGG", 48_000, 1), ("MP3", 32_000, 2))
        for seconds, route in ((0.6, "/embed"), (3.3, "/predict"), (9.1, "/embed?frames=true"), (14.7, "/embed"))
        if len(sound(kind, seconds, rate, channels)) < 2e6
    ]
    whole = sound("FLAC", 4.0)
    bad = [
        Case("cut", "/embed", whole[: len(whole) // 2], 422),
        Case("text", "/predict", b"no sound at all " * 40, 422),
        Case("noise behind a header", "/embed", whole[:60] + rng.bytes(5_000), 422),
        Case("too large", "/embed", bytes(2_500_000), 413),
        Case("too long", "/embed", sound("OGG", 30.0), 413),
        Case("no body", "/predict", b"", 400),
        Case("no such option", "/embed?path=%2Fetc%2Fpasswd", whole, 422),
        Case("no such route", "/nothing", whole, 404),
        Case("half a body", "/embed", whole, GONE),
        Case("gone before the answer", "/embed", whole, GONE),
    ]
    return [case for pair in zip(good, [*bad, *bad], strict=False) for case in pair]


def send(case: Case, port: int) -> tuple[int, list[float] | None]:
    """Status of a response, and its vector."""
    if case.status == GONE:
        head = f"POST {case.route} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(case.body)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(head + case.body[: len(case.body) // (2 if case.name.startswith("half") else 1)])
            time.sleep(0.01)
        return GONE, None
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", case.route, case.body)
        answer = connection.getresponse()
        values = json.loads(answer.read())
        return answer.status, values.get("embedding")
    except (BrokenPipeError, ConnectionResetError):
        return case.status if case.name == "too large" else -1, None  # refused before it was sent completely
    finally:
        connection.close()


def load(port: int, until: float, rate: float, seen: Seen) -> list[threading.Thread]:
    """Clients that together send `rate` requests a second until the given time; no requests are sent after that."""
    all_cases, numbers, began = cases(), _Numbers(), time.monotonic()

    def work() -> None:
        for number in numbers:
            due = began + number / rate
            if max(due, time.monotonic()) >= until:
                return
            time.sleep(max(0.0, due - time.monotonic()))
            case = all_cases[number % len(all_cases)]
            try:
                status, vector = send(case, port)
            except OSError as error:
                status, vector = -1, None
                print(f"{case.name}: {error}", file=sys.stderr)
            seen.note(case, status, vector)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    return threads


class _Numbers(Iterator[int]):
    """0, 1, 2 …, each for one thread only."""

    def __init__(self) -> None:
        self._next, self._lock = 0, threading.Lock()

    def __next__(self) -> int:
        with self._lock:
            self._next += 1
            return self._next - 1


def watched(minutes: float, rate: float, folder: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    encoder = AudioEncoderConfig(encoder=EncoderConfig(width=48, depth=2, heads=2))
    AudioClassifier(AudioClassifierConfig(("a", "b", "c"), clip_seconds=2.0, encoder=encoder)).save(folder / "model")
    command = [sys.executable, "-m", "aasp", "serve", str(folder / "model"), "--port", "0", *LIMITS]
    looks, seen = list[Look](), Seen()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition(":")[2])
            began = time.monotonic()
            clients = load(port, began + 60 * minutes, rate, seen)
            pause = max(1.0, 60 * minutes / 200)
            while time.monotonic() - began < 60 * minutes:
                time.sleep(pause)
                if process.poll() is not None:
                    raise SystemExit(f"the server ended after {time.monotonic() - began:.0f} s: {process.returncode}")
                looks.append(Look.at(process.pid, time.monotonic() - began, sum(seen.counts.values())))
            for client in clients:
                client.join(90)
            requested = time.monotonic()
            process.send_signal(signal.SIGTERM)
            code = process.wait(90)
        finally:
            process.kill()
    stopped = {"exit_code": code, "stopped_within_seconds": round(time.monotonic() - requested, 2)}
    found = summarised(looks, minutes, "requests")
    return found | {"rate": rate, "statuses": dict(seen.counts), "wrong": dict(seen.wrong), **stopped}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long to ask")
    parser.add_argument("--rate", type=float, default=5.0, help="requests a second")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = watched(given.minutes, given.rate, Path(folder))
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    good = (
        found["flat"] and found["no_more_files"] and found["steady"] and not found["wrong"] and not found["exit_code"]
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
