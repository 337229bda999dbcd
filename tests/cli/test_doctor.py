"""`aasp doctor`: it reports what is installed, and each fault is a problem with a remedy."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from aasp.cli import checkup, decoders
from aasp.cli.checkup import Finding, cgroup_cpus, cgroup_memory, disks, processor
from aasp.cli.main import main


def named(findings: list[Finding]) -> dict[str, Finding]:
    return {one.name: one for one in findings}


def test_doctor_reports_every_section(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    took = {torch.float32: 0.001, torch.bfloat16: 0.002}
    monkeypatch.setattr("aasp.training.precision.seconds_of_a_product", lambda: took)
    code = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == bool(found["problems"])
    for section in ("software", "processor", "precision", "GPUs", "engines", "decoders", "disk", "optional", "advice"):
        assert section in found
    assert found["software"]["torch"] in (torch.__version__, torch.__version__.split("+")[0])
    assert found["processor"]["instructions"].endswith(torch.backends.cpu.get_cpu_capability())
    assert found["processor"]["threads of torch"] == torch.get_num_threads()
    assert found["precision"]["bfloat16 on the processor"] == "604 GFLOP/s"
    assert {found["decoders"][name] for name in ("WAV", "FLAC", "MP3", "Ogg Vorbis", "Ogg Opus", "AAC in MP4")} == {
        "read"
    }


def test_a_problem_is_a_line_with_its_remedy_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Finding("a", "x", 1), Finding("a", "y", "gone", "fetch it", True), Finding("b", "z", "few", "take more")]
    monkeypatch.setattr(checkup, "everything", lambda: found)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == ["problem: y: gone; fetch it", "advice: z: few; take more"]
    monkeypatch.setattr(checkup, "everything", lambda: found[::2])
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "no problem found"


@pytest.mark.parametrize(
    ("files", "cores", "memory"),
    [
        ({"cpu.max": "150000 100000\n", "memory.max": "4096\n"}, 1.5, 4096),
        ({"cpu.max": "max 100000\n", "memory.max": "max\n"}, None, None),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4.0, None),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None, None),
        ({"memory/memory.limit_in_bytes": "8192"}, None, 8192),
        ({"cpu.max": "junk"}, None, None),
        ({}, None, None),
    ],
)
def test_limits_of_a_container(files: dict[str, str], cores: float | None, memory: int | None, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert (cgroup_cpus(tmp_path), cgroup_memory(tmp_path)) == (cores, memory)


def test_more_threads_than_cores_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    found = named(list(processor(tmp_path)))
    assert "limited to 0.5 by the container" in found["cores"].value
    assert found["threads of torch"].advice.endswith("--threads 1") and not found["threads of torch"].problem
    (tmp_path / "cpu.max").unlink()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert named(list(processor(tmp_path)))["threads of torch"].advice.endswith("--threads 16 takes every core")


def test_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AASP_DATA", str(tmp_path / "gone"))
    monkeypatch.setenv("AASP_CACHE", str(tmp_path / "a/b"))
    found = named(list(disks()))
    assert found["AASP_DATA"].problem and "no such folder" in found["AASP_DATA"].value
    assert found["cache"].value.startswith(f"{tmp_path / 'a/b'}, ")
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda _: SimpleNamespace(total=1e9, free=1e8))
    assert named(list(disks()))["cache"].problem


def test_a_decoder_with_wrong_samples_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import aasp.audio.io

    whole = aasp.audio.io.read
    monkeypatch.setattr(aasp.audio.io, "read", lambda path, rate: whole(path, rate=rate)[::2])
    found = named(list(decoders.decoders()))["WAV"]
    assert (found.value, found.problem) == ("read wrongly", True) and found.advice.startswith("pip install")
