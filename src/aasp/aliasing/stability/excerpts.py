"""Excerpts of real clips: the loudest seconds of each, with some to spare on both sides so that time can be moved.

Legend: n clips, S samples of an excerpt, P samples to spare on either side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aasp.aliasing.stability.energy import audible, log_power
from aasp.audio.io import AudioError
from aasp.audio.sounds import describe, read_sound
from aasp.datasets.index import Skipped
from aasp.datasets.manifest import Manifest
from aasp.errors import AaspError

RATE = 16_000
HOP = 160
"""Samples of a frame of 10 ms."""
SPARE = 16
"""Frames before and after an excerpt: a shift takes up to 15."""
QUIETEST = 0.02
"""Share of the log-mel above its floor: with less there is nothing to perturb."""
FEWEST = 8
"""Clips: fewer say nothing of others, and a probe cannot be trained on them."""


@dataclass(frozen=True)
class Excerpts:
    """Clips of one length, each inside a longer source.

    Attributes:
        source: waveforms at RATE, shape (n, P + S + P).
        spare: P.
    """

    source: Tensor
    spare: int

    def __len__(self) -> int:
        return len(self.source)

    @property
    def clean(self) -> Tensor:
        """The excerpts themselves, shape (n, S)."""
        return self.source[:, self.spare : -self.spare]

    @property
    def samples(self) -> int:
        """S."""
        return self.source.shape[1] - 2 * self.spare

    def batches(self, size: int) -> Iterator[Excerpts]:
        """`size` clips at a time, in order."""
        return (Excerpts(source, self.spare) for source in self.source.split(size))


@dataclass(frozen=True)
class Gathered:
    """Excerpts of a set's clips.

    Attributes:
        excerpts: the clips.
        rows: their rows in the manifest, shape (n,).
        skipped: clips that were asked for and can't be used, and why.
    """

    excerpts: Excerpts
    rows: np.ndarray
    skipped: list[Skipped]


def gather(
    manifest: Manifest,
    *,
    clips: int,
    seconds: float,
    unusable: Sequence[Skipped] = (),
    progress: Callable[[int, int], object] | None = None,
) -> Gathered:
    """Cut the loudest excerpt of clips that are spread evenly over a set.

    Args:
        manifest: the set.
        clips: how many clips; all of the long enough ones if there are no more.
        seconds: length of an excerpt; rounded to whole frames of 10 ms.
        unusable: clips that the manifest had to leave out already; they are told of with the others.
        progress: called with (clips read, clips in all).

    Raises:
        AaspError: too few clips are left.
    """
    frames = round(seconds * RATE / HOP)
    needed = (frames + 2 * SPARE) * HOP / RATE
    long_enough = manifest.seconds >= needed
    reason = f"{{:.3g}} s long, {needed:.2f} s are needed for {seconds:g} s and what is to spare"
    short = np.flatnonzero(~long_enough).tolist()
    skipped = [*unusable]
    skipped += [Skipped(describe(manifest.sound(row)), reason.format(manifest.seconds[row])) for row in short]
    eligible = np.flatnonzero(long_enough)
    spread = np.linspace(0, max(len(eligible) - 1, 0), min(clips, len(eligible))).round().astype(int)
    chosen = eligible[spread].tolist()
    sources, rows = [], []
    for done, row in enumerate(chosen, start=1):
        sound = manifest.sound(row)
        try:
            sources.append(loudest(read_sound(sound, rate=RATE), frames, SPARE))
            rows.append(row)
        except (AudioError, _Unusable) as error:
            skipped.append(Skipped(describe(sound), error.reason))
        if progress is not None:
            progress(done, len(chosen))
    if len(rows) < FEWEST:
        why = f"; of {len(skipped)} skipped the first is {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise AaspError(
            f"{manifest.source}: {len(rows)} usable clip(s), {FEWEST} or more are needed{why}; "
            "lower --seconds, raise --clips or give other clips"
        )
    return Gathered(Excerpts(torch.from_numpy(np.stack(sources)), SPARE * HOP), np.array(rows), skipped)


def loudest(wave: np.ndarray, frames: int, spare: int) -> np.ndarray:
    """The `frames` frames of most energy, with `spare` frames on either side: (spare + frames + spare) * HOP samples.

    Raises:
        _Unusable: the clip is too short, or silence.
    """
    count = len(wave) // HOP
    if count < frames + 2 * spare:
        raise _Unusable(f"decodes to {len(wave) / RATE:.3g} s, less than its index says")
    power = np.square(wave[: count * HOP], dtype=np.float64).reshape(count, HOP).sum(1)
    upto = np.concatenate([[0.0], np.cumsum(power)])
    within = (upto[frames:] - upto[:-frames])[spare : count - frames - spare + 1]
    first = int(within.argmax())
    excerpt = wave[first * HOP : (first + frames + 2 * spare) * HOP]
    heard = audible(log_power(torch.from_numpy(excerpt)[None])).float().mean()
    if heard < QUIETEST:
        raise _Unusable(f"is silence: {100 * heard:.2g} % of its log-mel lies above the floor")
    return excerpt


class _Unusable(Exception):
    """A clip that can't be examined; its message is the reason."""

    @property
    def reason(self) -> str:
        return str(self)
