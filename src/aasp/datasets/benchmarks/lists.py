"""Published lists without a header: values by position, comments marked with #."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from aasp.errors import AaspError


def read_list(path: Path, fields: int, *, separator: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Rows of a headerless list with their line numbers; blank lines and comments are skipped.

    Args:
        path: the file.
        fields: values per row.
        separator: between values; spaces after it are ignored.

    Raises:
        AaspError: there is no such file, it is not text, or a row has another number of values.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
            for values in reader:
                if not values or values[0].startswith("#"):
                    continue
                if len(values) != fields:
                    wrong = f"{len(values)} values instead of {fields}"
                    raise AaspError(f"{path}, line {reader.line_num}: {wrong}; fetch it again")
                yield reader.line_num, values
    except FileNotFoundError:
        raise AaspError(f"no such file: {path}; `aasp benchmarks NAME` shows where it belongs") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise AaspError(f"{path}: not a text list ({error}); fetch it again") from None
