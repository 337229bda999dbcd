"""Conditions on a run's folder at any moment, and the content of a finished one, bit by bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aasp
from aasp.errors import AaspError
from aasp.training import checkpoint
from aasp.training.tracking import read_metrics

CLOCK = {"seconds", "clips_per_second", "waiting_share"}


def check_whole(run: Path) -> int:
    """Load every checkpoint that is named as one, and what else lies in a run; the number of checkpoints."""
    folders = [path for path in (run / "checkpoints").glob("*") if not path.name.startswith(".unfinished-")]
    for folder in folders:
        assert checkpoint.load(folder).step == int(folder.name.removeprefix("step-"))
    for document in (run / "recipe.json", run / "environment.json"):
        if document.exists():
            json.loads(document.read_text())
    if (run / "model").exists():
        try:
            aasp.load(run / "model")
        except AaspError:
            aasp.load_classifier(run / "model")
    read_metrics(run)
    return len(folders)


def outcome(run: Path) -> dict[str, Any]:
    """All numbers of a run, except measured times."""
    path = checkpoint.latest(run)
    assert path is not None
    last = checkpoint.load(path)
    tensors = {
        f"{kind}/{name}": tensor.numpy().tobytes()
        for kind in checkpoint.TENSORS
        for name, tensor in getattr(last, kind).items()
    }
    return {
        "state": {name: value for name, value in last.state.items() if name != "elapsed"},
        "metrics": [{name: value for name, value in line.items() if name not in CLOCK} for line in read_metrics(run)],
        "model": (run / "model/model.safetensors").read_bytes(),
        **tensors,
    }
