"""Two thousand spoilt files: each is listed, and read or refused within 10 s and 2 GiB; nothing fails."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bench.mutate import mutations
from bench.reader import LIMIT_SECONDS, reports
from bench.workshop import Workshop

# Of a thousand files, so many may be usable to `probe` and turn out not to be: damage in the middle, which only
# decoding all of it shows, as `scan` does (docs/reliability.md has the counts).
UNLIKE_PER_THOUSAND = 40
SCAN = """
import json, sys
from aasp.datasets.manifest import scan
manifest, skipped = scan(sys.argv[1])
print(json.dumps([manifest.paths, [list(one) for one in skipped]]))
"""


def scanned(folder: Path) -> tuple[list[str], dict[str, str], str]:
    """(usable paths, reasons by path, what was written to the standard error) of a scan in a process of its own."""
    done = subprocess.run([sys.executable, "-c", SCAN, str(folder)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    usable, skipped = json.loads(done.stdout)
    return usable, dict(skipped), done.stderr


def check(folder: Path, paths: list[Path]) -> None:
    found, written = reports(paths)
    wrong = [report for report in found if report.status not in ("read", "refused", "unlike")]
    assert wrong == []
    assert [line for line in written.splitlines() if "channels cancel" not in line] == []  # that line is ours
    assert max(report.seconds for report in found) < LIMIT_SECONDS
    counts = Counter(report.status for report in found)
    assert counts["read"] > 0.2 * len(paths) and counts["refused"] > 0.2 * len(paths)
    assert counts["unlike"] <= UNLIKE_PER_THOUSAND * len(paths) / 1000 + 2
    usable, skipped, written = scanned(folder)
    assert written == ""
    assert {*usable, *skipped} == {str(path) for path in paths} and len(usable) + len(skipped) == len(paths)
    assert set(usable) <= {report.path for report in found if report.status == "read"}
    refused = {report.path: report.detail for report in found if report.status == "refused"}
    assert {path: skipped.get(path) for path in refused} == refused
    others = {path: reason for path, reason in skipped.items() if path not in refused}
    unlike = {report.path for report in found if report.status == "unlike"}
    assert all(
        reason.startswith(("too short", "samples reach")) for path, reason in others.items() if path not in unlike
    )


@pytest.mark.slow
def test_two_thousand_damaged_files(tmp_path: Path) -> None:
    folder = tmp_path / "spoilt"
    folder.mkdir()
    check(folder, mutations(Workshop(tmp_path / "workshop"), folder, 2_000))


def test_damaged_files_made_by_python_alone(tmp_path: Path) -> None:
    folder = tmp_path / "spoilt"
    folder.mkdir()
    check(folder, mutations(Workshop(tmp_path / "workshop", tools=False), folder, 150, seed=1))


@pytest.mark.parametrize("what", ["hang", "crash"])
def test_the_check_sees_a_hang_and_a_crash(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.reader

    script = tmp_path / "reader.py"
    deed = "import time; time.sleep(60)" if what == "hang" else "import os; os.kill(os.getpid(), 11)"
    script.write_text(f"import sys\nsys.stdin.read()\n{deed}\n")
    monkeypatch.setattr(bench.reader, "__file__", str(script))
    monkeypatch.setattr(bench.reader, "FIRST_SECONDS", 0.5)
    found, _ = reports([tmp_path / "a.wav"])
    assert [report.status for report in found] == [what]


def test_a_file_that_turns_out_bad_is_named_where_it_is_used(tmp_path: Path) -> None:
    """What a scan could not see is still reported: the pipeline lists the file and its reason."""
    import soundfile

    from aasp.datasets.manifest import scan
    from aasp.datasets.pipeline import CropPipeline

    for name in ("whole", "holed"):
        soundfile.write(tmp_path / f"{name}.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 48_000), 16_000)
    content = bytearray((tmp_path / "holed.flac").read_bytes())
    content[2_000:60_000] = bytes(58_000)
    (tmp_path / "holed.flac").write_bytes(content)
    assert [Path(one.path).name for one in scan(tmp_path)[1]] == ["holed.flac"]
    manifest, skipped = scan(tmp_path, decode=False)
    assert len(manifest) == 2 and skipped == []
    pipeline = CropPipeline(manifest, seconds=0.5, batch=2, seed=0, workers=0, cache=True)
    for _ in range(4):
        next(pipeline)
    assert [(Path(one.path).name, "truncated or damaged" in one.reason) for one in pipeline.skipped] == [
        ("holed.flac", True)
    ]
