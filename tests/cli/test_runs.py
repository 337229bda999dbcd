"""`aasp runs` and `aasp watch`: which runs there are, and one followed to its end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aasp.cli.main import main
from aasp.cli.runs import HEADINGS
from aasp.files import locked


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run at step 20 of 40."""
    run = tmp_path / "runs/tiny"
    (run / "checkpoints/step-00000016").mkdir(parents=True)
    (run / "checkpoints/step-00000016/state.json").write_text("{}")
    (run / "recipe.json").write_text('{"name": "aasp_tiny", "steps": 40}')
    (run / ".lock").touch()
    for step in (10, 20):
        log(run, step)
    return run


def log(run: Path, step: int) -> None:
    numbers = {"loss": 30.0 / step, "clips_per_second": 8.0, "hours_seen": 0.5, "diagnostics/embedding_rank": 3.25}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, **numbers}) + "\n")


def test_a_table(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(run.parent)]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == list(HEADINGS)
    for text in ("tiny  pretrain  aasp_tiny  stopped", "20 of 40", "1.5000", " 8.0 ", " 3.2 ", "step-00000016, "):
        assert text in row
    with locked(run / ".lock"):
        assert main(["runs", str(run)]) == 0
    assert " running " in capsys.readouterr().out


def test_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "failure.json").write_text('{"why": "all embeddings lie on a line"}')
    assert main(["runs", str(run.parent), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["path"], found["state"], found["step"], found["steps"]) == (str(run), "failed", 20, 40)
    assert (found["reason"], found["loss"]) == ("all embeddings lie on a line", 1.5)
    assert main(["runs", str(run.parent)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"failed: {run}: all embeddings lie on a line"


def test_nothing_to_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"no runs in {tmp_path}\n"
    assert main(["runs", str(tmp_path), "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"
    assert main(["runs", str(tmp_path / "gone")]) == 2
    assert "no such folder" in capsys.readouterr().err


def finish(run: Path) -> None:
    log(run, 40)
    (run / "model").mkdir()


def fail(run: Path) -> None:
    (run / "failure.json").write_text('{"why": "loss is not finite"}')


@pytest.mark.parametrize(
    ("end", "code", "message"),
    [
        (finish, 0, "finished: {run}, step 40 of 40"),
        (fail, 1, "failed: {run}, step 30 of 40: loss is not finite"),
        (
            lambda run: None,
            75,
            "stopped: {run}, step 30 of 40; the command that started it resumes from its last checkpoint",
        ),
    ],
)
def test_a_run_is_followed_to_its_end(
    run: Path, end: Callable[[Path], None], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = threading.Event()

    def train() -> None:
        with locked(run / ".lock"):
            begun.set()
            time.sleep(0.1)
            log(run, 30)
            time.sleep(0.1)
            end(run)

    thread = threading.Thread(target=train)
    thread.start()
    begun.wait()
    assert main(["watch", str(run), "--every", "0.02"]) == code
    thread.join()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" · ")[0] for line in lines[:2]] == ["step 20/40", "step 30/40"]
    assert "loss 1.0000 · 8.0 clips/s · 0.50 h seen" in lines[1]
    assert lines[-1] == message.format(run=run)


def test_watching_a_path_that_is_no_running_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(run)]) == 75
    assert capsys.readouterr().out.startswith("stopped: ")
    for place, message in (
        (run.parent, f"holds several runs; name one of them, as in `aasp watch {run}`"),
        (run / "checkpoints", "no run: "),
        (tmp_path / "gone", "no such folder: "),
    ):
        assert main(["watch", str(place)]) == 2
        assert message in capsys.readouterr().err
    assert main(["watch", str(run), "--every", "0"]) == 2
    assert "--every is 0" in capsys.readouterr().err
