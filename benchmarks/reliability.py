"""Count the test files that are read or refused correctly, and the outcomes for corrupted ones.

    python benchmarks/reliability.py [--mutations 2000] [--write]

The catalogue is that of `tests/bench`; ffmpeg, sox and lame must be installed. `--write` puts the counts into
docs/reliability.md.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from bench.catalogue import cases  # noqa: E402
from bench.mutate import mutations  # noqa: E402
from bench.oracle import judged  # noqa: E402
from bench.reader import reports  # noqa: E402
from bench.workshop import Unavailable, Workshop  # noqa: E402

PAGE = ROOT / "docs" / "reliability.md"


def bench_table(workshop: Workshop, folder: Path) -> tuple[list[str], list[str]]:
    """Rows of files tested, read correctly, refused correctly and wrong, by family; and the errors of each."""
    counts: dict[str, Counter] = defaultdict(Counter)
    wrong = []
    for case in cases():
        path = folder / case.name
        try:
            path.write_bytes(case.make(workshop))
            outcome = judged(path, case)
        except Unavailable as why:
            counts[case.family]["not made"] += 1
            wrong.append(f"not made: {case.family} {case.name}: {why}")
            continue
        finally:
            path.unlink(missing_ok=True)
        counts[case.family][outcome.verdict] += 1
        if outcome.verdict == "wrong":
            wrong.append(f"{case.family} {case.name}: {outcome.detail}")
    rows = ["| files | tested | read correctly | refused correctly | wrong |", "|---|---:|---:|---:|---:|"]
    total: Counter = Counter()
    for family, count in counts.items():
        total += count
        rows.append(_row(family, count))
    return [*rows, _row("**all**", total)], wrong


def _row(name: str, count: Counter) -> str:
    right, refused, wrong = (count[verdict] for verdict in ("read right", "refused rightly", "wrong"))
    return f"| {name} | {right + refused + wrong} | {right} | {refused} | {wrong} |"


def mutation_table(workshop: Workshop, folder: Path, count: int) -> list[str]:
    found, written = reports(mutations(workshop, folder, count))
    by = Counter(report.status for report in found)
    unlike = Counter(Path(report.path).suffix.lstrip(".") for report in found if report.status == "unlike")
    formats = ", ".join(f"{n} {kind}" for kind, n in unlike.most_common())
    rows = [
        ("corrupted files", f"{len(found):,}"),
        ("refused by `probe`", f"{by['refused']:,}"),
        ("read, as a whole and in windows", f"{by['read']:,}"),
        (f"accepted by `probe`, refused when decoded ({formats})", f"{by['unlike']:,}"),
        ("crashes, hangs, other errors", f"{by['crash'] + by['hang'] + by['error']:,}"),
        ("lines printed by C libraries", f"{sum('channels cancel' not in line for line in written.splitlines()):,}"),
        ("slowest file (probe, whole and windows)", f"{max(report.seconds for report in found):.2f} s"),
        ("peak memory", f"{max(report.peak_mib for report in found):.0f} MiB"),
    ]
    return ["| | |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=2_000, help="number of corrupted files")
    parser.add_argument("--write", action="store_true", help="write the counts to docs/reliability.md")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workshop = Workshop(folder / "workshop")
        for sub in ("files", "corrupted"):
            (folder / sub).mkdir()
        table, wrong = bench_table(workshop, folder / "files")
        corrupted = mutation_table(workshop, folder / "corrupted", settings.mutations)
    print("\n".join([*table, "", *corrupted, "", *wrong]))
    if settings.write:
        page = PAGE.read_text(encoding="utf-8")
        for mark, rows in (("bench", table), ("corrupted", corrupted)):
            body = "\n".join(rows)
            page = re.sub(f"(<!-- {mark} -->\n).*?(<!-- / -->)", rf"\g<1>{body}\n\g<2>", page, flags=re.DOTALL)
        PAGE.write_text(page, encoding="utf-8")
    return 1 if any(not line.startswith("not made") for line in wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
