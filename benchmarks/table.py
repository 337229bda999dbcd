"""Put the results in `benchmarks/results/*.json` into the table of docs/performance.md.

usage: python benchmarks/table.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from harness import RESULTS, Row, Spread

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
ORDER = ("sblu", "stem_share", "step", "embed", "frontend", "decoding", "pipeline", "start", "scaling", "startup")
ORDER += ("embed_files", "serve", "deploy", "linear", "finetune", "labelling", "map")
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"


def table() -> str:
    """The Markdown table of all results, in the benchmarks' order."""
    lines = ["| benchmark | what | ratio, median [quartiles] | must reach | | in numbers |", "|---" * 6 + "|"]
    machines = []
    for name in ORDER:
        file = RESULTS / f"{name}.json"
        if not file.exists():
            continue
        document = json.loads(file.read_text())
        machines.append(document["machine"])
        threads = document["machine"]["threads"]
        who = f"`{name}`, {threads} thread{'s' * (threads > 1)}"
        for values in document["rows"]:
            row = Row(**values | {"ratio": Spread(**values["ratio"])})
            mark = {None: "", True: "✓", False: "**missed**"}[row.reached]
            bar = row.reach.replace(">=", "≥").replace("<=", "≤")
            lines.append(f"| {who} | {row.what} | {row.ratio} | {bar} | {mark} | {row.detail} |")
    on = sorted({f"{m['processor']}, {m['isa']}, torch {m['torch']}" for m in machines})
    dates = sorted({m["date"] for m in machines})
    text = f"Measured {' and '.join(dates)} on: {'; '.join(on)}."
    return "\n".join([text, "", *lines])


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    block = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    assert block.search(page), f"{PAGE} has lost its marks {BEGIN} and {END}"
    PAGE.write_text(block.sub(lambda _: f"{BEGIN}\n{table()}\n{END}", page), encoding="utf-8")
    print(f"{PAGE}: the table is up to date")


if __name__ == "__main__":
    main()
