"""`aasp serve` in a process of its own: over a socket, with slow and misbehaving clients, and shut down cleanly."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

import aasp
from aasp.cli.main import main

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("uvicorn")


@contextlib.contextmanager
def served(model: Path, *options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process, and its port."""
    command = [sys.executable, "-m", "aasp", "serve", str(model), "--port", "0", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, env={**os.environ, **environment}) as process:  # type: ignore[call-overload]
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert " at http://127.0.0.1:" in line
            yield process, int(line.rpartition(":")[2])
        finally:
            process.kill()


def ask(port: int, path: str, body: bytes | None = None) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET" if body is None else "POST", path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.mark.slow
def test_slow_clients_are_left_and_others_answered(models: Path, sounds: Path) -> None:
    body, began = (sounds / "b.flac").read_bytes(), time.monotonic()
    with served(models / "encoder", "--timeout", "4", "--max-mb", "1") as (process, port):
        connect = lambda: socket.create_connection(("127.0.0.1", port), timeout=60)
        with connect() as silent, connect() as head, connect() as slow, connect() as half, connect() as large:
            head.sendall(b"POST /embed HTTP/1.1\r\nHost: localhost\r\nX-")
            for one in (slow, half):
                one.sendall(b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nRIFF")
            half.close()
            large.sendall(b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999\r\n\r\n")
            assert large.recv(4_096).startswith(b"HTTP/1.1 413 ")
            status, values = ask(port, "/embed", body)
            assert status == 200
            np.testing.assert_allclose(
                values["embedding"], aasp.embed(sounds / "b.flac", model=models / "encoder"), atol=1e-5
            )
            assert slow.recv(4_096).startswith(b"HTTP/1.1 408 ")
            for one in (silent, head):
                with contextlib.suppress(ConnectionResetError):
                    assert one.recv(4_096) == b"", "the connection is closed"
        assert time.monotonic() - began < 60
        assert ask(port, "/health")[1]["requests"] == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0 and process.stderr is not None and process.stderr.read() == ""


@pytest.mark.slow
def test_sigterm_finishes_open_requests_and_accepts_no_new_ones(models: Path, tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(16_000 * 100)
    soundfile.write(tmp_path / "long.wav", noise, 16_000)
    body, answers = (tmp_path / "long.wav").read_bytes(), list[tuple[int, dict]]()
    with served(models / "encoder", TMPDIR=str(tmp_path)) as (process, port):
        asking = [
            threading.Thread(target=lambda: answers.append(ask(port, "/embed?frames=1&hop=0.04", body)))
            for _ in range(3)
        ]
        for thread in asking:
            thread.start()
        while ask(port, "/health")[1]["requests"] < 3:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionRefusedError):
            for _ in range(3_000):
                with contextlib.suppress(ConnectionResetError):  # it had not been taken before the end
                    socket.create_connection(("127.0.0.1", port), timeout=5).close()
                time.sleep(0.01)
        for thread in asking:
            thread.join()
        assert [status for status, _ in answers] == [200, 200, 200]
        assert process.wait(60) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["long.wav"], "no body is left behind"


def test_a_port_in_use_and_invalid_settings_are_one_line(
    models: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", str(models / "encoder"), "--port", port]) == 2
    message = (
        f"aasp: error: --host 127.0.0.1 --port {port}: can't be listened on (Address already in use); choose another\n"
    )
    assert capsys.readouterr().err == message
    for option, value, reason in (
        ("--port", "70000", "--port is 70000; give a number from 0 to 65535"),
        ("--queue", "0", "serving: queue is 0; give a number of at least 1 and at most 4096"),
        ("--max-mb", "-1", "serving: max_mb is -1.0; give a positive number and at most 4096"),
        ("--timeout", "inf", "--timeout is inf; give a finite number"),
        ("--wait-ms", "nan", "--wait-ms is nan; give a finite number"),
    ):
        assert main(["serve", str(models / "encoder"), option, value]) == 2
        assert capsys.readouterr().err == f"aasp: error: {reason}\n"
    assert main(["serve", str(tmp_path / "nothing")]) == 2
    assert "no such directory" in capsys.readouterr().err
