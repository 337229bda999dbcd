"""`aasp duplicates` on known pairs: recordings re-encoded, attenuated, cut, resampled, and other notes.

usage: python benchmarks/duplicates.py [--data FOLDER] [--model MODEL] [--clips N] [--others N] [--rows N] [--threads N]

ESC-10 clips and notes of sampled instruments, each with five changed copies; and, as negatives, four other keys of each
instrument and all other clips. A pair is correct if both are of one recording. Recall is over pairs of an original and
a copy. Notes of one key and two velocities play one recording, so only one velocity is rendered. Also, for --rows
generated vectors, the time of comparing all with all, relative to a search for each of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

from aasp.audio.io import read
from aasp.datasets.notes import INSTRUMENTS, render
from aasp.evaluate.features import Running
from aasp.index import Index
from aasp.index.building import update
from aasp.index.duplicates import NEAREST, duplicates
from aasp.index.layout import Model, Settings
from aasp.index.nearest import nearest
from aasp.index.neighbours import neighbours
from aasp.model.audio_encoder import load
from harness import Row, Spread, alternately, data_folder, options, ratio, report
from search import clustered

RATE, QUERIES = 16_000, 256


def main() -> None:
    parser = options(__doc__, rounds=1)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--clips", type=int, default=40, help="ESC-10 clips with copies, 40 by default")
    parser.add_argument("--others", type=int, default=360, help="and without, 360 by default")
    parser.add_argument("--rows", type=int, default=20_000, help="made-up vectors that are compared, 20,000 by default")
    parser.add_argument("--model", default="aasp-tiny")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    encoder = load(arguments.model)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "sounds"
        folder.mkdir()
        originals = write(folder, data_folder(arguments.data) / "esc10", arguments.clips, arguments.others)
        made = Path(place) / "index"
        update(made, encoder, Model(arguments.model, encoder.digest), Settings(), [str(folder)], running=Running())
        index = Index.open(made)
        for threshold in (0.5,):
            rows += scored(index, threshold, originals)
    rows.append(compared(arguments.rows, arguments.rounds))
    report("duplicates", rows, arguments.threads)


def write(folder: Path, esc10: Path, clips: int, others: int) -> list[str]:
    """Write files named `recording.kind.ending`; returns the names of the recordings that have copies."""
    rng, originals = np.random.default_rng(0), []
    paths = rng.permutation(np.array(sorted((esc10 / "audio").glob("*.flac")), object))
    for number, path in enumerate(paths[: clips + others]):
        wave = read(str(path))
        soundfile.write(folder / f"{path.stem}.own.flac", wave, RATE)
        if number < clips:
            originals.append(path.stem)
            copies(folder, path.stem, wave)
    for instrument in INSTRUMENTS[::4]:
        keys = list(range(instrument.low + 4, instrument.low + 9))
        for key, wave in zip(keys, render(instrument.program, keys, [100] * len(keys)), strict=True):
            name = f"{instrument.name} {key}"
            soundfile.write(folder / f"{name}.own.flac", wave, RATE)
            if key == keys[0]:
                originals.append(name)
                copies(folder, name, wave)
    return originals


def copies(folder: Path, name: str, wave: np.ndarray) -> None:
    for kind, ending, changed, rate in changes(wave):
        soundfile.write(folder / f"{name}.{kind}.{ending}", changed, rate)


def changes(wave: np.ndarray) -> Iterator[tuple[str, str, np.ndarray, int]]:
    quiet = wave / max(1.0, 1.05 * float(np.abs(wave).max()))
    yield "mp3", "mp3", quiet, RATE
    yield "ogg", "ogg", quiet, RATE
    yield "gain", "wav", 0.1 * wave, RATE
    yield "trimmed", "wav", wave[RATE // 2 :], RATE
    yield "resampled", "wav", soxr.resample(quiet, RATE, 22_050), 22_050


def scored(index: Index, threshold: float, originals: list[str]) -> list[Row]:
    """Recall of each kind of copy, and precision."""
    names = [Path(path).name.rsplit(".", 2)[:2] for path in index.rows["path"].to_pylist()]
    found = list(duplicates(index, threshold, []))
    right = [one for one in found if names[one.row][0] == names[one.other][0]]
    wrong = [f"{names[one.row][0]} and {names[one.other][0]}" for one in found if one not in right]
    pairs = {
        (names[one.row][0], kind)
        for one in right
        for kind in (names[one.row][1], names[one.other][1])
        if "own" in (names[one.row][1], names[one.other][1])
    }
    rows = []
    for kind in ("mp3", "ogg", "gain", "trimmed", "resampled"):
        share = sum((name, kind) in pairs for name in originals) / len(originals)
        rows.append(Row(f"cosine {threshold}, {kind}: recall", Spread(share, share, share), "", f"of {len(originals)}"))
    share = len(right) / max(1, len(found))
    detail = f"{len(found)} pairs among {len(index)} files" + (f"; wrong: {', '.join(wrong[:4])}" if wrong else "")
    return [*rows, Row(f"cosine {threshold}: precision", Spread(share, share, share), "", detail)]


def compared(count: int, rounds: int) -> Row:
    """All rows with all, each pair once, against a search for each row; the first rows must have equal results."""
    vectors, files = clustered(count, np.random.default_rng(0)), np.arange(count)
    found, _ = neighbours(vectors, NEAREST, 0.9, files)
    some = vectors[:QUERIES].astype(np.float32)
    theirs, cosines = nearest(vectors, some, NEAREST + 1)
    for row in range(QUERIES):
        expected = [
            other for other, cosine in zip(theirs[row], cosines[row], strict=True) if cosine >= 0.9 and other != row
        ]
        assert sorted(expected) == sorted(other for other in found[row] if other >= 0), row
    took = alternately(
        {
            "all": lambda: neighbours(vectors, NEAREST, 0.9, files),
            "each": lambda: [nearest(vectors, vectors[at : at + QUERIES], NEAREST) for at in range(0, count, QUERIES)],
        },
        rounds,
        warmup=0,
    )
    detail = f"{np.median(took['all']):.3g} and {np.median(took['each']):.3g} s"
    what = f"comparing {count:,} rows of {vectors.shape[1]}: each pair once over a search for each row"
    return Row(what, ratio(took["all"], took["each"]), "", detail)


if __name__ == "__main__":
    main()
