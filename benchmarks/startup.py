"""Time until the first answer: the help, the import, and `aasp info` of a run.

usage: python benchmarks/startup.py [--rounds N]

Whole processes, run in turn, with files in the system's cache.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from aasp.config import to_dict
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain import recipes
from harness import Row, alternately, options, ratio, report

LOGGED = 1_000  # lines in the log of a long run
USED = "from aasp import AaPE, AudioEncoder, LogMel, load"


def main() -> None:
    arguments = options(__doc__, rounds=9).parse_args()
    python = lambda code: _process(sys.executable, "-c", code)
    command = str(Path(sys.executable).with_name("aasp"))
    with tempfile.TemporaryDirectory() as folder:
        run = _run(Path(folder))
        took = alternately(
            {
                "python -c pass": python("pass"),
                "import torch": python("import torch"),
                "import aasp": python("import aasp"),
                USED: python(USED),
                "aasp --help": _process(command, "--help"),
                "aasp info RUN": _process(command, "info", str(run)),
            },
            arguments.rounds,
        )

    def row(ours: str, theirs: str, reach: str) -> Row:
        ms, than = (1000 * statistics.median(took[name]) for name in (ours, theirs))
        return Row(f"`{ours}` over `{theirs}`", ratio(took[ours], took[theirs]), reach, f"{ms:.0f} and {than:.0f} ms")

    rows = [
        row("aasp --help", "python -c pass", "<= 10"),
        row("import aasp", "import torch", "<= 1.2"),
        row(USED, "import torch", "<= 1.2"),
        row("aasp info RUN", "import torch", "<= 2"),
    ]
    report("startup", rows, arguments.threads)


def _process(*words: str) -> Callable[[], object]:
    return lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def _run(folder: Path) -> Path:
    """The files of a finished run that `aasp info` reads."""
    recipe = recipes.get("aasp_tiny")
    AudioEncoder(recipe.model).save(folder / "model")
    (folder / "recipe.json").write_text(json.dumps(to_dict(recipe)))
    lines = (json.dumps({"step": 50 * line, "loss": 1.0, "clips_per_second": 40.0}) for line in range(1, LOGGED + 1))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return folder


if __name__ == "__main__":
    main()
