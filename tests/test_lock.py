"""The lock file holds the versions of constraints.txt with hashes; findings of pip-audit are printed."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pins(text: str) -> dict[str, str]:
    """Versions by normalised name."""
    return {re.sub(r"[-_.]+", "-", name).lower(): v for name, v in re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", text)}


def test_the_lock_file_is_the_constraints_with_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked, constraints = pins(lock), pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    assert {name: locked.get(name) for name in constraints} == constraints
    packages = re.split(r"(?m)^(?=[\w.-]+==)", lock)[1:]
    assert len(packages) == len(locked)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", package) for package in packages)


def test_the_audit_lists_vulnerable_packages() -> None:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None and spec.loader is not None
    audit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(audit)
    good, bad = {"name": "a", "version": "1", "vulns": []}, {"name": "b", "version": "2"}
    flaws = [{"id": "CVE-1", "fix_versions": ["2.1"]}, {"id": "CVE-2", "fix_versions": []}]
    unknown = {"name": "c", "skip_reason": "not found"}
    assert audit.report_lines({"dependencies": [good, unknown]}) == (
        ["0 known vulnerabilities in 1 packages; 1 could not be looked up"],
        0,
    )
    lines, code = audit.report_lines({"dependencies": [good, bad | {"vulns": flaws}]})
    assert code == 1 and lines[:2] == ["b 2: CVE-1, fixed in 2.1", "b 2: CVE-2, fixed in no version yet"]
    assert lines[2] == "2 known vulnerabilities in 2 packages"
