"""Results as JSON records: `aasp linear` and `aasp finetune` write them, `aasp table` reads them.

A record is one training's score on one part or fold. Means over folds and seeds are never recorded: only `summary`
computes them.
"""

from __future__ import annotations

import functools
import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aasp.config import from_dict, to_dict
from aasp.documents import MAX_RESULTS_BYTES, read_json
from aasp.errors import AaspError
from aasp.files import atomic_write


@dataclass(frozen=True)
class Record:
    """One score and everything it depends on.

    Attributes:
        system: the model's name in tables.
        model: where it was loaded from.
        model_hash: of its configuration and weights; of the configuration alone if training starts from scratch, so
            that seeds of one network are one system.
        recipe: how the result was made: the preset of a probe, or the fine-tuning recipe.
        recipe_hash: of all its settings except the seed.
        benchmark: name in the registry, or the index.
        protocol: "linear", "knn", "finetune", "from scratch", …
        split: part or fold that was scored.
        seed: of the training.
        metric: accuracy, mAP, …; for numbers R2 and MAE.
        value: as a fraction of 1; MAE in the unit of the labels.
        clips: how many were scored.
        missing: missing clips of the published set, over all its parts.
        version: of aasp: `code_version()`.
        low, high: 95 % interval, if one was computed.
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

    @property
    def key(self) -> tuple[str | int, ...]:
        """The identity of a result: system, recipe, benchmark, protocol, split, seed and metric."""
        system = (self.system, self.model_hash, self.recipe, self.recipe_hash)
        return (*system, self.benchmark, self.protocol, self.split, self.seed, self.metric)


def write_records(path: str | Path, records: Iterable[Record], **more: Any) -> None:
    """Write a results file atomically: `{"records": [...], ...}`."""
    document = {"records": [to_dict(record) for record in records], **more}
    with atomic_write(path) as beside:
        beside.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_records(path: str | Path) -> list[Record]:
    """Read a results file.

    Raises:
        AaspError: it can't be read or holds no records.
    """
    records = _read(Path(path))
    if records is None:
        raise AaspError(f"{path}: holds no records; name a results file of aasp linear or aasp finetune")
    return records


def find_records(paths: Sequence[str | Path]) -> list[Record]:
    """All records of results files, and of the results files in folders; each record once.

    Raises:
        AaspError: a file can't be read, there are no records, or two files hold different values of one result.
    """
    found: dict[tuple[str | int, ...], tuple[Record, Path]] = {}
    for path in map(Path, paths):
        for file, records in _searched(path) if path.is_dir() else [(path, read_records(path))]:
            for record in records:
                first = found.setdefault(record.key, (record, file))
                _check_same(*first, record, file)
    if not found:
        raise AaspError(f"{', '.join(map(str, paths))}: no records found; name results of aasp linear or aasp finetune")
    return [record for record, _ in found.values()]


@functools.cache
def code_version() -> str:
    """Version of aasp, with the commit if it runs from a git checkout: 0.1.0+g2c30377."""
    import aasp
    from aasp.training.environment import commit  # imported here, so that tables do not need torch

    made = commit()
    return aasp.__version__ + (f"+g{made[:7]}" if made else "")


def software() -> str:
    """The software that made a result, for reproducing it: `code_version`, and the versions of torch and Python."""
    import torch  # here, as above

    return f"aasp {code_version()}, torch {torch.__version__}, Python {platform.python_version()}"


def _searched(folder: Path) -> Iterator[tuple[Path, list[Record]]]:
    """The results files below a folder; other JSON files and files still being written are ignored."""
    for file in sorted(folder.rglob("*.json")):
        records = None if file.name.startswith(".") else _read(file)
        if records is not None:
            yield file, records


def _read(path: Path) -> list[Record] | None:
    """The records of a JSON file; None if it is not a results file."""
    try:
        document = read_json(path, "name a file that aasp wrote", MAX_RESULTS_BYTES)
    except FileNotFoundError:
        raise AaspError(f"no such results file: {path}; check the path") from None
    if not isinstance(document, dict) or not isinstance(document.get("records"), list):
        return None
    return [from_dict(Record, values, f"{path}: record {number}") for number, values in enumerate(document["records"])]


def _check_same(first: Record, where: Path, second: Record, place: Path) -> None:
    if (first.value, first.clips, first.missing) != (second.value, second.clips, second.missing):
        raise AaspError(
            f"two results of {first.system} on {first.benchmark}, {first.protocol}, split {first.split}, "
            f"seed {first.seed}: {first.metric} {first.value:.6g} of {first.clips:,} clips in {where}, "
            f"{second.value:.6g} of {second.clips:,} clips in {place}; leave one of the two out"
        )
