"""A new user's steps: wheel and sdist are built and installed in a new environment with the newest versions allowed, no
constraints file, and the tutorial is followed there line by line, from an empty folder and offline but for pip."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorial.md"
NEEDED = {"aasp/py.typed", "aasp/report/templates/page.css", "aasp/explore/assets/map.js", "aasp/hf/card.md"}
NEEDED |= {"aasp/report/figure.mplstyle", "aasp/evaluate/published.csv"}
NEEDED |= {f"aasp/packaged/aasp-tiny/{name}" for name in ("config.json", "model.safetensors")}
OFFLINE = {"HF_HUB_OFFLINE": "1", "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}

pytestmark = pytest.mark.slow


def run(*command: str | Path, where: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([str(word) for word in command], cwd=where, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of this tree."""
    place = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "pip", "install", "-qq", "--target", place / "tools", "hatchling", where=place)
    env = os.environ | {"PYTHONPATH": str(place / "tools")}
    run(sys.executable, "-m", "hatchling", "build", "-d", place / "dist", where=ROOT, env=env)
    return place / "dist"


@pytest.fixture(scope="module")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel: torch as in constraints.txt, for processors, the rest the newest."""
    place = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", place, where=place)
    pip = (place / "bin" / "python", "-m", "pip", "install", "-qq")
    (torch,) = re.findall(r"(?m)^torch==\S+", (ROOT / "constraints.txt").read_text(encoding="utf-8"))
    run(*pip, torch, where=place)
    (wheel,) = built.glob("*.whl")
    run(*pip, f"{wheel}[onnx]", where=place)
    return place


@pytest.fixture(scope="module")
def outside(environment: Path) -> dict[str, str]:
    """The newcomer's variables: the new environment first, nothing of this checkout, no way to the network."""
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "AASP_DATA", "VIRTUAL_ENV"}}
    path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return kept | OFFLINE | {"PATH": path, "AASP_CACHE": str(environment / "cache")}


def test_wheel_and_sdist_hold_the_same_package_with_its_model(built: Path) -> None:
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("aasp/")}
    assert inside >= NEEDED
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}
    assert {name.removeprefix("src/") for name in names if name.startswith("src/aasp/")} == inside
    assert {"pyproject.toml", "README.md", "LICENSE"} <= names


def steps() -> list[tuple[str, str]]:
    """The tutorial's blocks in order, the installation aside: lines of a shell one by one, Python as it stands."""
    found: list[tuple[str, str]] = []
    for language, block in re.findall(r"^```(sh|python)\n(.*?)^```", TUTORIAL.read_text(encoding="utf-8"), re.M | re.S):
        lines = block.splitlines() if language == "sh" else [block]
        found += [(language, line) for line in lines if not line.startswith("pip install")]
    return found


def test_the_tutorial_line_by_line(outside: dict[str, str], tmp_path: Path) -> None:
    python = Path(outside["PATH"].partition(os.pathsep)[0]) / "python"
    where = "import aasp; print(aasp.__file__)"
    assert str(ROOT) not in run(python, "-c", where, where=tmp_path, env=outside)
    output = ""
    for language, text in steps():
        command = shlex.split(text) if language == "sh" else [str(python), "-c", text]
        output += run(*command, where=tmp_path, env=outside)
    assert "no problem found" in output
    same = re.search(r"of the same class for (\d+)%", output)
    assert same is not None and int(same[1]) > 90
    (record, *_) = json.loads((tmp_path / "classifier/results.json").read_text())["records"]
    assert record["clips"] == 6
    assert re.search(r"^new.wav\s+cricket \d", output, re.MULTILINE)
    assert (tmp_path / "new.png").stat().st_size > 10_000
    assert (tmp_path / "classifier.onnx").stat().st_size > 1_000_000


def test_the_sdist_is_installed_too(built: Path, outside: dict[str, str], environment: Path, tmp_path: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    pip = (environment / "bin" / "python", "-m", "pip", "install", "-qq", "--no-deps", "--force-reinstall")
    run(*pip, sdist, where=tmp_path)
    assert "no problem found" in run("aasp", "doctor", where=tmp_path, env=outside)
