"""`aasp serve` under load against calling the encoder directly, for one sound after another.

usage: python benchmarks/serve.py [--rounds N] [--threads N]

WAV files of 10 s, `aasp_tiny` with random weights, which do not affect speed. Directly: the file is read and the
encoder called, in a loop. Over HTTP: one client that waits for each response, and eight concurrent ones, whose sounds
are computed together.
"""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import soundfile
import torch

from aasp.audio.sounds import read_sound
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain import recipes
from harness import Row, alternately, options, ratio, report
from sounds import clips

SECONDS, FILES, RATE, CLIENTS = 10.0, 16, 16_000, 8


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.set_defaults(threads=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        encoder = AudioEncoder(recipes.get("aasp_tiny").model).eval()
        encoder.save(Path(folder) / "model")
        paths = []
        for number, wave in enumerate(clips(FILES, SECONDS, RATE)):
            paths.append(Path(folder) / f"{number}.wav")
            soundfile.write(paths[-1], wave, RATE)
        command = [sys.executable, "-m", "aasp", "serve", f"{folder}/model", "--port", "0"]
        command += ["--threads", str(arguments.threads), "--precision", "fp32"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                port = int(process.stdout.readline().rpartition(":")[2])
                rows = compared(encoder, paths, port, arguments.rounds)
            finally:
                process.terminate()
    report("serve", rows, arguments.threads)


def compared(encoder: AudioEncoder, paths: list[Path], port: int, rounds: int) -> list[Row]:
    bodies = [path.read_bytes() for path in paths]
    latencies: dict[str, list[float]] = {"one client": [], "eight clients": []}

    def directly() -> None:
        for path in paths:
            with torch.inference_mode():
                encoder(torch.from_numpy(read_sound(str(path), rate=RATE))[None])

    def send_all(clients: int, name: str) -> None:
        with ThreadPoolExecutor(clients) as pool:
            latencies[name] += pool.map(lambda body: _post(port, body), bodies)

    things = {"directly": directly, "one client": lambda: send_all(1, "one client")}
    things["eight clients"] = lambda: send_all(CLIENTS, "eight clients")
    seconds = alternately(things, rounds)
    rows, speed = [], {name: FILES / statistics.median(each) for name, each in seconds.items()}
    for name, each in latencies.items():
        median, late = (1000 * sorted(each)[int(share * len(each))] for share in (0.5, 0.95))
        note = f"{speed[name]:.3g} against {speed['directly']:.3g} files a second; "
        note += f"a request {median:.3g} ms, 95 % under {late:.3g}"
        rows.append(Row(f"{name}, throughput over a loop's", ratio(seconds["directly"], seconds[name]), "", note))
    return rows


def _post(port: int, body: bytes) -> float:
    """Seconds of a request."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", "/embed", body)
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(answer.read().decode())
    answer.read()
    connection.close()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
