"""Speech Commands, both versions: all words, ten commands, or the commands with unknown words and silence.

The official lists name the valid and test clips; the others are the train part. The 12-class form adds other words
(`_unknown_`) and noise (`_silence_`), each a tenth of the number of command clips, as in TensorFlow's tutorial. Its
test part is the separately published test set, if that is present.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from aasp.audio.sounds import duration
from aasp.datasets.benchmarks.contract import Benchmark, Download
from aasp.datasets.benchmarks.files import Clip, Listing, draw, labelled_set
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError

Version = Literal["v0.01", "v0.02"]
COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
UNKNOWN, SILENCE, NOISE = "_unknown_", "_silence_", "_background_noise_"
_NEW = ("backward", "follow", "forward", "learn", "visual")  # in v0.02
_OTHERS = """
    bed bird cat dog eight five four happy house marvin nine one seven sheila six three tree two wow zero
"""
WORDS: Mapping[Version, tuple[str, ...]] = {
    "v0.01": tuple(sorted([*COMMANDS, *_OTHERS.split()])),
    "v0.02": tuple(sorted([*COMMANDS, *_OTHERS.split(), *_NEW])),
}
_LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}
# Range of each noise recording from which a part's silence is cut, so that no sample is in two parts.
_STRETCHES = {"train": (0.0, 0.8), "valid": (0.8, 0.9), "test": (0.9, 1.0)}
_SHARE = 10  # percent of silence, and of unknown words
_SECONDS = 1.0


def _all_words(name: str, version: Version, root: Path) -> LabelledSet:
    listing = Listing()
    return labelled_set(name, root, _recordings(root, version, listing), WORDS[version], listing=listing)


def _ten(name: str, version: Version, root: Path) -> LabelledSet:
    listing = Listing()
    clips = [clip for clip in _recordings(root, version, listing) if clip.labels[0] in COMMANDS]
    return labelled_set(name, root, clips, COMMANDS, listing=listing)


def _twelve(name: str, version: Version, root: Path) -> LabelledSet:
    listing, classes = Listing(), (*COMMANDS, UNKNOWN, SILENCE)
    clips = list(_recordings(root, version, listing))
    published = _published_test(root, version)
    notes = ["silence and unknown words of train and valid: our draw, in TensorFlow's proportions"]
    chosen = []
    for part in ("train", "valid") if published else ("train", "valid", "test"):
        ours = [clip for clip in clips if clip.part == part]
        commands = [clip for clip in ours if clip.labels[0] in COMMANDS]
        count = math.ceil(len(commands) * _SHARE / 100)
        others = sorted((clip for clip in ours if clip.labels[0] not in COMMANDS), key=lambda clip: _order(clip, root))
        unknown = [clip._replace(labels=(UNKNOWN,)) for clip in others[:count]]
        chosen += [*commands, *unknown, *_silence(root, part, count, listing)]
    if published:
        chosen += _test_clips(published, classes, listing)
    else:
        notes.append(f"no speech_commands_test_set_{version} in or beside {root}: test is drawn as train and valid are")
    return labelled_set(name, root, chosen, classes, notes=notes, listing=listing)


def _recordings(root: Path, version: Version, listing: Listing) -> Iterator[Clip]:
    """All recordings of words, including listed ones whose files are missing."""
    listed = {key: part for part in _LISTS for key in _listed(root, part, version)}
    for word in WORDS[version]:
        for stem, name in listing.sounds(root / word).items():
            part = listed.pop((word, stem), "train")
            yield Clip(str(root / word / name), (word,), part, _speaker(stem))
    for (word, stem), part in listed.items():
        yield Clip(str(root / word / f"{stem}.wav"), (word,), part, _speaker(stem))


def _listed(root: Path, part: str, version: Version) -> Iterator[tuple[str, str]]:
    """Word and stem of each line of an official list."""
    path = root / _LISTS[part]
    try:
        lines = path.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        raise AaspError(f"no such file: {path}; name the folder that the archive was unpacked into") from None
    except UnicodeDecodeError:
        raise AaspError(f"{path}: not text; unpack it again") from None
    words = set(WORDS[version])
    for number, line in enumerate(lines, 1):
        word, _, name = line.partition("/")
        if word not in words or not name:
            what = f"{line!r} is no clip of one of the {len(words)} words of {version}"
            raise AaspError(f"{path}, line {number}: {what}; is it from the other version?")
        yield word, Path(name).stem


def _speaker(stem: str) -> str:
    """The speaker's number, as in bed_0c40e715_nohash_0 or 0c40e715_nohash_0."""
    return stem.partition("_nohash_")[0].rpartition("_")[2]


def _order(clip: Clip, root: Path) -> float:
    path = Path(clip.path).relative_to(root).with_suffix("")
    return draw(f"unknown {path.as_posix()}")


def _silence(root: Path, part: str, count: int, listing: Listing) -> Iterator[Clip]:
    """One-second excerpts of the noise recordings, from the part's own range."""
    first, last = _STRETCHES[part]
    usable = []
    for stem, name in listing.sounds(root / NOISE).items():
        path = str(root / NOISE / name)
        seconds = duration(path)
        if (last - first) * seconds >= _SECONDS:
            usable.append((stem, path, first * seconds, last * seconds - _SECONDS))
    if not usable and count:
        long = f"no recording of {_SECONDS / (last - first):g} s or more to cut the silence of {part} from"
        raise AaspError(f"{root / NOISE}: {long}; unpack it again")
    for number in range(count):
        stem, path, begin, end = usable[number % len(usable)]
        start = begin + draw(f"silence {part} {stem} {number}") * (end - begin)
        yield Clip(path, (SILENCE,), part, f"{NOISE}/{stem}/{part}", (start, _SECONDS))


def _published_test(root: Path, version: Version) -> Path | None:
    """The published 12-class test set, unpacked in the root or beside it."""
    name = f"speech_commands_test_set_{version}"
    beside = Path(os.path.abspath(root)).parent / name
    return next((folder for folder in (root / name, beside) if folder.is_dir()), None)


def _test_clips(folder: Path, classes: tuple[str, ...], listing: Listing) -> Iterator[Clip]:
    for label in classes:
        for stem, name in listing.sounds(folder / label).items():
            group = f"{label}/{stem}" if label == SILENCE else _speaker(stem)
            yield Clip(str(folder / label / name), (label,), "test", group)


def _benchmark(version: Version, form: str, classes: int, counts: tuple[int, int, int]) -> Benchmark:
    number = f"V{version[-1]}"
    name = f"speech_commands_{number.lower()}{form}"
    task, read = {
        "": (f"all {classes} words", _all_words),
        "_12": ("ten commands, unknown words, silence", _twelve),
        "_10": ("ten commands", _ten),
    }[form]
    beside = f"speech_commands_test_set_{version}"
    url = "http://download.tensorflow.org/data"
    downloads = [Download(f"speech_commands_{version}.tar.gz", f"{url}/speech_commands_{version}.tar.gz", "CC BY 4.0")]
    layout = [
        "validation_list.txt, testing_list.txt    the clips of valid and test; the others train",
        "yes/0a7c2a8d_nohash_0.wav                a folder for each word; speaker_nohash_take",
    ]
    if form == "_12":
        what_else = f"{beside}.tar.gz, into a folder of that name"
        downloads.append(Download(what_else, f"{url}/{beside}.tar.gz", "CC BY 4.0"))
        layout += [
            "_background_noise_/                      what silence is cut from",
            f"{beside}/          here or beside this folder: a folder for each class",
        ]
    return Benchmark(
        name=name,
        title=f"Speech Commands {number}{form.replace('_', '-')}",
        task=task,
        metric="accuracy",
        clip_seconds=_SECONDS,
        classes=classes,
        counts=dict(zip(("train", "valid", "test"), counts, strict=True)),
        downloads=tuple(downloads),
        layout=tuple(layout),
        reference="P. Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, arXiv 1804.03209; "
        "its own lists, by speaker",
        read=partial(read, name, version),
        normalisation=(-6.846, 5.565) if version == "v0.02" else None,
    )


SPEECH_COMMANDS_V2 = _benchmark("v0.02", "", 35, (84_843, 9_981, 11_005))
SPEECH_COMMANDS_V2_12 = _benchmark("v0.02", "_12", 12, (36_923, 4_445, 4_890))
SPEECH_COMMANDS_V2_10 = _benchmark("v0.02", "_10", 10, (30_769, 3_703, 4_074))
SPEECH_COMMANDS_V1 = _benchmark("v0.01", "", 30, (51_088, 6_798, 6_835))
SPEECH_COMMANDS_V1_12 = _benchmark("v0.01", "_12", 12, (22_246, 3_093, 3_081))
SPEECH_COMMANDS_V1_10 = _benchmark("v0.01", "_10", 10, (18_538, 2_577, 2_567))
