"""Settings that were renamed: old names are still read, with one line that gives the new ones."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.cli.main import main
from aasp.config import from_dict, to_dict, with_fields
from aasp.errors import AaspError
from aasp.fields import RenamedWarning
from aasp.pretrain.masking import MaskingConfig
from aasp.pretrain.recipe import Recipe
from aasp.training.tracking import read_metrics
from plain import plain_tiny

NEW = MaskingConfig(keep_ratio=0.3, block_overlap=0.1)
LINE = "visible is now keep_ratio, surplus is now block_overlap; old names are still read"
TINY = [
    *("--set", "model.encoder.width=16", "model.encoder.depth=1", "model.encoder.heads=2", "predictor.width=16"),
    *("predictor.depth=1", "predictor.heads=2", "losses.projector=16,8", "data.batch=2", "data.crop_seconds=0.5"),
    *("masking.views=2", "teacher.layers=1", "model.vector=1:mean", "--log-every=1", "--checkpoint-every=2"),
    *("--threads=1", "--steps=4"),
]


def old(document: dict) -> dict:
    """A recipe's document as it was written before."""
    names = {"keep_ratio": "visible", "block_overlap": "surplus"}
    masking = {names.get(name, name): value for name, value in document["method"]["masking"].items()}
    return {**document, "method": {**document["method"], "masking": masking}}


def test_python_keywords() -> None:
    with pytest.warns(RenamedWarning, match=f"^MaskingConfig: {LINE}$") as found:
        assert MaskingConfig(visible=0.3, surplus=0.1) == NEW
    assert len(found) == 1
    with pytest.warns(RenamedWarning):
        assert replace(NEW, visible=0.5) == MaskingConfig(keep_ratio=0.5, block_overlap=0.1)
    with pytest.warns(RenamedWarning, match="visible is now keep_ratio"):
        assert (NEW.visible, NEW.surplus) == (0.3, 0.1)
    with pytest.raises(AaspError, match="MaskingConfig: visible is the old name of keep_ratio; give keep_ratio alone"):
        MaskingConfig(visible=0.3, keep_ratio=0.3)
    with pytest.raises(AaspError, match=r"masking: keep_ratio is 1\.5"), pytest.warns(RenamedWarning):
        MaskingConfig(visible=1.5)


def test_settings_and_documents() -> None:
    recipe = plain_tiny()
    with pytest.warns(RenamedWarning, match=f"^--set method.masking: {LINE}$") as found:
        changed = with_fields(recipe, {"masking.visible": "0.4", "method.masking.surplus": "0.2"})
    assert len(found) == 1
    assert changed == with_fields(recipe, {"masking.keep_ratio": "0.4", "masking.block_overlap": "0.2"})
    with pytest.raises(AaspError, match="visible is the old name of keep_ratio; give keep_ratio alone"):
        with_fields(recipe, {"masking.visible": "0.4", "masking.keep_ratio": "0.4"})
    document = to_dict(recipe)
    assert "keep_ratio" in document["method"]["masking"] and "visible" not in document["method"]["masking"]
    with pytest.warns(RenamedWarning, match=f"^recipe.json: method: masking: {LINE}$") as found:
        assert from_dict(Recipe, old(document), "recipe.json") == recipe
    assert len(found) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert from_dict(Recipe, document, "recipe.json").fingerprint == recipe.fingerprint == "4951215e678bee12"


@pytest.mark.slow
def test_a_run_of_before_resumes_exactly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "sounds").mkdir()
    for n in range(3):
        soundfile.write(tmp_path / "sounds" / f"{n}.wav", 0.1 * random.standard_normal(16_000), 16_000)
    started = ["pretrain", "aasp_tiny", "--data", str(tmp_path / "sounds"), *TINY, "--out"]
    at = TINY.index("masking.views=2") + 4  # after --data DIR
    before = [*started[:at], "masking.visible=0.4", *started[at:]]
    whole, half = tmp_path / "whole", tmp_path / "half"
    assert main([*before, str(whole)]) == 0
    assert capsys.readouterr().err.splitlines() == [f"aasp: warning: --set method.masking: {LINE}"]
    # As an older version would have left it, stopped after two steps.
    shutil.copytree(whole, half)
    shutil.rmtree(half / "checkpoints" / "step-00000004")
    logged = (half / "metrics.jsonl").read_text().splitlines(keepends=True)
    (half / "metrics.jsonl").write_text("".join(logged[:2]))
    (half / "recipe.json").write_text(json.dumps(old(json.loads((half / "recipe.json").read_text()))))
    assert main([*before, str(half)]) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [f"aasp: warning: --set method.masking: {LINE}"]
    assert "resuming from" in captured.out and "step-00000002" in captured.out
    clock = {"seconds", "clips_per_second", "waiting_share"}
    then, now = (
        [{k: v for k, v in one.items() if k not in clock} for one in read_metrics(run)] for run in (whole, half)
    )
    assert len(then) == 4 and then == now
    assert main([*started[:at], "masking.keep_ratio=0.4", *started[at:], str(half)]) == 0, "by the new name too"
    assert capsys.readouterr().err.splitlines() == [f"aasp: warning: recipe.json: method: masking: {LINE}"]
