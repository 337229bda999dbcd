"""A published checkpoint's tensors by name: safetensors, or PyTorch's own files if they contain no code.

This is the only module that calls `torch.load`: with `weights_only=True`, which builds tensors and plain values and
refuses everything else (tests/test_architecture.py).
"""

from __future__ import annotations

import re
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aasp.documents import read_json
from aasp.errors import AaspError
from aasp.weights import read_tensors

NESTED = ("model", "state_dict", "model_state_dict")
"""Keys under which training scripts store the tensors, beside an optimizer's state and settings."""


def number(kind: np.dtype, value: bytes) -> int | float:
    """A number of NumPy's, from its bytes in a file.

    NumPy's own function would allocate as many bytes as a kind states.
    """
    if kind.str not in ("<f4", "<f8", "<i8"):
        raise ValueError(f"{kind} is no number")
    found: int | float = np.frombuffer(value, kind.str).item()
    return found


def last_part(*parts: str) -> str:
    """The last part of a saved path.

    Parts are not joined: paths within paths in a small file could then fill the memory.
    """
    if not all(isinstance(part, str) for part in parts):
        raise ValueError("a path of something other than text")
    return parts[-1] if parts else "."


PATHS = [f"{module}.{system}Path" for module in ("pathlib", "pathlib._local") for system in ("Posix", "Windows")]
PLAIN: tuple[Any, ...] = (
    Namespace, np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType,
    *((number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),  # before and after NumPy 2
    *((last_part, name) for name in PATHS),  # before and in Python 3.13
)  # fmt: skip
"""What may be built besides tensors: a training's options, paths among them, and numbers of NumPy's, such as its best
score. They hold plain values and run nothing."""


class Published:
    """Tensors of a checkpoint, each taken once, by its name in the file and with the shape it must have.

    Args:
        file: their file, for messages.
        tensors: all tensors by name.
        settings: the `config.json` beside it; mean, deviation and rate in `preprocessor_config.json`; a `cfg` and a
            `label_dict` in the file, if they exist.
    """

    def __init__(self, file: Path, tensors: Mapping[str, Tensor], settings: Mapping[str, Any] | None = None) -> None:
        self.file, self.settings = file, dict(settings or {})
        self._tensors, self._left = tensors, dict.fromkeys(tensors)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """The shape of a tensor with the given number of dimensions.

        Raises:
            AaspError: it is missing, or has another number of dimensions.
        """
        shape = tuple(self._there(name).shape)
        if len(shape) != dimensions:
            raise AaspError(f"{self.file}: {name} is {shape}, not of {dimensions} dimensions; {self._remedy}")
        return shape

    def take(self, name: str, *shape: int) -> Tensor:
        """A tensor in fp32.

        Raises:
            AaspError: it is missing, has another shape, or has non-finite values.
        """
        tensor = self._there(name)
        self._left.pop(name, None)
        if tuple(tensor.shape) != shape:
            raise AaspError(f"{self.file}: {name} is {tuple(tensor.shape)}, not {shape}; {self._remedy}")
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise AaspError(f"{self.file}: {name} holds no finite numbers; copy the file again")
        return tensor.float()

    def expect(self, values: Mapping[str, Any], where: str, models: str) -> None:
        """Check that no setting differs from that of the published models; settings may be missing.

        Args:
            values: the published settings.
            where: where they are stated, for messages.
            models: the models' name.

        Raises:
            AaspError: one differs, so that it would be another model.
        """
        for name, value in values.items():
            if self.settings.get(name, value) != value:
                text = f"{where} has {name} = {self.settings[name]}, where the published {models} have {value}"
                raise AaspError(f"{self.file}: {text}; name a published file")

    def end(self, *spare: str) -> None:
        """Check that every tensor was taken, except those with a prefix in `spare`, which only training needs.

        Raises:
            AaspError: one was not.
        """
        left = [name for name in self._left if not name.startswith(spare)]
        if left:
            text = f"has {', '.join(left[:3])} ({len(left)} such), which this layout does not have"
            raise AaspError(f"{self.file}: {text}; {self._remedy}")

    def count(self, beginning: str, end: str) -> int:
        """How many consecutive names `beginning{n}end`, n from 0 on, exist."""
        return next(n for n in range(len(self._tensors) + 1) if f"{beginning}{n}{end}" not in self._tensors)

    @property
    def _remedy(self) -> str:
        return "name another layout with --as, or another file"

    def _there(self, name: str) -> Tensor:
        if name not in self._tensors:
            known = f"it has {', '.join(list(self._tensors)[:2])}, …"
            raise AaspError(f"{self.file}: has no {name} ({known}); {self._remedy}")
        return self._tensors[name]


def read_published(path: str | Path) -> Published:
    """Read a checkpoint; no code in it is run.

    Args:
        path: a `.safetensors` file, one of PyTorch's (`.pt`, `.pth`, `.bin`, `.ckpt`), or a folder that contains
            `model.safetensors` or `pytorch_model.bin`, as transformers writes them.

    Raises:
        AaspError: it does not exist, is not a checkpoint, contains code, or has no named tensors.
    """
    file = Path(path)
    if file.is_dir():
        there = [file / name for name in ("model.safetensors", "pytorch_model.bin") if (file / name).is_file()]
        file = there[0] if there else file / "model.safetensors"
    if not file.is_file():
        raise AaspError(f"{file}: no such file; name a .safetensors, .pt, .pth, .bin or .ckpt file")
    values = _safetensors(file) if file.suffix == ".safetensors" else _pytorch(file)
    own = values.get("cfg")  # BEATs has its configuration beside the tensors, and the names of its classes
    names = values.get("label_dict")
    for name in NESTED:
        if isinstance(inner := values.get(name), Mapping):
            values = inner
            break
    if isinstance(statistics := values.get("norm_stats"), (list, tuple)):  # M2D's, which is not a tensor in some files
        values = {**values, "norm_stats": torch.tensor(statistics, dtype=torch.float32)}
    tensors = {str(name): value for name, value in values.items() if isinstance(value, Tensor)}
    for name, tensor in tensors.items():
        _check_held(file, name, tensor)
    if not tensors:
        held = ", ".join(map(str, list(values)[:4])) or "nothing"
        raise AaspError(f"{file}: no tensors by name (it holds {held}); name a checkpoint of a model")
    extractor = _settings(file.with_name("preprocessor_config.json"))
    front = {name: extractor[name] for name in ("mean", "std", "do_normalize", "sampling_rate") if name in extractor}
    labels = {"id2label": {str(k): v for k, v in names.items()}} if isinstance(names, Mapping) else {}
    settings = labels | _settings(file.with_name("config.json")) | front
    return Published(file, tensors, settings | dict(own) if isinstance(own, Mapping) else settings)


def _safetensors(file: Path) -> Mapping[Any, Any]:
    return read_tensors(file)


def _pytorch(file: Path) -> Mapping[Any, Any]:
    _check_packed(file)
    try:
        with torch.serialization.safe_globals(list(PLAIN)):
            values = torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        if (code := re.search(r"GLOBAL (\S+)", str(error))) is not None:
            text = f"holds code besides tensors ({code[1]}), which could do anything when it is loaded"
            raise AaspError(f"{file}: {text}; obtain a .safetensors file, or save its tensors alone in one") from None
        raise AaspError(f"{file}: no checkpoint of PyTorch's that is whole; copy it again") from None
    if not isinstance(values, Mapping):
        raise AaspError(f"{file}: a {type(values).__name__}, not tensors by name; name a checkpoint of a model")
    return values


def _check_packed(file: Path) -> None:
    """Check that nothing in PyTorch's zip file is compressed: torch never compresses, but a zip bomb would."""
    try:
        with zipfile.ZipFile(file) as packed:
            members = packed.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return  # the format before 2020 is not a zip file; torch reads it, or reports that it can't
    unpacked = sum(member.file_size for member in members)
    if any(member.compress_type != zipfile.ZIP_STORED for member in members) or unpacked > file.stat().st_size:
        text = f"its members are compressed, to {unpacked:,} bytes unpacked, which torch.save never does"
        raise AaspError(f"{file}: {text}; obtain a .safetensors file")


def _check_held(file: Path, name: str, tensor: Tensor) -> None:
    """Check that all values of a tensor are in the file: a view with strides of 0 can have any size."""
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    if not plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        text = f"{name} is not a plain tensor whose numbers are all in the file"
        raise AaspError(f"{file}: {text}; save it as one, or obtain a .safetensors file")


def _settings(file: Path) -> dict[str, Any]:
    values = read_json(file, "copy it again, or take it away") if file.is_file() else {}
    return values if isinstance(values, dict) else {}
