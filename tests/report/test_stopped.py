"""The page of a training that stopped: what it names, draws and escapes."""

from __future__ import annotations

import json
from pathlib import Path

from aasp.report.learning import explained, write_stopped_page
from aasp.training.loop import TrainingStopped

WHY = "<b>mine</b> stopped at step 3: all embeddings lie on a line (rank 1.01)"


def run_of(folder: Path, *lines: dict[str, float | None]) -> Path:
    (folder / "recipe.json").write_text(json.dumps({"name": "<i>mine</i>"}))
    text = "".join(json.dumps({"step": step, **line}) + "\n" for step, line in enumerate(lines, start=1))
    (folder / "metrics.jsonl").write_text(text)
    return folder


def test_the_page_says_why_and_shows_it(tmp_path: Path) -> None:
    rank = lambda value: {"loss": 2.5, "losses/frame": 1.5, "diagnostics/embedding_rank": value}
    run = run_of(tmp_path, rank(4.0), {"loss": None, "skipped_steps": 1}, rank(1.01))
    text = write_stopped_page(WHY, run).read_text()
    assert "&lt;b&gt;mine&lt;/b&gt; stopped at step 3: all embeddings lie on a line (rank 1.01)" in text
    assert "<b>mine" not in text and "<i>mine" not in text
    assert '<td>2</td><td class="figure">not finite</td>' in text and '<td class="figure">1.01</td>' in text
    assert text.count("<svg") == 3 and text.count("stroke-dasharray") == 1, "the limit of the rank"


def test_the_line_names_the_page(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"loss": 1.0})
    assert explained(TrainingStopped(WHY, run)) == f"{WHY}; {run}/stopped.html shows how"
    assert explained(TrainingStopped(WHY)) == WHY
    assert explained(TrainingStopped(WHY, tmp_path / "nowhere")) == WHY
