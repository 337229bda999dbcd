"""Streaming: audio is embedded as it arrives, each window as soon as it is complete.

Legend: B parallel sounds, S samples of a chunk, T frames, M mel bins, G time patches of a chunk, F subbands, D width.
Source: ours.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aasp.casting import finest
from aasp.errors import AaspError
from aasp.features.waves import as_waves, check_samples
from aasp.model.pooling import over_frequency
from aasp.model.timestamps import OverTime
from aasp.model.windows import window_starts

if TYPE_CHECKING:
    from aasp.model.audio_encoder import AudioEncoder

LOCAL = 1e-3
"""By how much a normalised frame may differ with the sound around it: rounding, and not another sound."""
LOUD = 1e5
"""The bang that the check of a front end begins with, over what follows: 100 dB."""


class EncoderStream:
    """Embeds one sound, or several in parallel, over time while it arrives.

    The outputs of `stream(chunk)` and `stream.end()`, one after the other, equal the encoder's vectors over time for
    the whole sound, with windows of `window` seconds that overlap by half; where two windows cover a time patch, their
    mean.

    Args:
        encoder: the model, in evaluation mode.
        window: seconds of a window, at most the model's window, which is the default. Vectors of
            shorter windows come sooner, and see less of the sound.

    Attributes:
        window: the same, in whole time patches.
        latency: maximum seconds from the start of a time patch until its vector is available. It is half a
            window less for the last patch that a window brings.

    Raises:
        AaspError: the window is longer than the model's, the front end's frames are no whole samples apart, or they
            depend on more of a sound than their own analysis windows, as where each clip is normalised by itself.
    """

    def __init__(self, encoder: AudioEncoder, window: float | None = None) -> None:
        config, front = encoder.config, encoder.config.frontend
        patch = encoder.stem.stride[0]
        patch_seconds = patch / front.frame_rate
        longest = config.window_patches * patch_seconds
        if window is not None and not 2 * patch_seconds - 1e-6 <= window <= longest + 1e-6:
            raise AaspError(f"stream: window is {window:g} s; give {2 * patch_seconds:g} to {longest:g} s")
        if abs(front.rate / front.frame_rate - round(front.rate / front.frame_rate)) > 1e-6:
            raise AaspError(f"stream: {front.rate} Hz in {front.frame_rate:g} frames; give a hop of whole samples")
        patches = config.window_patches if window is None else replace(config, window_seconds=window).window_patches
        self._encoder, self._config = encoder, front
        self._hop, self._patch, self._patches = round(front.rate / front.frame_rate), patch, patches
        # A front end of whole windows has a frame for good once its window is there; another, which adds zeros at the
        # ends, is given a window's samples more on either side.
        whole = front.samples(100) == 99 * self._hop + front.window
        self._spare = 0 if whole else front.window
        self.window = patches * patch_seconds
        self.latency = (front.samples(patches * patch) + self._spare) / front.rate
        self._wave: Tensor | None = None  # from sample `_dropped` on
        self._mel: Tensor | None = None  # from the next window's first frame on
        self._half: Tensor | None = None  # what the last window said of its second half
        self._dropped = self._frames = self._returned = self._windows_read = 0
        self._ended = False
        self._check_front_end()

    @torch.inference_mode()
    def __call__(self, chunk_BS: Tensor) -> OverTime:
        """Add samples and return the vectors available so far: none, or those of one or more half windows.

        Args:
            chunk_BS: waveforms that follow the last ones, in -1..1 at the front end's rate, of any floating type or
                int16, shape (B, S). Any number of samples, none too.

        Raises:
            AaspError: they are something else, of another number of sounds than before, or the stream has ended.
        """
        if self._ended:
            raise AaspError("stream: it has ended; begin another with encoder.stream()")
        wave = as_waves(chunk_BS)
        if self._wave is not None and len(wave) != len(self._wave):
            raise AaspError(f"stream: {len(wave)} sounds, {len(self._wave)} before; give the same in every chunk")
        if wave.shape[1]:
            check_samples(wave)
        here = self._encoder.encoder.class_token
        wave = wave.to(here.device, torch.promote_types(here.dtype, torch.float32))
        self._wave = wave if self._wave is None else torch.cat([self._wave, wave], dim=1)
        return self._out(self._windows(self._config.frames(max(0, self._samples - self._spare))))

    @torch.inference_mode()
    def end(self) -> OverTime:
        """The remaining vectors after the end of the sound; an incomplete last window is read as it is.

        Raises:
            AaspError: the sound was shorter than one analysis window, or the stream has ended before.
        """
        if self._ended:
            raise AaspError("stream: it has ended; begin another with encoder.stream()")
        frames = self._config.frames(self._samples)
        if frames == 0:
            text = f"stream: it ended after {1000 * self._samples / self._config.rate:.3g} ms"
            raise AaspError(f"{text}, shorter than one analysis window of {self._config.shortest_ms:g} ms")
        found = self._windows(frames)
        self._ended = True
        assert self._mel is not None
        half = self._patches // 2
        if self._windows_read == len(window_starts(ceil(frames / self._patch), self._patches)):
            assert self._half is not None
            found.append(self._half)
        else:
            vectors = self._read(self._mel)
            found += [vectors] if self._half is None else [(self._half + vectors[:, :half]) / 2, vectors[:, half:]]
        return self._out(found)

    @torch.inference_mode()
    def _check_front_end(self) -> None:
        """See, on a little noise after a bang, that frames are what they are wherever their sound begins and ends."""
        before, begun = ceil(self._spare / self._hop), 3
        frames = 8 + 2 * before
        samples = self._config.samples(frames + begun) + self._spare
        noise = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
        noise[:, : begun * self._hop] *= LOUD
        noise = noise.to(self._encoder.encoder.class_token.device)
        whole, _ = self._encoder.frontend(finest(noise))
        part, _ = self._encoder.frontend(finest(noise[:, begun * self._hop : -2 * self._hop]))
        inner = slice(before, frames - before - 2)
        if not torch.allclose(part[:, inner], whole[:, begun:][:, inner], rtol=0, atol=LOCAL):
            own = type(self._encoder.frontend).__name__
            text = f"front end {own}: its frames depend on more of the sound than their own windows"
            raise AaspError(f"stream: {text}; embed whole sounds, or give it fixed statistics")

    @property
    def _samples(self) -> int:
        """Samples so far, of each sound."""
        return 0 if self._wave is None else self._dropped + self._wave.shape[1]

    def _windows(self, frames: int) -> list[Tensor]:
        """The vectors of the first halves of complete windows within these frames; second halves are kept."""
        self._extend_mel(frames)
        found, length, half = [], self._patches * self._patch, self._patches // 2
        while self._mel is not None and self._mel.shape[1] >= length:
            vectors = self._read(self._mel[:, :length])
            self._windows_read += 1
            found.append(vectors[:, :half] if self._half is None else (self._half + vectors[:, :half]) / 2)
            self._half, self._mel = vectors[:, half:], self._mel[:, half * self._patch :]
        return found

    def _extend_mel(self, frames: int) -> None:
        """Frames up to so many, from the samples that are there; those that no later frame needs are let go."""
        if frames <= self._frames:
            return
        assert self._wave is not None
        before = ceil(self._spare / self._hop)
        first = max(0, self._frames - before)
        wave = self._wave[:, first * self._hop - self._dropped :]
        mel, _ = self._encoder.mel(wave)
        mel = mel[:, self._frames - first : frames - first]
        self._mel = mel if self._mel is None else torch.cat([self._mel, mel], dim=1)
        self._frames = frames
        let_go = max(0, frames - before) * self._hop
        self._wave, self._dropped = self._wave[:, let_go - self._dropped :].clone(), let_go

    def _read(self, mel_BTM: Tensor) -> Tensor:
        """Vectors over time (B, G, F * D) of one window."""
        tokens, _ = self._encoder.encode(self._encoder.stem.as_mel(mel_BTM))[-1]
        return over_frequency(tokens, self._encoder.stem.subbands, flat=True)

    def _out(self, found: list[Tensor]) -> OverTime:
        clips = 0 if self._wave is None else len(self._wave)
        width = self._encoder.stem.subbands * self._encoder.config.encoder.width
        vectors = torch.cat(found, dim=1) if found else torch.zeros(clips, 0, width)
        places = torch.arange(self._returned, self._returned + vectors.shape[1], device=vectors.device)
        self._returned += vectors.shape[1]
        valid = torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device)
        return OverTime(vectors, (places + 0.5) * self._patch / self._config.frame_rate, valid)
