"""`aasp plan` prints what a recipe takes, for people and as JSON."""

from __future__ import annotations

import functools
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from aasp.cli.main import main
from aasp.cli.plan import si
from aasp.formats import duration_text
from aasp.planning import pretraining
from aasp.planning.step import step_cost

PAGE = (Path(__file__).parents[2] / "docs" / "full-scale.md").read_text(encoding="utf-8")
EIGHT = ["--gpus", "8", "--utilisation", "0.4"]
ONCE = functools.cache(step_cost)


@pytest.fixture(autouse=True)
def _traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines differ from test to test, steps rarely."""
    monkeypatch.setattr(pretraining, "step_cost", ONCE)


def test_a_plan_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "aasp_base", *EIGHT]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "aasp_base on 8 GPUs at 40% of 989 TFLOP/s, 14 cores a GPU, flac: estimated, not measured" in shown
    for part in ("student.frontend", "student.stem", "teacher.model.encoder", "predictor", "the rest"):
        assert f"{part} " in shown
    for line in ("clips 19,200,000", "epochs 10.1", "the set as wav 608 GB", "of 14", "the bottleneck"):
        assert line in shown


def test_a_plan_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "aasp_tiny", *EIGHT, "--set", "steps=7", "masking.views=2", "--storage", "3", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["machines"]["gpus"] == 8 and plan["machines"]["storage"] == 3.0
    assert plan["total_flops"] == 7 * plan["step_flops"]
    assert plan["step_flops"] == sum(sum(flops.values()) for flops in plan["flops"].values())


@pytest.mark.slow
def test_embedding(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "aasp_base", *EIGHT, "--embed-hours", "1e6", "--audio", "wav"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "1,000,000 hours" in shown and "a window of 10.24 s" in shown and "the set as wav 115 TB" in shown
    assert main(["plan", "aasp_base", *EIGHT, "--embed-hours", "1e6", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hours"] == 1e6


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["aasp_bass", *EIGHT], "did you mean 'aasp_base'?"),
        (["aasp_base", *EIGHT, "--set", "masking.vews=2"], "did you mean 'views'?"),
        (["aasp_base", "--gpus", "0", "--utilisation", "0.4"], "--gpus is 0; "),
        (["aasp_base", "--gpus", "8", "--utilisation", "40"], "0.4 is 40 %"),
        (["aasp_base", "--gpus", "64", "--utilisation", "0.4"], "--set data.batch=64, or --gpus 48"),
        (["aasp_base", *EIGHT, "--hours-of-audio", "0"], "--hours-of-audio is 0; "),
        (["aasp_base", *EIGHT, "--embed-hours", "-1"], "--embed-hours is -1; "),
        (["aasp_base", *EIGHT, "--decoded", "0"], "--decoded is 0; "),
        (["aasp_base", "--utilisation", "0.4"], "--gpus"),
    ],
)
def test_a_mistake_is_one_line(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *argv]) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1


def test_help_answers_without_torch() -> None:
    script = "import sys; from aasp.cli.main import main; main(['plan', '--help']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0 B"), (1, "1 B"), (999.4, "999 B"), (999.6, "1 kB"), (56.14e12, "56.1 TB"), (0.0177, "17.7 mB")],
)
def test_quantities_have_three_digits_and_a_prefix(value: float, expected: str) -> None:
    assert si(value, "B") == expected


@pytest.mark.slow
@pytest.mark.parametrize("line", sorted({line for line in PAGE.splitlines() if line.startswith("aasp plan ")}))
def test_the_page_holds_what_its_commands_print(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, *argv = shlex.split(line)
    assert main([*argv, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    if "--embed-hours" in argv:
        figures = [duration_text(86_400 * plan["limits"][plan["bottleneck"]])]
    else:
        figures = [si(plan["step_seconds"], "s"), duration_text(86_400 * plan["days"]), si(plan["step_flops"], "FLOP")]
        figures.append(si(sum(plan["memory"].values()), "B"))
    assert any(figure in PAGE for figure in figures), figures


def test_changes_that_make_a_step_fit(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["aasp_tiny", *EIGHT[:1], "1", *EIGHT[2:]]
    assert main(["plan", *small, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["fits"] == {}
    room = f"{0.75e-9 * sum(plan['memory'].values()):.3g}"
    assert main(["plan", *small, "--memory", room]) == 0
    output = capsys.readouterr().out
    assert f"more than its {float(room):g} GB; what fits" in output
    assert "--set optimizer.recompute=true" in output and "--set optimizer.accumulate=2" in output
    assert (
        "accumulated, the contrastive loss distinguishes a clip from the others and the utterance target is" in output
    )
    assert main(["plan", *small, "--memory", "0.001"]) == 0
    assert "use more GPUs, or a smaller model" in capsys.readouterr().out


def test_less_memory_is_counted() -> None:
    from aasp.config import with_fields
    from aasp.planning.machines import Machines
    from aasp.pretrain import recipes

    recipe = with_fields(recipes.get("aasp_tiny"), {"teacher.frame": "layers", "codebook": "none"})  # narrow heads
    planned = lambda **fields: pretraining.pretraining_plan(
        with_fields(recipe, {f"optimizer.{k}": v for k, v in fields.items()}), Machines(1, 0.4)
    )
    plain, again, parts = planned(), planned(recompute=True), planned(accumulate=4)
    assert again.memory["activations"] < 0.6 * plain.memory["activations"]
    forward = sum(plain.flops[part]["forward"] for part in ("student.encoder", "predictor"))
    blocks = again.step_flops - plain.step_flops
    assert 0.9 * forward < blocks <= forward, "the forward pass of the blocks that are trained"
    assert parts.memory["activations"] == pytest.approx(plain.memory["activations"] / 4, rel=0.02)
    assert parts.step_flops == pytest.approx(plain.step_flops, rel=0.01)
