"""VoxForge: which of six languages is read aloud, in recordings submitted by volunteers.

EVAR's list can't be derived from the recordings: it drew archives at random (a speaker with several may be in two
parts), and the collection grows. If voxforge.csv is in the root it is used; otherwise our own split of speakers is
used, with a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from aasp.datasets.benchmarks.contract import Benchmark, Download
from aasp.datasets.benchmarks.files import Clip, Listing, labelled_set, read_rows
from aasp.datasets.benchmarks.own_split import part_of
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError

LIST = "voxforge.csv"
LANGUAGES = ["de", "en", "es", "fr", "it", "ru"]
_SHARES = {"train": 0.7, "valid": 0.15, "test": 0.15}
_SESSION = re.compile(r"(.+)-\d{8}-[^-]*")  # SPEAKER-DATE-MARK
_NAMELESS = re.compile(r"an[oó]n[iy]m", re.IGNORECASE)  # anonymous, anonyme, anonimo, …


def _read(root: Path) -> LabelledSet:
    listing, notes = Listing(), []
    if (root / LIST).exists():
        clips = list(_listed(root / LIST))
        classes = sorted({clip.labels[0] for clip in clips})
    else:
        clips, classes = list(_found(listing, root)), LANGUAGES
        if not clips:
            languages = ", ".join(LANGUAGES)
            raise AaspError(f"voxforge: neither {root / LIST} nor sessions in the folders {languages} of {root}")
        notes.append(f"no {root / LIST}: our own split, speakers disjoint; not comparable with published scores")
    return labelled_set("voxforge", root, clips, classes, notes=notes, listing=listing)


def _listed(path: Path) -> Iterator[Clip]:
    for line, row in enumerate(read_rows(path, ("file_name", "label", "split")), 2):
        file = PurePosixPath(row["file_name"])
        if row["split"] not in _SHARES or len(file.parts) < 3:
            wrong = f"not SESSION/wav/FILE with train, valid or test: {file}, {row['split']}"
            raise AaspError(f"{path}, line {line}: {wrong}; fetch it again")
        yield Clip(str(path.parent / file), (row["label"],), row["split"], speaker_of(file.parts[-3]))


def _found(listing: Listing, root: Path) -> Iterator[Clip]:
    for language in LANGUAGES:
        for session in sorted(listing.names(root / language)):
            speaker = speaker_of(session)
            for kind in ("wav", "flac"):
                folder = root / language / session / kind
                for name in listing.sounds(folder).values():
                    yield Clip(str(folder / name), (language,), part_of(speaker, _SHARES), speaker)


def speaker_of(session: str) -> str:
    """The speaker of a session, from its name; an anonymous session counts as a separate speaker."""
    parts = _SESSION.fullmatch(session)
    return session if parts is None or _NAMELESS.match(parts[1]) else parts[1].lower()


VOXFORGE = Benchmark(
    name="voxforge",
    title="VoxForge",
    task="spoken language",
    metric="accuracy",
    clip_seconds=5.8,
    classes=6,
    counts={"train": 121_281, "valid": 26_684, "test": 28_463},  # EVAR's list
    downloads=(
        Download(
            "the archives of sessions; addresses",
            "https://storage.googleapis.com/tfds-data/downloads/voxforge/voxforge_urls.txt",
            "GPL, http://www.voxforge.org",
        ),
        Download(LIST, "https://github.com/nttcslab/eval-audio-repr/tree/main/evar/metadata", "EVAR's own"),
    ),
    layout=(
        "voxforge.csv                               file_name,label,split: EVAR's list, its files under the root;",
        "                                           optional: without it our own split is used, not comparable, from",
        "de/SPEAKER-20080101-abc/wav/de1-01.wav     de, en, es, fr, it, ru",
    ),
    reference="K. MacLean, VoxForge; split: EVAR, D. Niizumi et al., BYOL for Audio, TASLP 31, 2023",
    read=_read,
)
