"""One torch, the requested one: a dependency must not bring another, in CI's own environment."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
in_ci = pytest.mark.skipif(os.environ.get("CI") != "true", reason="on a user's machine torch is the user's")


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    matches = (re.fullmatch(r"([\w.-]+)(==|<)(\S+)", line) for line in lines if line and not line.startswith("#"))
    return {normal(match[1]): match[2] + match[3] for match in matches if match}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@in_ci
@pytest.mark.parametrize("name", ["torchvision", "torchaudio"])
def test_no_second_build_of_torch_came_in(name: str) -> None:
    assert importlib.util.find_spec(name) is None


@in_ci
def test_torch_did_not_move() -> None:
    installed = importlib.metadata.version("torch").partition("+")[0]
    assert f"=={installed}" == pins()["torch"]


def test_torchvision_and_torchaudio_are_refused_by_the_constraints() -> None:
    assert pins()["torchvision"] == pins()["torchaudio"] == "<0"


def test_every_direct_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    free = {"s3"}  # its botocore needs a python-dateutil that is older than the one pinned
    required = [*project["dependencies"], *(line for extra in extras.keys() - free for line in extras[extra])]
    names = {normal(re.match(r"[\w.-]+", line)[0]) for line in required} - {"aasp-audio"}  # type: ignore[index]
    assert names <= pins().keys()


def test_installing_the_package_leaves_the_users_torch_as_it_is() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert [line for line in dependencies if line.startswith("torch")] == ["torch>=2.9"]
