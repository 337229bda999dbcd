"""The choice of channels that an index has for each row.

It is in the column `channel`, or in `channels` if that names a choice: a column `channels` with only numbers is the
number of channels, as `aasp scan` writes it.
"""

from __future__ import annotations

import pyarrow as pa

from aasp.audio.channels import Channels, checked
from aasp.errors import AaspError

COLUMN = "channel"


def named(table: pa.Table) -> pa.Table:
    """The table with its choices of channels, if any, in the column `channel`."""
    if COLUMN in table.column_names or "channels" not in table.column_names:
        return table
    values = table["channels"].to_pylist()
    if not any(isinstance(value, str) and value.strip() and not _is_number(value) for value in values):
        return table
    return table.rename_columns([COLUMN if name == "channels" else name for name in table.column_names])


def choices(table: pa.Table, source: str, default: Channels | str = "mean") -> list[Channels]:
    """Each row's choice, or the default if it has none.

    Raises:
        AaspError: the choice of a row, or the default, does not exist.
    """
    default = checked(default)
    if COLUMN not in table.column_names:
        return [default] * table.num_rows
    found: list[Channels] = []
    for row, value in enumerate(table[COLUMN].to_pylist(), start=1):
        if value is None or value != value or str(value).strip() == "":
            found.append(default)
            continue
        try:
            found.append(checked(int(value) if isinstance(value, float) and value.is_integer() else value))
        except AaspError as error:
            raise AaspError(f"{source}, column {COLUMN}, row {row}: {error}") from None
    return found


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
