"""UrbanSound8K: street sounds in ten folds, which must be used as published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aasp.datasets.benchmarks.contract import Benchmark, Download
from aasp.datasets.benchmarks.files import Clip, labelled_set, read_rows
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError

# A class's index is its classID.
CLASSES = (
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
)
_CLIPS = (873, 888, 925, 990, 936, 823, 838, 806, 816, 837)


def _read(root: Path) -> LabelledSet:
    return labelled_set("urbansound8k", root, _listed(root), CLASSES)


def _listed(root: Path) -> Iterator[Clip]:
    table = root / "metadata" / "UrbanSound8K.csv"
    for line, row in enumerate(read_rows(table, ("slice_file_name", "fsID", "fold", "classID", "class")), 2):
        number, label = row["classID"], row["class"]
        if not number.isdecimal() or int(number) >= len(CLASSES) or CLASSES[int(number)] != label:
            raise AaspError(f"{table}, line {line}: classID {number} is not {label!r} in UrbanSound8K; fetch it again")
        path = root / "audio" / f"fold{row['fold']}" / row["slice_file_name"]
        yield Clip(str(path), (label,), row["fold"], row["fsID"])


URBANSOUND8K = Benchmark(
    name="urbansound8k",
    title="UrbanSound8K",
    task="street sounds",
    metric="accuracy",
    clip_seconds=4.0,
    classes=10,
    counts={str(fold): clips for fold, clips in enumerate(_CLIPS, 1)},
    downloads=(
        Download("UrbanSound8K.tar.gz, 6 GB", "https://urbansounddataset.weebly.com/urbansound8k.html", "CC BY-NC 3.0"),
    ),
    layout=(
        "metadata/UrbanSound8K.csv",
        "audio/fold1/101415-3-0-2.wav    fsID-classID-occurrence-slice; up to 4 s",
        "audio/fold2/ … fold10/",
    ),
    reference="J. Salamon et al., A Dataset and Taxonomy for Urban Sound Research, ACM MM 2014; "
    "the ten published folds",
    read=_read,
)
