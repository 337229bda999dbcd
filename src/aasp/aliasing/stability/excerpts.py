"""Excerpts of real clips, the size of a change in their log-mel, and modulations scaled to a given change.

An excerpt is the loudest part of a clip, with a margin on both sides for shifts in time.

The log-mel is Kaldi's, of natural-log power, not normalised. With d = perturbed - clean over frames and mels,

    E = (sum of d² over all of them) / (number of those above the floor in the clean clip)

stated as rms decibels of power, 10 / ln 10 · √E. A gain exp(A/2 · cos(2π f t + φ)) changes log power by A cos(..): E is
A²/2 while f is slow, and less when the analysis window of 25 ms smears it. This also raises the mean level, which is
not a modulation; a constant gain compensates for it. A and that gain are fitted to every clip by measurement.

Legend: n or B clips, S samples of an excerpt, P samples of margin on either side, T frames, M mel bins. Source: ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aasp.audio.io import AudioError
from aasp.audio.sounds import describe, read_sound
from aasp.datasets.index import Skipped
from aasp.datasets.manifest import Manifest
from aasp.datasets.repeats import joined, repeats
from aasp.errors import AaspError
from aasp.features.logmel import LogMel, LogMelConfig

RATE, HOP = 16_000, 160
"""Samples per second, and per frame."""
SPARE = 16 * HOP
"""P: 16 frames before and after an excerpt; a shift uses up to 15."""
MIN_ABOVE_FLOOR = 0.02
"""Minimum share of the log-mel above its floor: with less there is nothing to perturb."""
MIN_CLIPS = 8
"""Minimum number of clips: fewer are not representative, and a probe cannot be trained on them."""
DECIBEL = 10 / math.log(10)
"""Decibels of power per unit of natural-log power."""
TOLERANCE, STEPS = 0.005, 40
"""Relative tolerance of E, and maximum number of updates of A and the level."""
MAX_A = 60.0
"""Maximum of A: for nearly silent clips it would grow without limit."""

_log_mel = LogMel(LogMelConfig.kaldi(mean=0.0, std=1.0))


@dataclass(frozen=True)
class Excerpts:
    """Clips of one length, each inside a longer source: waveforms at RATE, (n, P + S + P)."""

    source: Tensor

    def __len__(self) -> int:
        return len(self.source)

    @property
    def clean(self) -> Tensor:
        """The excerpts themselves, shape (n, S)."""
        return self.source[:, SPARE:-SPARE]

    @property
    def samples(self) -> int:
        """S."""
        return self.source.shape[1] - 2 * SPARE

    def batches(self, size: int) -> Iterator[Excerpts]:
        """`size` clips at a time, in order."""
        return map(Excerpts, self.source.split(size))


class Gathered(NamedTuple):
    """Excerpts of a set's clips, their rows in the manifest, (n,), and the unusable clips, with reasons."""

    excerpts: Excerpts
    rows: np.ndarray
    skipped: list[Skipped]


def gather(
    manifest: Manifest,
    *,
    clips: int,
    seconds: float,
    unusable: Sequence[Skipped] = (),
    progress: Callable[[int, int], object] = lambda done, total: None,
    remedy: str = "lower --seconds, raise --clips or give other clips",
) -> Gathered:
    """Cut the loudest excerpt of clips spread evenly over a set.

    Args:
        manifest: the set.
        clips: number of clips; all clips that are long enough if there are fewer.
        seconds: length of an excerpt; rounded to whole frames of 10 ms.
        unusable: clips that the manifest already excluded; they are listed with the others.
        progress: called with (clips read, clips in all).
        remedy: if there are too few clips, for the message.

    Raises:
        AaspError: too few clips are left.
    """
    frames = round(seconds * RATE / HOP)
    needed = (frames * HOP + 2 * SPARE) / RATE
    long_enough = manifest.seconds >= needed
    reason = f"{{:.3g}} s long, {needed:.2f} s are needed for {seconds:g} s and what is to spare"
    short = np.flatnonzero(~long_enough).tolist()
    skipped = [*unusable]
    skipped += [Skipped(describe(manifest.sound(row)), reason.format(manifest.seconds[row])) for row in short]
    eligible = np.flatnonzero(long_enough)
    spread = np.linspace(0, max(len(eligible) - 1, 0), min(clips, len(eligible))).round().astype(int)
    sources, rows = [], []
    for done, row in enumerate(eligible[spread].tolist(), start=1):
        sound = manifest.sound(row)
        try:
            sources.append(loudest(read_sound(sound, rate=RATE), frames))
            rows.append(row)
        except (AudioError, _Unusable) as error:
            skipped.append(Skipped(describe(sound), error.reason))
        progress(done, len(spread))
    if len(rows) < MIN_CLIPS:
        why = f"; of {len(skipped)} skipped the first is {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise AaspError(f"{manifest.source}: {len(rows)} usable clip(s), {MIN_CLIPS} or more are needed{why}; {remedy}")
    return Gathered(Excerpts(torch.from_numpy(np.stack(sources))), np.array(rows), skipped)


def groups_of(manifest: Manifest, rows: np.ndarray, marks: np.ndarray | None) -> np.ndarray | None:
    """The groups of the clips in some rows, (n,): their marks, or their files. Clips of one file are in one group.

    Args:
        manifest: the set.
        rows: from `gather`.
        marks: a group for each row of the set, or None.

    Returns:
        None if there are no marks and no file is repeated.
    """
    found = repeats([manifest.sound(int(row)) for row in rows])
    if marks is None and not found:
        return None
    return joined(rows.astype(str) if marks is None else marks[rows], found)


def loudest(wave: np.ndarray, frames: int) -> np.ndarray:
    """The `frames` frames with the most energy, with P samples on either side: P + S + P samples.

    Raises:
        _Unusable: the clip is too short, or silence.
    """
    count, spare = len(wave) // HOP, SPARE // HOP
    if count < frames + 2 * spare:
        raise _Unusable(f"decodes to {len(wave) / RATE:.3g} s, less than its index says")
    power = np.square(wave[: count * HOP], dtype=np.float64).reshape(count, HOP).sum(1)
    upto = np.concatenate([[0.0], np.cumsum(power)])
    within = (upto[frames:] - upto[:-frames])[spare : count - frames - spare + 1]
    first = int(within.argmax())
    excerpt = wave[first * HOP : (first + frames + 2 * spare) * HOP]
    above = audible(log_power(torch.from_numpy(excerpt)[None])).float().mean()
    if above < MIN_ABOVE_FLOOR:
        raise _Unusable(f"is silence: {100 * above:.2g} % of its log-mel lies above the floor")
    return excerpt


class _Unusable(Exception):
    """A clip that can't be used; its message is the reason."""

    @property
    def reason(self) -> str:
        return str(self)


def log_power(wave_BS: Tensor) -> Tensor:
    """Log-mel of natural-log power, shape (B, T, M)."""
    return _log_mel(wave_BS)[0]


def energy(clean_BTM: Tensor, moved_BTM: Tensor) -> Tensor:
    """E of each clip, shape (B,)."""
    return (moved_BTM - clean_BTM).square().sum((1, 2)) / audible(clean_BTM).sum((1, 2)).clamp_min(1)


def audible(clean_BTM: Tensor) -> Tensor:
    """Mask of values above the floor, shape (B, T, M)."""
    return clean_BTM > math.log(_log_mel.config.floor) + 1e-4


def to_decibel(energy_B: Tensor) -> Tensor:
    """Energies as rms decibels."""
    return DECIBEL * energy_B.sqrt()


def modulated(clean_BS: Tensor, pattern_BS: Tensor, decibel: float) -> Tensor:
    """Clips with the gain exp(A/2 · pattern - level/2), A and level such that the log-mel changes by `decibel` rms.

    The pattern is the desired change of the log power, up to a factor and a constant. The change is within TOLERANCE of
    E, unless STEPS are not enough (a clip at the floor): the caller must measure the result.
    """
    wanted = (decibel / DECIBEL) ** 2
    mel_BTM = log_power(clean_BS)
    above_BTM = audible(mel_BTM)
    bins_B = above_BTM.sum((1, 2)).clamp_min(1)
    A_B = (wanted / pattern_BS.var(1, correction=0)).sqrt()
    level_B = torch.zeros_like(A_B)
    made_BS = torch.empty_like(clean_BS)
    left = torch.arange(len(clean_BS))
    for _ in range(STEPS):
        swing = 0.5 * (A_B[left, None] * pattern_BS[left] - level_B[left, None])
        made_BS[left] = clean_BS[left] * swing.exp()
        moved = log_power(made_BS[left]) - mel_BTM[left]
        found = moved.square().sum((1, 2)) / bins_B[left]
        offset = (moved * above_BTM[left]).sum((1, 2)) / bins_B[left]
        off = ((found / wanted - 1).abs() > TOLERANCE) | (offset.square() > TOLERANCE * wanted)
        # E without the offset is nearly proportional to A².
        factor = (wanted / (found - offset.square()).clamp_min(1e-3 * wanted)).sqrt()
        A_B[left] = (A_B[left] * factor).clamp_max(MAX_A)
        level_B[left] += offset
        if not off.any():
            break
        left = left[off]
    return made_BS
