"""Hashes that identify labelled clips: a folder's earlier training or results are continued only with the same."""

from __future__ import annotations

import json
from hashlib import sha256

from aasp.audio.sounds import channels_of, describe
from aasp.datasets.clips import names_hash
from aasp.datasets.labelled import LabelledSet


def labels_hash(data: LabelledSet) -> str:
    """Hash of every clip's labels, part and channels, and of the classes, 16 hexadecimal digits."""
    marks: list = [list(data.classes), [list(labels) for labels in data.labels], list(data.parts)]
    channels = [channels_of(sound) for sound in data.sounds]
    marks += [channels] if set(channels) != {"mean"} else []
    if data.events is not None:
        marks.append([[(one.start, one.end, one.label) for one in ones] for ones in data.events])
    return sha256(json.dumps(marks).encode()).hexdigest()[:16]


def clips_hash(data: LabelledSet) -> str:
    """Hash of the clips' names, without their common folder, and of their groups, 16 hexadecimal digits."""
    names = names_hash([describe(sound) for sound in data.sounds])
    groups = None if data.groups is None else [str(group) for group in data.groups]
    return sha256(json.dumps([names, groups]).encode()).hexdigest()[:16]
