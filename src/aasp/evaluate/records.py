"""One result as one JSON record: what `aasp linear` and `aasp finetune` write and `aasp table` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aasp.config import from_dict, to_dict
from aasp.errors import AaspError
from aasp.files import atomic_write


@dataclass(frozen=True)
class Record:
    """One number and all that it depends on.

    Attributes:
        system: what the model is called in tables.
        model: where it was loaded from.
        model_hash: of its configuration and weights.
        recipe: how the result was made: the preset of a probe, the fine-tuning recipe.
        recipe_hash: of every setting of it.
        benchmark: name in the registry, or the index.
        protocol: "linear", "knn", "finetune", "from scratch", …
        split: part or fold that was scored.
        seed: of the training.
        metric: accuracy or mAP.
        value: of 1.
        clips: how many were scored.
        missing: clips of the published set that were not there.
        version: of aasp.
        low, high: 95 % interval where one was computed.
        details: anything else, as JSON values.
    """

    system: str
    model: str
    model_hash: str
    recipe: str
    recipe_hash: str
    benchmark: str
    protocol: str
    split: str
    seed: int
    metric: str
    value: float
    clips: int
    missing: int
    version: str
    low: float | None = None
    high: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def write_records(path: str | Path, records: Iterable[Record], **more: Any) -> None:
    """Write a results file: `{"records": [...], ...}`, whole or not at all."""
    document = {"records": [to_dict(record) for record in records], **more}
    with atomic_write(path) as beside:
        beside.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_records(path: str | Path) -> list[Record]:
    """Read a results file.

    Raises:
        AaspError: it can't be read or holds no records.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AaspError(f"no such results file: {path}; check the path") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise AaspError(f"{path}: not readable as JSON ({error}); name a file that aasp wrote") from None
    if not isinstance(document, dict) or not isinstance(document.get("records"), list):
        raise AaspError(f"{path}: holds no records; name a results file of aasp linear or aasp finetune")
    return [from_dict(Record, values, f"{path}: record {number}") for number, values in enumerate(document["records"])]
