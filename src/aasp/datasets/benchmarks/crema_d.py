"""CREMA-D: acted emotions, tested on speakers not in training.

Its authors published no split. Two are in use, both by actor: that of TensorFlow Datasets, which is computed here from
its seed (`crema_d`), and EVAR's, which needs its list beside the audio (`crema_d_evar`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aasp.datasets.benchmarks.contract import Benchmark, Download
from aasp.datasets.benchmarks.files import Clip, Listing, labelled_set, read_rows
from aasp.datasets.labelled import LabelledSet
from aasp.datasets.parts import part_in
from aasp.errors import AaspError

CLASSES = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
ACTORS = tuple(str(actor) for actor in range(1001, 1092))

# 1001_DFA_ANG_XX: actor, sentence, emotion, level.
_NAME = re.compile(rf"((1\d{{3}})_[A-Z]{{3}}_({'|'.join(CLASSES)}))_[A-Z]+")
# TensorFlow Datasets leaves these out: they were not available under the expected names when it was made.
_LEFT_OUT = {"1006_TIE_NEU", "1013_WSI_DIS", "1017_IWW_FEA", "1040_ITH_SAD"}


def parts_of_actors() -> dict[str, str]:
    """The part of each actor in TensorFlow Datasets: shuffled by NumPy's old generator, seed 0, cut at 70 and 80 %."""
    actors = list(ACTORS)
    np.random.RandomState(0).shuffle(actors)
    first, second = int(0.7 * len(actors)), int(0.8 * len(actors))
    return {
        actor: "train" if place < first else "valid" if place < second else "test" for place, actor in enumerate(actors)
    }


def _read(root: Path) -> LabelledSet:
    listing, parts = Listing(), parts_of_actors()
    audio = root / "AudioWAV"
    clips, left_out = [], 0
    for name in listing.sounds(audio).values():
        clip, actor, emotion = _parsed(audio / name)
        if actor not in parts:
            raise AaspError(f"{audio / name}: there is no actor {actor}, they are 1001 to 1091; move it away")
        if clip in _LEFT_OUT:
            left_out += 1
        else:
            clips.append(Clip(str(audio / name), (emotion,), parts[actor], actor))
    notes = ["the split is TensorFlow Datasets', not EVAR's: scores of the two are not comparable"]
    if left_out:
        notes.append(f"left out, as in TensorFlow Datasets: {left_out} clips")
    return labelled_set("crema_d", root, clips, CLASSES, notes=notes, listing=listing)


def _read_evar(root: Path) -> LabelledSet:
    return labelled_set("crema_d_evar", root, _listed(root), CLASSES)


def _listed(root: Path) -> Iterator[Clip]:
    table = root / "cremad.csv"
    for line, row in enumerate(read_rows(table, ("file_name", "split")), 2):
        path = root / "AudioWAV" / Path(row["file_name"]).name
        _, actor, emotion = _parsed(path)
        yield Clip(str(path), (emotion,), part_in(row["split"], f"{table}, line {line}"), actor)


def _parsed(path: Path) -> tuple[str, str, str]:
    """The name without the level, the actor, and the emotion."""
    name = _NAME.fullmatch(path.stem)
    if name is None:
        raise AaspError(f"{path}: not named ACTOR_SENTENCE_EMOTION_LEVEL as CREMA-D's clips are; move it away")
    return name[1], name[2], name[3]


_AUDIO = Download(
    "AudioWAV/ of the repository (through Git LFS)",
    "https://github.com/CheyneyComputerScience/CREMA-D",
    "Open Database License",
)
_REFERENCE = "H. Cao et al., CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset, IEEE T-AffC 2014"

CREMA_D = Benchmark(
    name="crema_d",
    title="CREMA-D",
    task="six acted emotions",
    metric="accuracy",
    clip_seconds=2.5,
    classes=6,
    counts={"train": 5_144, "valid": 738, "test": 1_556},
    downloads=(_AUDIO,),
    layout=("AudioWAV/1001_DFA_ANG_XX.wav    actor_sentence_emotion_level",),
    reference=f"{_REFERENCE}; actors split as in TensorFlow Datasets (crema_d 1.0.0)",
    read=_read,
)
CREMA_D_EVAR = Benchmark(
    name="crema_d_evar",
    title="CREMA-D (EVAR's list)",
    task="six acted emotions",
    metric="accuracy",
    clip_seconds=2.5,
    classes=6,
    counts={"train": 5_155, "valid": 732, "test": 1_551},
    downloads=(
        _AUDIO,
        Download("evar/metadata/cremad.csv", "https://github.com/nttcslab/eval-audio-repr", "as that repository says"),
    ),
    layout=(
        "cremad.csv                      file_name, split",
        "AudioWAV/1001_DFA_ANG_XX.wav    actor_sentence_emotion_level",
    ),
    reference=f"{_REFERENCE}; actors split as in EVAR",
    read=_read_evar,
)
