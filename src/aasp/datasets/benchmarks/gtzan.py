"""GTZAN: music genres, half a minute each, as fault-filtered by Kereliuk et al. 2015.

The thousand excerpts repeat recordings and artists and some are mislabelled (Sturm 2013); the lists used here have 930
of them, with no artist in two parts. The lists do not name the artists, so there are no groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aasp.audio.io import AudioError, probe
from aasp.datasets.benchmarks.contract import Benchmark, Download
from aasp.datasets.benchmarks.files import Clip, labelled_set
from aasp.datasets.benchmarks.lists import read_list
from aasp.datasets.index import Skipped
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError

CLASSES = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"]
_LISTS = {part: f"{part}_filtered.txt" for part in ("train", "valid", "test")}
_DAMAGED = "jazz.00054"  # in the train list: its WAV file can't be decoded in the copies in circulation


def _read(root: Path) -> LabelledSet:
    folder = next((root / name for name in ("genres", "genres_original") if (root / name).is_dir()), root)
    clips = [clip for part, name in _LISTS.items() for clip in _listed(root / name, folder, part)]
    found = labelled_set("gtzan", root, clips, CLASSES)
    for row, path in enumerate(found.sounds):
        if Path(str(path)).stem == _DAMAGED:
            try:
                probe(str(path))
            except AudioError as error:
                return found.without([row], [Skipped(error.path, error.reason)])
    return found


def _listed(path: Path, folder: Path, part: str) -> Iterator[Clip]:
    for line, (file,) in read_list(path, 1):
        genre = file.split("/")[0]
        if genre not in CLASSES or file.count("/") != 1:
            raise AaspError(f"{path}, line {line}: not GENRE/FILE with a genre of GTZAN: {file}; fetch it again")
        yield Clip(str(folder / file), (genre,), part)


GTZAN = Benchmark(
    name="gtzan",
    title="GTZAN",
    task="music genres, fault-filtered",
    metric="accuracy",
    clip_seconds=30.0,
    classes=10,
    counts={"train": 443, "valid": 197, "test": 290},
    downloads=(
        Download(
            "genres.tar.gz",
            "https://huggingface.co/datasets/marsyas/gtzan",
            "none stated; excerpts of commercial recordings",
        ),
        Download(
            "train_filtered.txt, valid_filtered.txt, test_filtered.txt",
            "https://github.com/jongpillee/music_dataset_split/tree/master/GTZAN_split",
            "as that repository says",
        ),
    ),
    layout=(
        "train_filtered.txt, valid_filtered.txt, test_filtered.txt",
        "genres/blues/blues.00000.wav    or in genres_original/, or without such a folder; .au is to be converted",
    ),
    reference="G. Tzanetakis, P. Cook, Musical genre classification of audio signals, TSAP 2002; "
    "split: C. Kereliuk, B. L. Sturm, J. Larsen, Deep learning and music adversaries, TMM 2015",
    read=_read,
)
