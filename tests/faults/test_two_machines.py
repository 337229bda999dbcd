"""A training on two machines: network namespaces with a link between them, which is slow, hangs, or is cut.

They share a file system, as machines of a cluster do, and each has a host name of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.training import peers
from aasp.training.tracking import read_metrics

pytestmark = pytest.mark.slow
FIELDS = "encoder.width=24 encoder.depth=2 encoder.heads=2 stem=conv vector=2:mean"
SMALL = [*(f"model.{field}" for field in FIELDS.split()), "data.batch=4", "data.crop_seconds=0.64"]
SMALL += ["predictor.width=16", "predictor.heads=2", "predictor.depth=1"]
STEPS = 40
ADDRESSES = ("192.0.2.1", "192.0.2.2")
PORT = 29511


class Machine:
    """A network namespace that has one end of the link, `link`, and an address."""

    def __init__(self, rank: int) -> None:
        self.rank, self.name = rank, f"aasp{os.getpid()}-{rank}"
        self.link, self.address = f"v{os.getpid()}-{rank}", ADDRESSES[rank]

    def ip(self, *words: str) -> None:
        run("ip", "-n", self.name, *words)

    def start(self, argv: list[str]) -> subprocess.Popen[str]:
        """The command as process `rank` of two, as srun would start it here."""
        own = {"RANK": str(self.rank), "WORLD_SIZE": "2", "LOCAL_RANK": "0", "GLOO_SOCKET_IFNAME": self.link}
        own |= {"MASTER_ADDR": ADDRESSES[0], "MASTER_PORT": str(PORT), "OMP_NUM_THREADS": "1"}
        host = f'hostname machine{self.rank}; exec "$@"'
        command = ["ip", "netns", "exec", self.name, "unshare", "--uts", "sh", "-c", host, "sh"]
        command += [sys.executable, "-m", "aasp", *argv]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **own}
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


@pytest.fixture
def machines() -> Iterator[tuple[Machine, Machine]]:
    made = (Machine(0), Machine(1))
    try:
        for one in made:
            run("ip", "netns", "add", one.name)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces can't be made here: {error}")
    try:
        first, second = made
        run(
            "ip",
            "link",
            "add",
            first.link,
            "netns",
            first.name,
            "type",
            "veth",
            "peer",
            second.link,
            "netns",
            second.name,
        )
        for one in made:
            one.ip("address", "add", f"{one.address}/24", "dev", one.link)
            one.ip("link", "set", "lo", "up")
            one.ip("link", "set", one.link, "up")
        yield made
    finally:
        for one in made:
            run("ip", "netns", "delete", one.name)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("machines") / "sounds"
    folder.mkdir()
    for number in range(12):
        soundfile.write(folder / f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(16_000), 16_000)
    return folder


def training(sounds: Path, out: Path) -> list[str]:
    options = [
        "--data",
        str(sounds),
        "--out",
        str(out),
        "--steps",
        str(STEPS),
        "--log-every",
        "1",
        "--checkpoint-every",
    ]
    return ["pretrain", "mae_ast_tiny", *options, "5", "--precision", "fp32", "--threads", "1", "--set", *SMALL]


def together(machines: tuple[Machine, Machine], argv: list[str]) -> list[subprocess.Popen[str]]:
    return [machine.start(argv) for machine in machines]


def ended(processes: list[subprocess.Popen[str]], seconds: float) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each; those that are left after some seconds are killed, and the test fails."""
    until, found = time.monotonic() + seconds, []
    try:
        for process in processes:
            out, err = process.communicate(timeout=max(1.0, until - time.monotonic()))
            found.append((process.returncode, out, err))
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return found


def until_step(run: Path, step: int, processes: list[subprocess.Popen[str]]) -> None:
    while not any(line["step"] >= step for line in read_metrics(run)):
        assert all(process.poll() is None for process in processes), [process.communicate() for process in processes]
        time.sleep(0.05)


def losses(run: Path) -> list[tuple[float, float]]:
    return [(line["step"], line["loss"]) for line in read_metrics(run)]


@pytest.fixture(scope="module")
def expected(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[float, float]]:
    """Losses of the same training by two processes on one machine."""
    out = tmp_path_factory.mktemp("one") / "run"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "aasp"]
    run(*launcher, *training(sounds, out))
    return losses(out)


def test_two_machines_compute_what_two_processes_do_over_a_slow_link_too(
    machines: tuple[Machine, Machine], sounds: Path, expected: list[tuple[float, float]], tmp_path: Path
) -> None:
    """The link carries two megabits a second, and the second machine stands still for five seconds."""
    slow = ["root", "tbf", "rate", "2mbit", "burst", "32kbit", "latency", "400ms"]
    for machine in machines:
        run("ip", "netns", "exec", machine.name, "tc", "qdisc", "add", "dev", machine.link, *slow)
    processes = together(machines, training(sounds, tmp_path / "run"))
    until_step(tmp_path / "run", 3, processes)
    processes[1].send_signal(signal.SIGSTOP)
    time.sleep(5)
    processes[1].send_signal(signal.SIGCONT)
    found = ended(processes, 300)
    assert [code for code, _, _ in found] == [0, 0], found
    assert losses(tmp_path / "run") == expected


@pytest.mark.parametrize("fault", ["hangs", "is cut off"])
def test_a_machine_that(
    fault: str,
    machines: tuple[Machine, Machine],
    sounds: Path,
    expected: list[tuple[float, float]],
    tmp_path: Path,
) -> None:
    """The other one ends by itself, and names it; both resume to the same losses."""
    processes = together(machines, training(sounds, tmp_path / "run"))
    until_step(tmp_path / "run", 7, processes)
    began = time.monotonic()
    if fault == "hangs":
        processes[1].send_signal(signal.SIGSTOP)
        code, _, err = ended(processes[:1], peers.PATIENCE + 30)[0]
        processes[1].kill()
    else:
        machines[1].ip("link", "set", machines[1].link, "down")
        found = ended(processes, peers.PATIENCE + 30)
        assert found[1][0] == 75 and "has lost its connection to the store" in found[1][2], found[1]
        code, _, err = found[0]
    assert code == 75 and time.monotonic() - began < peers.PATIENCE + 20, err
    assert err.count("aasp: error: process of rank 1 (machine1, pid ") == 1, err
    assert "is gone" in err and err.count("the same command resumes from the last checkpoint") == 1, err

    machines[1].ip("link", "set", machines[1].link, "up")
    found = ended(together(machines, training(sounds, tmp_path / "run")), 300)
    assert [code for code, _, _ in found] == [0, 0], found
    assert losses(tmp_path / "run") == expected
