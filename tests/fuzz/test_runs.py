"""Untrusted runs and checkpoints, as `aasp info` and resuming read them."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp.cli.main import main
from aasp.config import to_dict
from aasp.pretrain import recipes
from aasp.training.checkpoint import read_state
from aasp.training.history import Start
from fuzz.cases import documents, right_or_one_line

FUZZ = settings.get_profile("fuzz")
STATE = {
    "format": 1,
    "step": 4,
    "fingerprint": "0123",
    "elapsed": 1.5,
    "processes": [{"data": {"position": {}, "made_with": {"files": 3}}, "clips": 8, "audio_seconds": 2.0}],
    "history": {
        "started_from": {"model": "m", "model_hash": "0" * 64, "recipe": "r", "step": 3},
        "extended": [{"step": 2, "steps": 2}],
        "data_changed": [{"step": 3, "was": {"files": 2}, "is": {"files": 3}}],
    },
}
START = {
    **dict.fromkeys(("torch", "time", "device", "precision", "data"), "x"),
    **dict.fromkeys(("processes", "threads", "files", "hours"), 1),
}
DOCUMENTS = {
    "recipe.json": to_dict(recipes.get("aasp_tiny")),
    "environment.json": [START, START],
    "metrics.jsonl": {"step": 4, "loss": 0.5},
    "validation.jsonl": {"step": 4, "score": 0.5, "best": True},
    "results.json": {"scores": {"accuracy": {"estimate": 0.5, "low": 0.4, "high": 0.6}}},
    "checkpoints/step-00000004/state.json": STATE,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "checkpoints" / "step-00000004").mkdir(parents=True)
    for name, document in DOCUMENTS.items():
        (folder / name).write_text(json.dumps(document) + "\n")
    return folder


@FUZZ
@given(
    spoilt=st.sampled_from(sorted(DOCUMENTS)).flatmap(lambda name: st.tuples(st.just(name), documents(DOCUMENTS[name])))
)
def test_info_on_a_damaged_run(run: Path, spoilt: tuple[str, bytes]) -> None:
    name, content = spoilt
    kept = (run / name).read_bytes()
    (run / name).write_bytes(content + b"\n")
    errors, output = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(output):
            code = main(["info", str(run)])
    finally:
        (run / name).write_bytes(kept)
    assert code in (0, 2)
    assert (errors.getvalue().count("\n"), "Traceback" in errors.getvalue()) == (int(code == 2), False), (
        errors.getvalue()
    )


@FUZZ
@given(content=documents(STATE))
def test_a_checkpoint_s_state(run: Path, content: bytes) -> None:
    place = run / "checkpoints" / "step-00000004"
    (place / "state.json").write_bytes(content)
    try:
        found = right_or_one_line(lambda: read_state(place))
        assert found is None or type(found[0]) is int
        start = right_or_one_line(lambda: Start.of(run, "auto"))
        if start is not None:
            right_or_one_line(lambda: start.history.steps(10))
            right_or_one_line(lambda: start.check("0123"))
    finally:
        (place / "state.json").write_text(json.dumps(STATE))
