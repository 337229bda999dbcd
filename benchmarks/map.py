"""Frame rate of the map while it is dragged, zoomed and hovered: 100,000 points against 1,000, in headless Chromium.

usage: python benchmarks/map.py [--rounds N] [--points N]

The page moves itself before each frame, and counts frames by requestAnimationFrame. Chromium draws WebGL on the CPU
here (SwiftShader), and both pages take turns in one run. On a busy machine the frame rate is not meaningful: the CPU
time of Chromium's processes per frame is the time of a frame on an idle core. Vectors are generated: 60 groups of 192
dimensions. Linux only.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from aasp.explore.map import write_map
from aasp.index import Index
from aasp.index.layout import COLUMNS, Model, Settings, State, add, write_state
from aasp.index.nearest import unit
from harness import Row, options, ratio, report

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from devtools import Tab, tab

WIDTH, GROUPS, FEW, WARMUP, COUNT = 192, 60, 1_000, 12, 20
# JavaScript that runs before the n-th frame; and a promise of the frames' times.
ACTS = {
    "drag": "(n) => pan(9 * Math.cos(0.1 * n), 9 * Math.sin(0.13 * n))",
    "zoom": "(n) => zoom(n % 40 < 20 ? 1.05 : 1 / 1.05)",
    "pointer": "(n) => hover(nearest(200 + (n % 400), 300 + (n % 90), REACH))",
}
FRAMES = """new Promise((done) => {{
  const frames = [];
  requestAnimationFrame(function next(at) {{
    frames.push(at);
    act.{what}(frames.length);
    frames.length <= {count} ? requestAnimationFrame(next) : done(frames);
  }});
}})"""


@dataclass(frozen=True)
class Watched:
    """Milliseconds from each frame to the next, and CPU milliseconds of each."""

    frames: list[float]
    processor: float


def main() -> None:
    parser = options(__doc__, rounds=3)
    parser.set_defaults(threads=1)
    parser.add_argument("--points", type=int, default=100_000)
    arguments = parser.parse_args()
    took: dict[tuple[str, int], list[Watched]] = {}
    with tempfile.TemporaryDirectory() as folder:
        pages = {points: page(Path(folder) / str(points), points) for points in (FEW, arguments.points)}
        for _ in range(arguments.rounds):
            for points, path in pages.items():
                for what, seen in watched(path).items():
                    took.setdefault((what, points), []).append(seen)
    rows = [row(what, took[what, FEW], took[what, arguments.points], arguments.points) for what in ACTS]
    report("map", rows, arguments.threads, load=os.getloadavg()[0])


def page(folder: Path, points: int) -> Path:
    """The map of generated vectors."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    group = rng.integers(0, GROUPS, points)
    vectors = unit(rng.standard_normal((GROUPS, WIDTH))[group] + 0.5 * rng.standard_normal((points, WIDTH)))
    values = {
        "path": [f"{row:06d}.wav" for row in range(points)], "start": [0.0] * points, "seconds": [1.0] * points,
        "hash": [f"{row:064x}" for row in range(points)], "modified": list(range(points)), "size": [1] * points,
        "source": [str(folder)] * points,
    }  # fmt: skip
    rows = pa.table({name: pa.array(values[name], kind) for name, kind in COLUMNS.items()})
    state = State(Model("made up", "0" * 64), Settings(), str(folder))
    write_state(folder, state)
    add(folder, state, vectors, rows.append_column("label", pa.array([f"group {one}" for one in group])))
    out = folder / "map.html"
    write_map(Index.open(folder), out, groups=12, most_bytes=0)
    return out


def watched(path: Path) -> dict[str, Watched]:
    """Frames of the page, by action."""
    with tab() as one:
        one.open(path.as_uri())
        one.ask(f"act = {{{', '.join(f'{what}: {code}' for what, code in ACTS.items())}}}")
        return {what: counted(one, what) for what in ACTS}


def counted(one: Tab, what: str) -> Watched:
    one.ask(FRAMES.format(what=what, count=WARMUP))  # finish what was drawn before
    before = used()
    times = np.diff(one.ask(FRAMES.format(what=what, count=COUNT)))
    return Watched(times.tolist(), (used() - before) / len(times))


def used() -> float:
    """CPU milliseconds used by the processes that this one has started, and their children."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = file.read_text().rpartition(")")[2].split()
            found[int(file.parent.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    tick, ours = 1000 / os.sysconf("SC_CLK_TCK"), {os.getpid()}
    while more := {one for one, (parent, _) in found.items() if parent in ours} - ours:
        ours |= more
    return tick * sum(found[one][1] for one in ours if one != os.getpid())


def row(what: str, few: list[Watched], many: list[Watched], points: int) -> Row:
    """The ratio of CPU time per frame, and the frame rates."""
    said = [
        f"{np.median([one.processor for one in some]):.0f} ms of the processor a frame, "
        f"{1000 / np.mean(np.concatenate([one.frames for one in some])):.0f} frames a second, "
        f"longest {max(max(one.frames) for one in some):.0f} ms"
        for some in (many, few)
    ]
    each = ratio([one.processor for one in many], [one.processor for one in few])
    name = f"{what}: processor time a frame, {points:,} points over {FEW:,}"
    return Row(name, each, "", f"{said[0]}; of {FEW:,} {said[1]}")


if __name__ == "__main__":
    main()
