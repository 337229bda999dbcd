"""Untrusted JSON: of bounded size and depth, with errors in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aasp.errors import AaspError

MAX_BYTES = 32 * 2**20
"""Limit in bytes for a document that describes a model, a run or a checkpoint; what we write is under 1 MiB."""
MAX_RESULTS_BYTES = 2**30
"""Limit in bytes for a file of results, which holds a prediction for each clip."""


def read_json(file: Path, remedy: str, most: int = MAX_BYTES) -> Any:
    """The values in a JSON file.

    Args:
        file: the file.
        remedy: what to do if it is damaged, for the message.
        most: limit in bytes; a larger file is refused before it is read.

    Raises:
        AaspError: it is not JSON, nested too deeply, too large, or not a regular file.
        OSError: it can't be read.
    """
    size = file.stat().st_size  # raises if there is none
    if not file.is_file():  # opening a pipe would block forever
        raise AaspError(f"{file}: not a file; {remedy}")
    if size > most:
        raise AaspError(f"{file}: {size:,} bytes, more than the {most:,} that such a file may have; {remedy}")
    return parse_json(file.read_bytes(), str(file), remedy)


def read_object(file: Path, remedy: str, most: int = MAX_BYTES) -> dict[str, Any]:
    """The values in a JSON file, which must be an object. Arguments and errors as in `read_json`."""
    values = read_json(file, remedy, most)
    if not isinstance(values, dict):
        raise AaspError(f"{file}: not a JSON object; {remedy}")
    return values


def parse_json(text: str | bytes, where: str, remedy: str) -> Any:
    """The values in JSON text.

    Args:
        text: the JSON.
        where: its source, for the message.
        remedy: what to do if it is damaged.

    Raises:
        AaspError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise AaspError(f"{where}: not readable as JSON (nested too deeply); {remedy}") from None
    except ValueError as error:
        raise AaspError(f"{where}: not readable as JSON ({error}); {remedy}") from None


@contextmanager
def as_written(where: str | Path, remedy: str) -> Iterator[None]:
    """Read values of a document; a missing value or a wrong type becomes a one-line error.

    Args:
        where: the document, for the message.
        remedy: what to do.

    Raises:
        AaspError: a value is missing or has the wrong type.
    """
    try:
        yield
    except AaspError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        note = " ".join(f"{type(error).__name__}: {error}".split())
        raise AaspError(f"{where}: not as this version of aasp writes it ({note}); {remedy}") from error
