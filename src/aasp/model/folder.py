"""Where a model lies: its folder, a run's, or a download; and its configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aasp.errors import AaspError


def read_config(file: Path) -> dict[str, Any]:
    """A model's `config.json`.

    Raises:
        AaspError: it is not a JSON object.
    """
    try:
        values = json.loads(file.read_text())
    except (ValueError, OSError) as error:
        raise AaspError(f"{file}: not readable as JSON ({error}); copy the model anew") from None
    if not isinstance(values, dict):
        raise AaspError(f"{file}: not a JSON object; copy the model anew")
    return values


def find(path_or_hub_id: str | Path) -> Path:
    """The directory of a model: itself, a run's `model/`, or a download from the hub."""
    path = Path(path_or_hub_id)
    for directory in (path, path / "model"):
        if (directory / "config.json").is_file():
            return directory
    if path.suffix == ".onnx" and path.is_file():
        raise AaspError(f"{path}: an exported model, not a folder; add --engine onnx where a command has it")
    if path.exists():
        raise AaspError(f"{path}: holds no config.json; give the directory of a model or of a run")
    hub_id = str(path_or_hub_id)
    if hub_id.count("/") != 1 or hub_id.startswith((".", "/", "~")) or path.parent.exists():
        raise AaspError(f"{path}: no such directory; give the directory of a model or of a run")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=["config.json", "model.safetensors"]))
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise AaspError(f"{hub_id}: neither a directory nor a model on the hub ({reason}); check the name") from None
