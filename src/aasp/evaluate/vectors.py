"""What the model says of sounds, as numbers: one vector each, and those over time; recordings of any length.

A long recording is read in sections of a few minutes, so that a day of sound takes no more memory than they do (but for
its vectors over time). A section begins one step of half a window before what is taken of it, so that every window is
the same as if the whole had been there: only sums differ, by rounding.

B clips, S samples, G time patches x F subbands, N = G * F tokens, D width, V the vector's width. Source: ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aasp.audio.io import AudioError
from aasp.audio.priority import let_computing_first
from aasp.audio.sounds import Sound, read_sound
from aasp.evaluate.ahead import Refused
from aasp.evaluate.features import Running, Timestamps, finely, heard, timestamps
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.embeddings import Embeddings
from aasp.model.pooling import over_frequency
from aasp.model.readout import Key
from aasp.model.windows import window_starts
from aasp.training.precision import autocast

LONG_SECONDS = 600.0
SECTION = 64  # steps of half a window


@dataclass(frozen=True)
class Wanted:
    """What of each sound.

    Attributes:
        keys: (layer, pooling) pairs, side by side; None for the model's own vector.
        frames: the vectors over time too, and their times.
        layers: whose vectors these are; the output's where there are none.
        hop: seconds between them, of the output's; a time patch where left out.
    """

    keys: Sequence[Key] | None = None
    frames: bool = False
    layers: Sequence[int] = ()
    hop: float | None = None


Said = tuple[np.ndarray, Timestamps | None]


def vectors(
    encoder: AudioEncoder, sounds: Sequence[Sound], refused: Refused, wanted: Wanted, running: Running
) -> Iterator[dict[int, Said]]:
    """By row, a sound's vector (V,), and its vectors over time where they are wanted: some sounds at a time.

    Args:
        encoder: the model; evaluated on its own device.
        sounds: n files, channels of files, or waveforms.
        refused: called with a sound's row and why it can't be used; what it raises ends the whole.
        wanted: what of each.
        running: precision, batches and threads.
    """
    device, subbands = next(encoder.parameters()).device, encoder.config.frontend.bins // encoder.config.stem.patch[1]
    # Other front ends may look at all of a clip.
    ours = isinstance(encoder, AudioEncoder) and isinstance(encoder.config.frontend, LogMelConfig)
    in_sections = ours and wanted.hop is None
    whole = LONG_SECONDS if in_sections else float("inf")
    casting = autocast(running.precision, device)
    for rows, found in heard(encoder, sounds, refused, _hearing(encoder, wanted), running, whole):
        if found is None:
            try:
                with torch.inference_mode(), casting:
                    said = _of_sections(encoder, sounds[rows[0]], wanted, device)
            except AudioError as error:
                refused(rows[0], error)
            else:
                yield {rows[0]: said}
            continue
        clips = found.clip.cpu().numpy()
        over_time = timestamps(found, wanted.layers, subbands) if wanted.frames else [None] * len(rows)
        yield dict(zip(rows, zip(clips, over_time, strict=True), strict=True))


def _hearing(encoder: AudioEncoder, wanted: Wanted) -> Callable[[Tensor, Tensor], Embeddings]:
    """What becomes of waveforms and their lengths."""
    if wanted.hop is not None:
        return finely(encoder, wanted.hop, pooling=wanted.keys)
    return lambda wave, lengths: encoder(wave, lengths, layers=bool(wanted.layers), pooling=wanted.keys)


def _of_sections(encoder: AudioEncoder, sound: Sound, wanted: Wanted, device: torch.device) -> Said:
    """A long recording's vectors."""
    keys = encoder.config.keys if wanted.keys is None else wanted.keys
    depth, subbands = encoder.config.encoder.depth, encoder.stem.subbands
    every = bool(wanted.layers) or min(layer for layer, _ in keys) < depth
    moments = [Moments() for _ in keys]
    over_time: list[np.ndarray] = []
    patches = 0
    for mel_1TM, own in _sections(encoder, sound, device):
        found = encoder.embed(mel_1TM, layers=every)
        for moment, (layer, pooling) in zip(moments, keys, strict=True):
            tokens, cls = found.stages[layer - depth - 1]
            if pooling == "cls":
                _add_class_token(moment, encoder, mel_1TM, cls[0], layer - depth - 1, own.start or 0)
            else:
                moment.add(over_frequency(tokens, subbands, flat=pooling.startswith("flat"))[0, own])
        one = timestamps(found, wanted.layers, subbands)[0] if wanted.frames else None
        patches += len(found.seconds[own])
        if one is not None:
            over_time.append(one.vectors[own])
    clip = torch.cat([moment.read(pooling) for moment, (_, pooling) in zip(moments, keys, strict=True)]).float()
    if wanted.keys is None and encoder.whitening is not None:
        clip = encoder.whitening(clip[None].to(device))[0]
    seconds = (np.arange(patches) + 0.5) * encoder.stem.stride[0] / encoder.config.frontend.frame_rate
    return clip.cpu().numpy(), Timestamps(np.concatenate(over_time), seconds) if wanted.frames else None


def _sections(encoder: AudioEncoder, sound: Sound, device: torch.device) -> Iterator[tuple[Tensor, slice]]:
    """Normalised log-mels (1, T, M), and which of their time patches to take: others are in the sections beside.

    Section k takes the steps k SECTION to (k + 1) SECTION - 1, and what is left at the end. It hears a step more on
    either side: what is taken is then covered by the windows that cover it in the whole. The next section is decoded
    meanwhile.
    """
    front, patch, step = encoder.config.frontend, encoder.stem.stride[0], encoder.config.window_patches // 2
    hop = front.samples(2) - front.samples(1)

    def read(section: int) -> np.ndarray:
        first, steps = (section * SECTION - 1, SECTION + 2) if section else (0, SECTION + 1)
        start, samples = first * step * patch * hop, front.samples(steps * step * patch)
        return read_sound(sound, rate=front.rate, start=start / front.rate, seconds=samples / front.rate)

    with ThreadPoolExecutor(1, "decoding", let_computing_first) as pool:
        section, following = 0, pool.submit(read, 0)
        while following is not None:
            wave, before = following.result(), step if section else 0
            patches = before + (SECTION + 1) * step
            last = len(wave) < front.samples(patches * patch)  # the recording ends in this section
            following = None if last else pool.submit(read, section + 1)  # type: ignore[assignment]
            section += 1
            mel_1TM = encoder.mel(torch.from_numpy(wave)[None].to(device))[0]
            yield mel_1TM, slice(before, None if last else patches - step)


def _add_class_token(
    moment: Moments, encoder: AudioEncoder, mel_1TM: Tensor, cls_D: Tensor, stage: int, before: int
) -> None:
    """Take in a section's class token, the mean of its windows' by duration, but for the window of the one before."""
    columns, window = encoder.stem.grid(mel_1TM.shape[1])[0], encoder.config.window_patches
    moment.weigh(cls_D, sum(min(window, columns - start) for start in window_starts(columns, window)))
    if before:
        known = encoder.embed(mel_1TM[:, : window * encoder.stem.stride[0]], layers=True).stages[stage][1][0]
        moment.weigh(known, -min(window, columns))


class Moments:
    """Mean and deviation of vectors that come a few at a time, in float64 on the processor."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = self._squares = torch.zeros(())

    def add(self, x_GD: Tensor) -> None:
        """Take in some vectors."""
        x_GD = x_GD.cpu().double()
        self._count += len(x_GD)
        self._sum, self._squares = self._sum + x_GD.sum(0), self._squares + x_GD.square().sum(0)

    def weigh(self, x_D: Tensor, weight: int) -> None:
        """Take in the mean of so many vectors, or take it out again where the weight is negative."""
        self._count += weight
        self._sum = self._sum + weight * x_D.cpu().double()

    def read(self, pooling: str) -> Tensor:
        """What `aasp.model.pooling.pool` makes of them, float64 (D,) or (2 D,)."""
        mean = self._sum / self._count
        if not pooling.endswith("std"):
            return mean
        deviation = (self._squares / self._count - mean.square()).clamp_min(1e-12).sqrt()
        return deviation if pooling == "std" else torch.cat([mean, deviation])
