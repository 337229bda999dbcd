"""Every block of docs/deploy.md, run from top to bottom in a folder with a run, sounds and the page's files."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.cli.main import main
from aasp.model.audio_encoder import AudioEncoder

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "deploy.md"
NOT_OURS = ("pip install", "make web", "python -m http.server")
"""What would install, or run for ever."""


SOUNDS = ("dog.wav", "rain.flac", *(f"recordings/{n}.wav" for n in "ab"), "my_sounds/dog/a.wav", "my_sounds/rain/b.wav")


def blocks() -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_every_block_runs(trained: AudioEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trained.save("runs/tiny/model")
    random = np.random.default_rng(0)
    for name in SOUNDS:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(name, 0.1 * random.normal(size=20_000), 16_000)
    ran = set()
    for language, text in blocks():
        if language == "python":
            environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *filter(None, sys.path)])}
            done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment)
            assert done.returncode == 0, done.stderr
            ran.add(text)
            continue
        for line in (line.partition("  #")[0].strip() for line in text.splitlines()):
            if line.startswith("aasp "):
                argv = shlex.split(line)[1:]
                if any(name in argv and not _has(name) for name in ("openvino", "executorch")):
                    continue
                assert main(argv) == 0, line
                ran.add(line)
            else:
                assert line.startswith(NOT_OURS), line
    assert len(ran) >= 7
    assert sorted(path.name for path in Path("web/model").iterdir()) == ["demo.json", "model.onnx", "picture.onnx"]


def _has(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None
