"""`aasp reproduce`: a run again, equal bit for bit; differences are listed, and what can't be repeated is refused."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.cli.main import main
from aasp.training.reproduction import Losses, Recorded
from aasp.training.tracking import read_metrics

TINY = [
    *(
        "--set",
        "model.encoder.width=16",
        "model.encoder.depth=1",
        "model.vector=none",
        "model.encoder.heads=2",
        "predictor.width=16",
    ),
    *("predictor.depth=1", "predictor.heads=2", "losses.projector=16,8", "data.batch=4", "data.crop_seconds=0.5"),
    *("masking.views=2", "teacher.layers=1", "--log-every=1", "--checkpoint-every=4", "--threads=1"),
]


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """As on a command line, which a run writes down."""
    monkeypatch.setattr(sys, "argv", ["aasp", *words])
    return main(words)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sounds and a run of them, named from the folder that they are in."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "sounds").mkdir()
    random = np.random.default_rng(0)
    for i in range(5):
        soundfile.write(folder / f"sounds/{i}.wav", 0.1 * random.standard_normal(16_000), 16_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["pretrain", "aasp_tiny", "--data", "sounds", "--out", "run", "--steps", "4", "--seed", "3", *TINY]
        assert typed(patch, *words) == 0
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy of the run without its checkpoints, on a copy of the sounds."""
    shutil.copytree(made / "sounds", tmp_path / "sounds")
    shutil.copytree(made / "run", tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "model"))
    edit(tmp_path / "run/environment.json", lambda starts: starts[0].update(folder=str(tmp_path)))
    return tmp_path / "run"


def edit(file: Path, change: Callable) -> None:
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


def test_a_run_again_is_equal_bit_for_bit(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["reproduce", "../run", "--out", "again"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "nothing differs: commit, versions, machine and data are the same"
    assert lines[-1].endswith("losses are equal bit for bit at all 4 logged steps")
    again = tmp_path / "elsewhere/again"
    assert json.loads((again / "recipe.json").read_text()) == json.loads((copy / "recipe.json").read_text())
    assert [line["loss"] for line in read_metrics(again)] == [line["loss"] for line in read_metrics(copy)]
    assert main(["reproduce", "../run", "--out", "again"]) == 0, "what is finished is compared again"


def test_differences_are_printed_first_and_the_deviation_last(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(copy / "environment.json", lambda starts: starts[0].update(torch="2.0.1", commit="abc"))
    edit(copy / "recipe.json", lambda recipe: recipe["optimizer"].update(lr=2 * recipe["optimizer"]["lr"]))
    imports = ["aasp", "--plugin", "evil.py", *json.loads((copy / "environment.json").read_text())[0]["command"][1:]]
    edit(copy / "environment.json", lambda starts: starts[0].update(command=imports))
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    assert main(["reproduce", str(copy)]) == 1
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split("  ")[0]: line for line in lines[1:6]}
    assert rows["differs"].split() == ["differs", "then", "now", "what", "may", "change"]
    assert "2.0.1" in rows["torch"] and rows["torch"].endswith("last digits")
    assert " abc " in rows["commit"] and rows["commit"].endswith("other code")
    assert "losses differ first at step " in lines[-1] and " of 4 logged ones: loss" in lines[-1]
    found = Losses.of(copy, tmp_path / "run-again")
    assert found.steps == 4 and 0 < found.last <= found.largest[0] < 1


@pytest.mark.parametrize("change", ["contents", "a file less", "renamed"])
def test_changed_data_is_refused_unless_anyway(
    change: str, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sounds/4.wav"
    if change == "contents":
        soundfile.write(file, 0.1 * np.random.default_rng(9).standard_normal(16_000), 16_000)
    else:
        file.rename(tmp_path / ("gone.wav" if change == "a file less" else "sounds/9.wav"))
    assert main(["reproduce", str(copy)]) == 2
    captured = capsys.readouterr()
    assert "its data has changed: " in captured.err and captured.err.endswith("bring it back, or add --anyway\n")
    assert {"contents": "contents ", "a file less": "files ", "renamed": "listing "}[change] in captured.out
    assert not (tmp_path / "run-again").exists()
    if change == "contents":
        assert main(["reproduce", str(copy), "--anyway"]) == 1


@pytest.mark.slow
def test_data_that_moved_is_the_same(copy: Path, tmp_path: Path) -> None:
    for name in ("folder", "listing", "contents"):  # as an older version wrote it
        edit(copy / "environment.json", lambda starts, name=name: starts[0].pop(name))
    (tmp_path / "sounds").rename(tmp_path / "moved")
    assert main(["reproduce", str(copy), "--data", str(tmp_path / "moved")]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["aasp", "compare", "aasp_tiny", "--out", "lab"],
            "started by `aasp compare aasp_tiny --out lab`; run that again",
        ),
        (["mine.py", "big"], "started by `mine.py big`; run that again"),
        (["aasp"], "has no command"),
    ],
)
def test_runs_of_other_commands_are_refused(
    words: list[str], message: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(copy / "environment.json", lambda starts: starts[0].update(command=words))
    assert main(["reproduce", str(copy)]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_a_record_is_refused(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "comparison.json").write_text('{"command": "aasp compare a b"}')
    for place, more, message in (
        (lab, [], "run its own command with another --out: `aasp compare a b`"),
        (tmp_path / "gone", [], "no recipe.json in"),
        (copy, ["--out", str(copy / "again")], "is inside the run to repeat"),
    ):
        assert main(["reproduce", str(place), *more]) == 2
        assert message in capsys.readouterr().err
    (copy / "environment.json").write_text("[{")
    assert main(["reproduce", str(copy)]) == 2
    assert "environment.json: not readable as JSON" in capsys.readouterr().err


def test_losses_are_compared_bit_for_bit(tmp_path: Path) -> None:
    def log(name: str, *losses: float | None) -> Path:
        (tmp_path / name).mkdir()
        lines = [json.dumps({"step": step, "loss": loss, "seconds": len(name)}) for step, loss in enumerate(losses)]
        (tmp_path / name / "metrics.jsonl").write_text("".join(line + "\n" for line in lines))
        return tmp_path / name

    one = log("one", 1.0, 0.5, 0.25)
    assert Losses.of(one, log("same", 1.0, 0.5, 0.25)).equal
    assert Losses.of(one, log("short", 1.0)).summary() == (
        "losses are equal bit for bit at all 1 logged steps; 2 more were logged then"
    )
    other = Losses.of(one, log("other", 1.0, np.nextafter(0.5, 1), 0.2))
    assert other.first == (1, "loss", 0.5, np.nextafter(0.5, 1)) and other.largest == (pytest.approx(0.2), 2)
    assert other.last == pytest.approx(0.2) and not other.equal
    assert not Losses.of(one, log("none")).equal and not Losses.of(one, log("null", 1.0, None, 0.25)).equal


def test_the_record_names_its_data(made: Path) -> None:
    start = Recorded.of(made / "run").start
    assert (start["folder"], start["files"]) == (str(made), 5)
    assert len(start["listing"]) == len(start["contents"]) == 16


@pytest.mark.slow
def test_extended_and_fine_tuned_runs(
    made: Path, hums: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "pretrain",
        "aasp_tiny",
        "--data",
        str(made / "sounds"),
        "--out",
        str(tmp_path / "a"),
        "--steps",
        "4",
        *TINY,
    ]
    assert typed(monkeypatch, *words) == 0
    assert typed(monkeypatch, *words, "--extend", "3") == 0
    assert main(["reproduce", str(tmp_path / "a")]) == 0
    assert "equal bit for bit at all 7 logged steps" in capsys.readouterr().out

    index = ["--index", str(hums / "index.csv"), "--label", "label"]
    settings = ["--steps", "4", "--log-every", "1", "--threads", "1", "--set", "crop_seconds=0.5", "validations=2"]
    words = ["finetune", str(tmp_path / "a"), *index, "--split", "split", "--out", str(tmp_path / "tuned"), *settings]
    assert typed(monkeypatch, *words) == 0
    assert main(["reproduce", str(tmp_path / "tuned")]) == 0
    assert "equal bit for bit at all 4 logged steps" in capsys.readouterr().out
    words = [str(tmp_path / "folds") if word == str(tmp_path / "tuned") else word for word in words]
    words[words.index("split")] = "speaker"
    assert typed(monkeypatch, *words) == 0
    assert main(["reproduce", str(tmp_path / "folds")]) == 0
    assert capsys.readouterr().out.count("equal bit for bit at all 4 logged steps") == 6
    assert main(["reproduce", str(tmp_path / "tuned"), "--data", "x", "--out", str(tmp_path / "b")]) == 2
