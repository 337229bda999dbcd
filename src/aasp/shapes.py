"""The header of a safetensors file: tensor names and shapes, without torch and before anything is allocated."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from aasp.errors import AaspError

# Errors of safetensors and torch for a header with wrong names, types, shapes or offsets.
DAMAGED = (SafetensorError, OSError, ValueError, TypeError, LookupError, RuntimeError, OverflowError, MemoryError)


def regular(file: Path, remedy: str) -> Path:
    """The file, if it is a regular file.

    Raises:
        AaspError: it is not.
    """
    if not file.is_file():  # opening a pipe would block forever
        raise AaspError(f"{file}: no such file; {remedy}")
    return file


def damaged(file: Path, error: Exception, remedy: str) -> AaspError:
    """The error for a file that safetensors can't read."""
    if isinstance(error, AaspError):
        return error
    text = " ".join(str(error).split())[:200] or type(error).__name__
    return AaspError(f"{file}: not readable as safetensors ({text}); {remedy}")


def read_shapes(file: Path, remedy: str = "copy it again") -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """The shapes of a safetensors file's tensors by name, and its metadata, from its header alone.

    safetensors checks that the header is at most 100 MB and that the shapes match the bytes that follow.

    Raises:
        AaspError: it is missing or damaged.
    """
    try:
        with safe_open(regular(file, remedy), framework="numpy") as weights:
            names = weights.keys()
            return {name: tuple(weights.get_slice(name).get_shape()) for name in names}, weights.metadata() or {}
    except DAMAGED as error:
        raise damaged(file, error, remedy) from None
