"""FSD50K: Freesound clips of 0.3 to 30 s, 200 classes of AudioSet's ontology, several per clip.

Labels are already propagated to their parents in the ontology. Groups are the uploaders, who are mostly in a single
part; their names are in the optional metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from aasp.datasets.benchmarks.contract import Benchmark, Download
from aasp.datasets.benchmarks.files import Clip, labelled_set, read_rows
from aasp.datasets.benchmarks.lists import read_list
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError

_PARTS = {"train": "train", "val": "valid"}


def _read(root: Path) -> LabelledSet:
    lists = root / "FSD50K.ground_truth"
    classes = _vocabulary(lists / "vocabulary.csv")
    clips: list[Clip] = []
    notes: list[str] = []
    for half in ("dev", "eval"):
        metadata = root / "FSD50K.metadata" / f"{half}_clips_info_FSD50K.json"
        uploaders = _uploaders(metadata)
        if uploaders is None:
            notes.append(f"no {metadata}: the uploaders are unknown, so intervals resample clips")
        clips += _listed(lists / f"{half}.csv", root / f"FSD50K.{half}_audio", frozenset(classes), uploaders)
    return labelled_set("fsd50k", root, clips, classes, multilabel=True, notes=notes)


def _vocabulary(path: Path) -> list[str]:
    names: list[str] = []
    for line, (place, name, _) in read_list(path, 3):
        if place != str(len(names)):
            raise AaspError(f"{path}, line {line}: class {place} out of order; fetch it again")
        names.append(name)
    return names


def _listed(path: Path, audio: Path, classes: frozenset[str], uploaders: Mapping[str, str] | None) -> Iterator[Clip]:
    splits = path.stem == "dev"
    for line, row in enumerate(read_rows(path, ("fname", "labels", "split") if splits else ("fname", "labels")), 2):
        labels = tuple(row["labels"].split(","))
        unknown = [label for label in labels if label not in classes]
        if unknown:
            raise AaspError(f"{path}, line {line}: {unknown[0]!r} is not in vocabulary.csv; fetch both again")
        part = _PARTS.get(row["split"]) if splits else "test"
        if part is None:
            raise AaspError(f"{path}, line {line}: split {row['split']!r} is neither train nor val; fetch it again")
        name = row["fname"]
        if uploaders is not None and name not in uploaders:
            raise AaspError(f"{path}, line {line}: clip {name} is not in FSD50K.metadata; fetch that again")
        yield Clip(str(audio / f"{name}.wav"), labels, part, None if uploaders is None else uploaders[name])


def _uploaders(path: Path) -> dict[str, str] | None:
    try:
        return {clip: str(entry["uploader"]) for clip, entry in json.loads(path.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AaspError(f"{path}: not FSD50K's metadata ({error!r}); fetch it again") from None


FSD50K = Benchmark(
    name="fsd50k",
    title="FSD50K",
    task="sound events, several a clip",
    metric="mAP",
    clip_seconds=7.6,
    classes=200,
    counts={"train": 36_796, "valid": 4_170, "test": 10_231},
    downloads=(
        Download(
            "FSD50K.dev_audio, FSD50K.eval_audio, FSD50K.ground_truth and, for the uploaders, FSD50K.metadata",
            "https://zenodo.org/records/4060432",
            "CC BY 4.0 as a whole; of the clips CC0, CC BY, CC BY-NC or CC Sampling+, each as the metadata says",
        ),
    ),
    layout=(
        "FSD50K.ground_truth/dev.csv, eval.csv, vocabulary.csv",
        "FSD50K.dev_audio/64760.wav",
        "FSD50K.eval_audio/37199.wav",
        "FSD50K.metadata/dev_clips_info_FSD50K.json, eval_clips_info_FSD50K.json    may be absent",
    ),
    reference="E. Fonseca et al., FSD50K: an Open Dataset of Human-Labeled Sound Events, TASLP 30, 2022",
    read=_read,
)
