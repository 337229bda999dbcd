"""Embeddings of recordings of any length: one vector each, and vectors over time.

A long recording is read in sections of a few minutes, so that a day of sound needs no more memory than a section (apart
from its vectors over time). A section begins one step of half a window before the patches that are used, so that every
window is the same as in the whole recording: only sums differ, by rounding. Vectors over time at a finer hop come from
the same section shifted by a fraction of a patch.

B clips, S samples, G time patches x F subbands, N = G * F tokens, D width, V the vector's width. Source: ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from aasp.audio.io import AudioError
from aasp.audio.priority import let_computing_first
from aasp.audio.sounds import Sound, describe, read_sound
from aasp.errors import AaspError
from aasp.evaluate.features import Running, Timestamps, encoded_batches, timestamps
from aasp.evaluate.prefetch import Refused, check
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.embeddings import Embedder, Embeddings
from aasp.model.pooling import over_frequency
from aasp.model.readout import Key
from aasp.model.timestamps import interleaved, over_time, shifts
from aasp.model.windows import window_starts
from aasp.training.precision import autocast, for_vectors

LONG_SECONDS = 600.0
SECTION = 64  # steps of half a window


@dataclass(frozen=True)
class VectorRequest:
    """The vectors requested for each sound.

    Attributes:
        keys: (layer, pooling) pairs, concatenated; None for the model's default vector.
        frames: also vectors over time, with their times.
        layers: layers of the vectors over time; the output if empty.
        hop: seconds between the vectors over time, for the output layer; a time patch if omitted.
    """

    keys: Sequence[Key] | None = None
    frames: bool = False
    layers: Sequence[int] = ()
    hop: float | None = None


ClipVectors = tuple[np.ndarray, Timestamps | None]


def vectors(
    encoder: Embedder, sounds: Sequence[Sound], refused: Refused, wanted: VectorRequest, running: Running
) -> Iterator[dict[int, ClipVectors]]:
    """By row, a sound's vector (V,) and, if requested, its vectors over time; some sounds at a time.

    Args:
        encoder: the model; evaluated on its own device.
        sounds: n files, channels of files, or waveforms.
        refused: called with a sound's row and why it can't be used; an exception it raises ends the iteration.
        wanted: the vectors requested for each sound.
        running: precision, batches and threads.

    Raises:
        AaspError: the model does not have what is requested.
    """
    front, depth = encoder.config.frontend, encoder.config.encoder.depth
    # Other front ends may look at all of a clip, and a centred one pads each section's ends.
    sectioned = encoder.longest == float("inf") and isinstance(front, LogMelConfig) and not front.centered
    whole = LONG_SECONDS if sectioned else encoder.longest
    casting = autocast(for_vectors(running.precision, encoder.config.whitened), encoder.device)
    layers = [layer - depth - 1 for layer in wanted.layers]
    for rows, found in encoded_batches(encoder, sounds, refused, _encoding(encoder, wanted), running, whole):
        if found is None:
            try:
                if not sectioned:
                    raise _too_long(encoder, sounds[rows[0]])
                with torch.inference_mode(), casting:
                    embeddings = _of_sections(encoder, sounds[rows[0]], wanted)
            except AudioError as error:
                refused(rows[0], error)
            else:
                yield {rows[0]: embeddings}
            continue
        embeddings_B, lengths_B = found
        clips, ends = embeddings_B.clip.cpu().numpy(), (lengths_B.double() / front.rate).tolist()
        over_time = timestamps(embeddings_B, ends, layers, encoder.subbands) if wanted.frames else [None] * len(rows)
        yield dict(zip(rows, zip(clips, over_time, strict=True), strict=True))


def _encoding(encoder: Embedder, wanted: VectorRequest) -> Callable[[Tensor, Tensor], tuple[Embeddings, Tensor]]:
    """A function from waveforms and lengths to embeddings and lengths."""
    if wanted.hop is not None:
        encode = _finely(encoder, wanted.hop, wanted.keys)
    else:
        every = any(layer < encoder.config.encoder.depth for layer in wanted.layers)
        encode = lambda wave, lengths: encoder(wave, lengths, layers=every, pooling=wanted.keys)
    return lambda wave, lengths: (encode(wave, lengths), lengths)


def _finely(encoder: Embedder, hop: float, keys: Sequence[Key] | None) -> Callable[[Tensor, Tensor], Embeddings]:
    """A function from waveforms and lengths to embeddings, with vectors over time at this hop.

    Raises:
        AaspError: the hop is not available, or the encoder is an exported one.
    """
    if not isinstance(encoder, AudioEncoder):
        text = f"hop {hop:g} s: an exported model gives one vector per time patch"
        raise AaspError(f"{text}; leave out hop, or use the model it was exported from")
    shifts(encoder, hop)  # checks the hop before anything is decoded

    def encode(wave: Tensor, lengths: Tensor) -> Embeddings:
        mel, frames = encoder.mel(wave, lengths)
        found = encoder.embed(mel, frames, pooling=keys)
        finer = over_time(encoder, mel, frames, hop, found)
        return replace(found, timestamps=finer.vectors, seconds=finer.seconds, valid=finer.valid)

    return encode


def _too_long(encoder: Embedder, sound: Sound) -> AudioError:
    text = f"longer than an exported model takes at once, {encoder.longest:.0f} s"
    return AudioError(describe(sound), text, "cut it, or use the model it was exported from")


def _of_sections(encoder: Embedder, sound: Sound, wanted: VectorRequest) -> ClipVectors:
    """A long recording's vectors."""
    config, subbands = encoder.config, encoder.subbands
    keys, depth = config.keys if wanted.keys is None else wanted.keys, config.encoder.depth
    every = any(layer < depth for layer in [*wanted.layers, *(layer for layer, _ in keys)])
    layers, by = [layer - depth - 1 for layer in wanted.layers], shifts(encoder, wanted.hop)
    moments = [Moments() for _ in keys]
    over_time: list[Tensor] = []
    end = 0.0
    for one in _sections(encoder, sound, by):
        end = one.end
        found = encoder(one.begun[0], layers=every)
        for moment, (layer, pooling) in zip(moments, keys, strict=True):
            stage = layer - depth - 1
            if pooling == "cls":
                _add_class_token(moment, encoder, one, found, stage)
            else:
                moment.add(
                    over_frequency(found.stages[stage][0], subbands, flat=pooling.startswith("flat"))[0, one.own]
                )
        if wanted.frames:
            parts = [found, *(encoder(wave) for wave in one.begun[1:])]
            ours = [torch.from_numpy(timestamps(part, [end], layers, subbands)[0].vectors[one.own]) for part in parts]
            over_time.append(interleaved([part[None] for part in ours], sum(map(len, ours)))[0])
    clip = torch.cat([moment.read(pooling) for moment, (_, pooling) in zip(moments, keys, strict=True)]).float()
    if wanted.keys is None and encoder.whitening is not None:
        clip = encoder.whitening(clip[None].to(encoder.device))[0]
    if not wanted.frames:
        return clip.cpu().numpy(), None
    made, patch = torch.cat(over_time).numpy(), config.stem.patch[0]
    seconds = (np.arange(len(made)) * (patch // len(by)) + patch / 2) / config.frontend.frame_rate
    return clip.cpu().numpy(), Timestamps(made, seconds.clip(max=end))


@dataclass(frozen=True)
class _Section:
    """Some minutes of a recording.

    Attributes:
        begun: its waveforms (1, S), shifted by the requested numbers of frames.
        own: the time patches to use: the others belong to the adjacent sections.
        end: end of the section, in seconds of the recording.
    """

    begun: list[Tensor]
    own: slice
    end: float


def _sections(encoder: Embedder, sound: Sound, by: Sequence[int]) -> Iterator[_Section]:
    """A recording in sections, each shifted by the numbers of frames in `by`.

    Section k uses the steps k SECTION to (k + 1) SECTION - 1, the last one also the remainder. It reads one more step
    on either side, so that the used steps are covered by the same windows as in the whole recording. The next section
    is decoded meanwhile.
    """
    front, patch, step = encoder.config.frontend, encoder.config.stem.patch[0], encoder.config.window_patches // 2
    hop = round(front.rate / front.frame_rate)

    def read(section: int) -> tuple[np.ndarray, int]:
        first, steps = (section * SECTION - 1, SECTION + 2) if section else (0, SECTION + 1)
        start, samples = first * step * patch * hop, front.samples(steps * step * patch + by[-1])
        wave = read_sound(sound, rate=front.rate, start=start / front.rate, seconds=samples / front.rate)
        check(wave, sound, front)
        return wave, start

    with ThreadPoolExecutor(1, "decoding", let_computing_first) as pool:
        section, following = 0, pool.submit(read, 0)
        while following is not None:
            (wave, start), before = following.result(), step if section else 0
            patches = before + (SECTION + 1) * step
            last = len(wave) < front.samples(patches * patch + by[-1])  # the recording ends in this section
            following = None if last else pool.submit(read, section + 1)  # type: ignore[assignment]
            section += 1
            wave_1S = torch.from_numpy(wave)[None].to(encoder.device)
            length = len(wave) if last else front.samples(patches * patch)
            begun = [wave_1S[:, shift * hop :][:, :length] for shift in by if len(wave) - shift * hop >= front.window]
            own = slice(before, None if last else patches - step)
            yield _Section(begun, own, (start + len(wave)) / front.rate)


def _add_class_token(moment: Moments, encoder: Embedder, one: _Section, found: Embeddings, stage: int) -> None:
    """Add a section's class token (the mean over its windows by duration) without the previous section's window."""
    columns, window = found.timestamps.shape[1], encoder.config.window_patches
    size = sum(min(window, columns - start) for start in window_starts(columns, window))
    moment.weigh(found.stages[stage][1][0], size)
    if one.own.start:
        context = encoder.config.frontend.samples(window * encoder.config.stem.patch[0])
        known = encoder(one.begun[0][:, :context], layers=True).stages[stage][1][0]
        moment.weigh(known, -min(window, columns))


class Moments:
    """Running mean and deviation of vectors, in float64 on the CPU."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = self._squares = torch.zeros(())

    def add(self, x_GD: Tensor) -> None:
        """Add some vectors."""
        x_GD = x_GD.cpu().double()
        self._count += len(x_GD)
        self._sum, self._squares = self._sum + x_GD.sum(0), self._squares + x_GD.square().sum(0)

    def weigh(self, x_D: Tensor, weight: int) -> None:
        """Add the mean of `weight` vectors, or remove it if the weight is negative."""
        self._count += weight
        self._sum = self._sum + weight * x_D.cpu().double()

    def read(self, pooling: str) -> Tensor:
        """The result of `aasp.model.pooling.pool` on all vectors, float64 (D,) or (2 D,)."""
        mean = self._sum / self._count
        if not pooling.endswith("std"):
            return mean
        deviation = (self._squares / self._count - mean.square()).clamp_min(1e-12).sqrt()
        return deviation if pooling == "std" else torch.cat([mean, deviation])
