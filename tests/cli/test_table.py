"""`aasp table`: files and folders as input, one layout as output; every mistake is one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aasp.cli.main import main
from aasp.evaluate.records import Record, write_records

ONE = Record("tiny", "runs/tiny", "a1", "evar", "e1", "esc50", "linear", "1", 0, "accuracy", 0.8, 400, 0, "0.1.0")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    write_records(folder / "linear.json", [ONE, replace(ONE, split="2", value=0.7)])
    write_records(folder / "run" / "results.json", [replace(ONE, protocol="finetune", recipe="esc50", value=0.9)])
    return folder


def test_a_table_for_each_protocol(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(results)]) == 0
    out = capsys.readouterr().out
    linear, finetune = out.split("### Fine-tuning")
    assert "| tiny | evar | 75.0 ± 7.1 |" in linear and "| M2D | 2022 | 91.3 r |" in linear
    assert "| tiny | the benchmark's | 90.0 |" in finetune and "| AaPE v1 | 2025 | 97.5 dp |" in finetune


def test_one_protocol_of_named_files_without_peers(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(results / "linear.json"), str(results / "run" / "results.json")]
    assert main(["table", *files, "--protocol", "finetune", "--no-peers", "--format", "latex"]) == 0
    out = capsys.readouterr().out
    assert out.count(r"\begin{tabular}") == 1 and "90.0" in out and "AaPE" not in out


def test_a_file_is_written_and_not_replaced_without_the_option(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = results / "table.csv"
    argv = ["table", str(results), "--protocol", "linear", "--format", "csv", "--out", str(out)]
    assert main(argv) == 0 and out.read_text().startswith("rows,system,recipe,ESC-50,")
    assert capsys.readouterr().out == ""
    assert main(argv) == 2 and "output exists" in capsys.readouterr().err
    assert main([*argv, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "results"),
        (["gone.json"], "no such results file: gone.json"),
        (["empty"], "empty: no records found; "),
        (["cut.json"], "cut.json: not readable as JSON"),
        (["other.json"], "other.json: holds no records; "),
        (["results", "again.json"], "again.json; leave one of the two out"),
        (["results", "--format", "word"], "word"),
        (["results", "--format", "csv"], "2 protocols, linear, finetune; choose one with --protocol"),
        (["results", "--protocol", "knn"], "--protocol knn: no such results; there are linear, finetune"),
    ],
)
def test_mistakes_are_one_line(
    results: Path, argv: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results.parent)
    Path("empty").mkdir()
    Path("cut.json").write_text('{"records"')
    Path("other.json").write_text("{}")
    write_records("again.json", [replace(ONE, value=0.3)])
    assert main(["table", *argv, "--out", "table.md"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("aasp: error: ") and err.count("\n") == 1 and message in err
    assert not Path("table.md").exists()
