"""What the cells of a folder are trained on and measured with, as hashes, so that changed inputs are not mixed.

settings.json has `data_hash`, `sets` and `set_hashes` by name, and `stability`. Folders of earlier versions lack some;
these are filled in. Source: ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from aasp.audio.sounds import Sound, duration
from aasp.compare.folder import REMEDY, Folder, file_name
from aasp.datasets.fingerprint import contents
from aasp.datasets.labelled import LabelledSet
from aasp.datasets.manifest import Manifest
from aasp.documents import as_written
from aasp.errors import AaspError
from aasp.evaluate.finetune.identity import labels_hash

AGAIN = "restore them, or choose another --out"


class Given(NamedTuple):
    """An argument of the command line, and the hash of the clips that it names."""

    word: str
    hash: str


@dataclass(frozen=True)
class Inputs:
    """The inputs that the command line names.

    Attributes:
        data: the training data.
        sets: the labelled sets, by name.
        stability: the clips of --stability, if any.
    """

    data: Given
    sets: Mapping[str, Given] = field(default_factory=dict)
    stability: Given | None = None

    def joined(self, folder: Folder) -> dict[str, Any]:
        """The settings of these inputs, with those of the folder, which stay.

        Args:
            folder: of the comparison or the ablation; its settings are locked.

        Raises:
            AaspError: an input differs from the one that the folder's cells were trained on or measured with.
        """
        known, where = folder.settings, folder.path
        data = known.get("data_hash") or folder.recorded.get("contents") or self.data.hash
        if data != self.data.hash:
            raise AaspError(f"--data {self.data.word}: its files have changed since {where} was started; {AGAIN}")
        with as_written(where / "settings.json", REMEDY):
            sets: dict[str, str] = dict(known.get("sets", {}))
            hashes: dict[str, str] = dict(known.get("set_hashes", {}))
            stability = Given(**known["stability"]) if known.get("stability") else self.stability
        for name, (word, digest) in self.sets.items():
            if sets.setdefault(name, word) != word:
                raise AaspError(
                    f"--benchmarks {word}: {where} has measured {sets[name]} as {name}; choose another --out"
                )
            if hashes.setdefault(name, digest) != digest:
                text = f"its clips, labels, parts or groups have changed since {where} measured them"
                raise AaspError(f"--benchmarks {word}: {text}; {AGAIN}")
            check_files(name, word, sets)
        if stability and self.stability and stability.hash != self.stability.hash:
            text = f"{where} has measured other clips or groups as {stability.word}"
            raise AaspError(f"--stability {self.stability.word}: {text}; give the same, or choose another --out")
        kept = stability and stability._asdict()
        return {"data_hash": data, "sets": sets, "set_hashes": hashes, "stability": kept}


def check_files(name: str, word: str, others: Mapping[str, str]) -> None:
    """Check that no set shares a file of scores with another.

    Args:
        name, word: of the set.
        others: word of each set by name.

    Raises:
        AaspError: one does.
    """
    for other in others:
        if other != name and file_name(other) == file_name(name):
            text = f"{name!r} and {other!r} ({others[other]}) would share a file of scores"
            raise AaspError(f"--benchmarks {word}: {text}; rename the folder of one index")


def data_given(data: Path) -> Given:
    """The training data.

    Raises:
        AaspError: as `Manifest.open`.
    """
    manifest, _ = Manifest.open(data)
    return Given(str(data), contents(len(manifest), manifest.sound))


def set_hash(labelled: LabelledSet) -> str:
    """Hash of labels, parts, groups, durations and some contents of a set's clips, 16 hexadecimal digits."""
    groups = None if labelled.groups is None else list(map(str, labelled.groups))
    return _hash([labels_hash(labelled), groups], labelled.sounds)


def measured_clips_hash(sounds: Sequence[Sound], groups: Sequence[str] | None) -> str:
    """Hash of clips and of the group of each, 16 hexadecimal digits."""
    return _hash([None if groups is None else list(groups)], sounds)


def _hash(marks: Sequence[Any], sounds: Sequence[Sound]) -> str:
    seconds = [round(duration(sound), 4) for sound in sounds]
    every = [*marks, seconds, contents(len(sounds), sounds.__getitem__)]
    return sha256(json.dumps(every).encode()).hexdigest()[:16]
