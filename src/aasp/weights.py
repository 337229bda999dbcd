"""A model directory of JSON and safetensors, complete or absent, without pickle; and hashes that identify models.

A file's header is read before anything is allocated: it must contain what the configuration requires.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aasp.allocation import SPARE, Within
from aasp.config import to_dict
from aasp.errors import AaspError
from aasp.files import hidden, sync, system_error
from aasp.parts import own_code
from aasp.shapes import DAMAGED, damaged, read_shapes, regular

WEIGHTS = "model.safetensors"
AnyModule = TypeVar("AnyModule", bound=nn.Module)


def write_directory(
    directory: Path,
    documents: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write JSON documents and `model.safetensors` to a temporary folder, sync it, and rename it to `directory`.

    `metadata` goes into the header of `model.safetensors`: notes about the weights that do not affect the model.

    Raises:
        AaspError: `directory` exists and is not a model.
        OSError: the disk is full; `directory` is unchanged.
    """
    check_directory(directory, documents)
    directory.parent.mkdir(parents=True, exist_ok=True)
    beside, aside = hidden(directory, "tmp"), hidden(directory, "old")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir()
        for name, document in documents.items():
            (beside / name).write_text(json.dumps(document, indent=2) + "\n")
        save_file(unshared(weights), beside / WEIGHTS, dict(metadata) if metadata else None)
        for name in documents:
            shutil.copymode(beside / name, beside / WEIGHTS)  # otherwise only its owner could read it
        for file in beside.iterdir():
            sync(file)
        if directory.exists():
            directory.rename(aside)
        beside.rename(directory)
        sync(directory.parent)
    except (OSError, SafetensorError) as error:
        raise system_error(error, directory, beside) or error from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if aside.exists():
            shutil.rmtree(aside) if directory.exists() else aside.rename(directory)


def unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors on the CPU that share no memory, as safetensors requires: tied weights are copied."""
    found: dict[str, Tensor] = {}
    memory: set[int] = set()
    for name, tensor in tensors.items():
        one = tensor.detach().cpu().contiguous()
        found[name] = one.clone() if one.untyped_storage().data_ptr() in memory else one
        memory.add(one.untyped_storage().data_ptr())
    return found


def check_directory(directory: Path, documents: Iterable[str]) -> None:
    """Check that `directory` does not exist, or is a model with at most these documents.

    Raises:
        AaspError: it holds something else, or is a file.
    """
    if directory.exists() and (not directory.is_dir() or {f.name for f in directory.iterdir()} - {*documents, WEIGHTS}):
        raise AaspError(f"{directory}: holds something else than a model; choose another place")


def read_tensors(file: Path, remedy: str = "copy it again") -> dict[str, Tensor]:
    """The tensors in a safetensors file, by name.

    Raises:
        AaspError: it is missing or damaged.
    """
    try:
        return load_file(regular(file, remedy))
    except DAMAGED as error:
        raise damaged(file, error, remedy) from None


def with_weights(make: Callable[[], AnyModule], file: Path, prefix: str = "") -> AnyModule:
    """A module with its weights; no more is allocated than the file could fill.

    Args:
        make: makes the module, with weights of any value.
        file: the file with its tensors.
        prefix: the prefix of their names in the file (see `read_weights`).

    Raises:
        AaspError: the file is missing, unreadable, or does not fit the module.
    """
    shapes, _ = read_shapes(file, "the model is incomplete, copy it again")
    numbers = sum(map(math.prod, shapes.values()))
    text = f"{file}: config.json beside it needs more than the {numbers:,} numbers that are here"
    with Within(numbers + SPARE, f"{text}; use the config.json that was saved with it"):
        module = make()
    read_weights(module, file, prefix)
    return module


def read_weights(module: nn.Module, file: Path, prefix: str = "") -> None:
    """Load a safetensors file into a module, all tensors or none, in the module's precision.

    Args:
        module: the module.
        file: the file with its tensors.
        prefix: the prefix of their names in the file; tensors with other names are ignored.

    Raises:
        AaspError: the file is missing, unreadable, or does not fit the module.
    """
    weights = read_tensors(file)
    weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    own = module.state_dict()
    expected = {name: tensor.shape for name, tensor in own.items()}
    problems = [f"has no {name}" for name in expected if name not in weights]
    problems += [f"has an unexpected {name}" for name in weights if name not in expected]
    problems += [
        f"{name} is {tuple(weights[name].shape)}, not {tuple(shape)}"
        for name, shape in expected.items()
        if name in weights and weights[name].shape != shape
    ]
    problems += [
        f"{name} is of {weights[name].dtype}, not {tensor.dtype}"
        for name, tensor in own.items()
        if name in weights and weights[name].is_floating_point() != tensor.is_floating_point()
    ]
    if problems:
        raise AaspError(
            f"{file}: does not fit config.json beside it: {problems[0]} ({len(problems)} such); "
            "use the config.json that was saved with it"
        )
    module.load_state_dict(weights)


def model_hash(model: nn.Module) -> str:
    """SHA-256 of a model's configuration (`model.config`), weights, and code that is not ours (`aasp.parts.own_code`).

    Hexadecimal, and independent of its path.
    """
    return weights_hash(json.dumps(to_dict(model.config), sort_keys=True) + own_code(model.config), model)


def weights_hash(config: str, model: nn.Module) -> str:
    """SHA-256 of a configuration's text and a model's weights, in hex."""
    digest = sha256(config.encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
