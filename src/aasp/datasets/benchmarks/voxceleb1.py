"""VoxCeleb1, identification: which of 1,251 celebrities speaks, in interviews from YouTube.

The speaker is the class, and each one is in every part: speakers can't be the groups, or no part could be held out and
an interval would draw classes. Groups are videos, since utterances of one video share its room and microphone; the
published split reserves whole videos of a speaker for the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aasp.datasets.benchmarks.contract import Benchmark, Download
from aasp.datasets.benchmarks.files import Clip, Listing, labelled_set
from aasp.datasets.benchmarks.lists import read_list
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError

LIST = "iden_split.txt"
_PARTS = {"1": "train", "2": "valid", "3": "test"}
# The two archives both unpack to wav/. Identification uses both the dev and the test speakers of verification.
_FOLDERS = ("wav", "vox1_dev_wav/wav", "vox1_test_wav/wav")


def _read(root: Path) -> LabelledSet:
    listing = Listing()
    folder_of = {speaker: root / name for name in _FOLDERS for speaker in listing.names(root / name)}
    clips = list(_listed(root / LIST, folder_of, root / _FOLDERS[0]))
    classes = sorted({clip.labels[0] for clip in clips})
    return labelled_set("voxceleb1", root, clips, classes, listing=listing)


def _listed(path: Path, folder_of: dict[str, Path], elsewhere: Path) -> Iterator[Clip]:
    for line, (part, file) in read_list(path, 2, separator=" "):
        names = file.split("/")
        if part not in _PARTS or len(names) != 3:
            raise AaspError(f"{path}, line {line}: not PART SPEAKER/VIDEO/UTTERANCE: {part} {file}; fetch it again")
        speaker, video, _ = names
        yield Clip(str(folder_of.get(speaker, elsewhere) / file), (speaker,), _PARTS[part], video)


VOXCELEB1 = Benchmark(
    name="voxceleb1",
    title="VoxCeleb1",
    task="speaker identification",
    metric="accuracy",
    clip_seconds=8.2,
    classes=1_251,
    counts={"train": 138_361, "valid": 6_904, "test": 8_251},
    downloads=(
        Download(
            "the sound, both vox1_dev_wav and vox1_test_wav: on request",
            "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html",
            "CC BY 4.0; the videos remain their owners'",
        ),
        Download(LIST, f"https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/{LIST}", "CC BY 4.0"),
    ),
    layout=(
        "iden_split.txt",
        "wav/id10003/na8-QEFmj44/00003.wav    or in vox1_dev_wav/wav and vox1_test_wav/wav",
    ),
    reference="A. Nagrani, J. S. Chung, A. Zisserman, VoxCeleb: a large-scale speaker identification dataset, "
    "Interspeech 2017; its identification split",
    read=_read,
)
