"""Locating a model's folder (a path, a run, the package or a download) and reading its configuration, ours or
`aasp.hf`'s."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aasp.documents import read_object
from aasp.errors import AaspError

PACKAGED = Path(__file__).parents[1] / "packaged"
"""Models that come with the package: one folder per model, with its name."""
DEFAULT = "aasp-tiny"
"""The packaged model that is used if none is named."""
HF_KINDS = {
    "AaspModel": "encoder",
    "AaspForAudioClassification": "classifier",
    "AaspForPreTraining": "pretraining",
}
"""Contents of the classes of `aasp.hf`, by class name, which is part of their configuration files."""
REMEDY = "copy the model again"
HF_PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")
"""transformers' names for kinds of labels."""


def read_config(file: Path) -> dict[str, Any]:
    """A model's `config.json`; if `aasp.hf` saved it, our configuration that it contains.

    Raises:
        AaspError: it is not a JSON object.
    """
    values = _read(file)
    return of_transformers(values)[0] if values.get("model_type") == "aasp" else values


def weights_prefix(file: Path) -> str:
    """The prefix of the tensor names in the weights next to a `config.json`.

    Raises:
        AaspError: it is not a JSON object.
    """
    values = _read(file)
    return of_transformers(values)[1] if values.get("model_type") == "aasp" else ""


def of_transformers(values: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Our configuration in one that `aasp.hf` saved, and the prefix of the tensor names in its weights.

    For a pre-training model it is the configuration of the encoder that the method exports.
    """
    kind = HF_KINDS.get((values.get("architectures") or ["AaspModel"])[0])
    encoder = dict(values.get("encoder") or {})
    if kind == "pretraining":
        return encoder, f"model.{values.get('exported') or ''}"
    if kind != "classifier":
        return encoder, "model."
    return classifier_values(values), "model."


def classifier_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Our configuration of a classifier from one of `aasp.hf`, which describes labels in transformers' terms.

    Raises:
        AaspError: there is no label, labels are not numbered from 0 on, the problem type is unknown, or a regression
            has several outputs.
    """
    named = values.get("id2label")
    if named is None:  # transformers does not write its default
        named = {0: "LABEL_0", 1: "LABEL_1"}
    labels = {int(number): str(name) for number, name in named.items()}
    if sorted(labels) != list(range(len(labels))) or not labels:
        text = f"id2label numbers its labels {', '.join(map(str, sorted(labels))) or 'not at all'}"
        raise AaspError(f"{text}; number them from 0 on, each once")
    kind, own = values.get("problem_type"), dict(values.get("classifier") or {})
    if kind == "regression" and len(labels) != 1:
        text = f"problem_type regression with {len(labels)} labels, and a model of ours predicts one number"
        raise AaspError(f"{text}; give num_labels=1, or another problem_type")
    if kind not in (None, *HF_PROBLEMS):
        raise AaspError(f"problem_type is {kind!r}; give one of {', '.join(HF_PROBLEMS)}")
    return own | {
        "classes": [labels[number] for number in sorted(labels)],
        "multilabel": kind == "multi_label_classification",
        "numbers": (own.get("numbers") or (0.0, 1.0)) if kind == "regression" else None,
        "encoder": dict(values.get("encoder") or {}),
    }


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_object(file, REMEDY)
    except OSError as error:
        raise AaspError(f"{file}: not readable ({error.strerror}); {REMEDY}") from None


def packaged() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(file.parent.name for file in PACKAGED.glob("*/config.json"))


def default_model() -> str:
    """The model that is used if none is named.

    Raises:
        AaspError: this version of the package comes without it.
    """
    if DEFAULT not in packaged():
        remedy = "name the folder of a model or of a run, or a model on the hub, or train one by `aasp pretrain`"
        raise AaspError(f"no model named, and none comes with this version of aasp; {remedy}")
    return DEFAULT


def local(path_or_name: str | Path) -> Path | None:
    """The directory of a local model: the path, a run's `model/`, or a packaged model; None if there is none."""
    path = Path(path_or_name)
    named = [PACKAGED / path.name] if str(path_or_name) in packaged() else []
    return next((one for one in (path, path / "model", *named) if (one / "config.json").is_file()), None)


def on_hub(name: str) -> bool:
    """Whether a name could be a model on the hub: owner/name, and no local path."""
    path = Path(name)
    like = name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith("/")
    return like and not path.exists() and not path.parent.exists()


def find(path_or_hub_id: str | Path) -> Path:
    """The directory of a model: the path, a run's `model/`, a packaged model, or a download from the hub."""
    path = Path(path_or_hub_id)
    if not str(path_or_hub_id):
        raise AaspError("an empty name of a model; give the directory of a model or of a run")
    if (directory := local(path_or_hub_id)) is not None:
        return directory
    if path.is_file() and (path.parent / "config.json").is_file():
        raise AaspError(f"{path}: a file where a folder is expected; give {path.parent}")
    if path.suffix == ".onnx" and path.is_file():
        raise AaspError(f"{path}: an exported model, not a folder; add --engine onnx where a command has it")
    if path.exists():
        raise AaspError(f"{path}: holds no config.json; give the directory of a model or of a run")
    hub_id = str(path_or_hub_id)
    if not on_hub(hub_id):
        ours = f", or one of the package's: {', '.join(packaged())}" if packaged() else ""
        raise AaspError(f"{path}: no such directory; give the directory of a model or of a run{ours}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=["config.json", "model.safetensors"]))
    except (RepositoryNotFoundError, HFValidationError):
        raise AaspError(f"{hub_id}: neither a directory nor a model on the hub; check the name") from None
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        text = f"{hub_id}: no such directory, and the Hugging Face hub can't be reached ({reason})"
        raise AaspError(f"{text}; check the network, or give a folder on this machine") from None
