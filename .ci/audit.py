"""List the packages of requirements.lock of which a vulnerability is known, by pip-audit: `make audit`.

Exit code 1 where there are some. What can't be looked up, without a network say, is said and is no fault.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"


def report_lines(found: dict[str, list[dict]]) -> tuple[list[str], int]:
    """What to print of pip-audit's document, and the exit code."""
    known = [one for one in found["dependencies"] if "skip_reason" not in one]
    missing = len(found["dependencies"]) - len(known)
    lines = [
        f"{one['name']} {one['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for one in known
        for flaw in one["vulns"]
    ]
    unknown = f"; {missing} could not be looked up" if missing else ""
    return [*lines, f"{len(lines)} known vulnerabilities in {len(known)} packages{unknown}"], int(bool(lines))


def main() -> int:
    requested = ["-r", str(LOCK), "--disable-pip", "--progress-spinner", "off", "--timeout", "20", "--format", "json"]
    done = subprocess.run([sys.executable, "-m", "pip_audit", *requested], capture_output=True, text=True)
    try:
        lines, code = report_lines(json.loads(done.stdout))
    except (ValueError, KeyError):
        reason = next(reversed(done.stderr.strip().splitlines()), f"exit {done.returncode}")
        lines, code = [f"known vulnerabilities could not be looked up: {reason}"], 0
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
