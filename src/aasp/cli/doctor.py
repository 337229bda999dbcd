"""`aasp doctor`: the relevant facts about this machine and the installation, with advice."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from aasp.cli.arguments import parse
from aasp.cli.facts import facts


@dataclass(frozen=True)
class Doctor:
    """Show what matters in the environment: versions, cores and threads, precisions measured, decoders tried, GPUs,
    disk, optional packages; then advice. Takes a few seconds.

    The exit code is 1 if something is broken; each problem is named with its remedy.
    """

    json: bool = False
    """Print it as JSON."""


def run(argv: list[str]) -> int:
    arguments = parse(Doctor, argv, prog="aasp doctor")

    from aasp.cli.checkup import everything

    found = everything()
    problems = [one for one in found if one.problem]
    advice = [one for one in found if one.advice and not one.problem]
    sections: dict[str, dict[str, Any]] = defaultdict(dict)
    for one in found:
        sections[one.section][one.name] = one.value
    if arguments.json:
        text = {
            "problems": [{"what": f"{one.name}: {one.value}", "remedy": one.advice} for one in problems],
            "advice": [{"what": f"{one.name}: {one.value}", "remedy": one.advice} for one in advice],
        }
        print(json.dumps(sections | text, indent=1))
        return int(bool(problems))
    for section, rows in sections.items():
        facts(section, rows)
    for heading, some in (("problem", problems), ("advice", advice)):
        for one in some:
            print(f"{heading}: {one.name}: {one.value}; {one.advice}")
    if not problems:
        print("no problem found")
    return int(bool(problems))
