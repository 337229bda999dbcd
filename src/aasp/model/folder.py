"""Where a model lies: its folder, a run's, the package's own, or a download; and its configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aasp.errors import AaspError

PACKAGED = Path(__file__).parents[1] / "packaged"
"""Models that come with the package: a folder each, named as the model is."""
DEFAULT = "aasp-tiny"
"""The packaged model that is meant where none is named."""


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


def packaged() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(file.parent.name for file in PACKAGED.glob("*/config.json"))


def default_model() -> str:
    """The model that is meant where none is named.

    Raises:
        AaspError: this version of the package comes with none.
    """
    if DEFAULT not in packaged():
        remedy = "name the folder of a model or of a run, or a model on the hub, or train one by `aasp pretrain`"
        raise AaspError(f"no model named, and none comes with this version of aasp; {remedy}")
    return DEFAULT


def local(path_or_name: str | Path) -> Path | None:
    """The directory of a model that is on this machine: itself, a run's `model/`, or the package's own; else None."""
    path = Path(path_or_name)
    named = [PACKAGED / path.name] if str(path_or_name) in packaged() else []
    return next((one for one in (path, path / "model", *named) if (one / "config.json").is_file()), None)


def is_hub_id(name: str) -> bool:
    """Whether a name could be a model's on the hub: owner/name, and nothing here."""
    path = Path(name)
    like = name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith("/")
    return like and not path.exists() and not path.parent.exists()


def find(path_or_hub_id: str | Path) -> Path:
    """The directory of a model: itself, a run's `model/`, the package's own, or a download from the hub."""
    path = Path(path_or_hub_id)
    if (directory := local(path_or_hub_id)) is not None:
        return directory
    if path.is_file() and (path.parent / "config.json").is_file():
        raise AaspError(f"{path}: a file where a folder was meant; give {path.parent}")
    if path.exists():
        raise AaspError(f"{path}: holds no config.json; give the directory of a model or of a run")
    hub_id = str(path_or_hub_id)
    if not is_hub_id(hub_id):
        ours = f", or one of the package's: {', '.join(packaged())}" if packaged() else ""
        raise AaspError(f"{path}: no such directory; give the directory of a model or of a run{ours}")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=["config.json", "model.safetensors"]))
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise AaspError(f"{hub_id}: neither a directory nor a model on the hub ({reason}); check the name") from None
