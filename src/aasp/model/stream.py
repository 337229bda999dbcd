"""Streaming: audio is embedded as it arrives, each window as soon as it is complete.

Legend: B parallel streams, S samples of a chunk, T frames, M mel bins, G time patches of a chunk, F subbands, D width.
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
"""Largest difference of a normalised frame when the audio around it changes: allows for rounding only."""
LOUD = 1e5
"""Level of the burst at the start of a front end's check, relative to the rest: 100 dB."""


class EncoderStream:
    """Embeds one recording, or several in parallel, over time while it arrives.

    The concatenated outputs of `stream(chunk)` and `stream.end()` equal the encoder's vectors over time for the whole
    recording, with windows of `window` seconds that overlap by half; where two windows cover a time patch, their mean.

    Args:
        encoder: the model, in evaluation mode.
        window: length of a window in seconds, at most the model's window, which is the default. Vectors of shorter
            windows are available sooner, with less context.

    Attributes:
        window: the same, rounded to whole time patches.
        latency: largest time in seconds from the start of a time patch until its vector is available. It is half a
            window less for the last patch that a window completes.

    Raises:
        AaspError: the window is longer than the model's, the front end's hop is not a whole number of samples, or its
            frames depend on more than their own analysis windows, for example on statistics of the clip.
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
        # A front end of whole windows has the final value of a frame once its window is complete; one that pads the
        # ends with zeros gets the samples of one more window on each side.
        whole = front.samples(100) == 99 * self._hop + front.window
        self._spare = 0 if whole else front.window
        self.window = patches * patch_seconds
        self.latency = (front.samples(patches * patch) + self._spare) / front.rate
        self._wave: Tensor | None = None  # starts at sample `_dropped`
        self._mel: Tensor | None = None  # starts at the next window's first frame
        self._half: Tensor | None = None  # vectors of the last window's second half
        self._dropped = self._frames = self._returned = self._windows_read = 0
        self._ended = False
        self._check_front_end()

    @torch.inference_mode()
    def __call__(self, chunk_BS: Tensor) -> OverTime:
        """Add samples and return the vectors that are now complete: none, or those of one or more half windows.

        Args:
            chunk_BS: waveforms that follow the previous ones, in -1..1 at the front end's rate, of any floating type or
                int16, shape (B, S), with any number of samples, also 0.

        Raises:
            AaspError: they are not such waveforms, B differs from previous chunks, or the stream has ended.
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
        """End the stream and return the remaining vectors; an incomplete last window is encoded at its own length.

        Raises:
            AaspError: the recording was shorter than one analysis window, or the stream has already ended.
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
        half, columns = self._patches // 2, self._encoder.stem.grid(frames)[0]
        if self._windows_read == len(window_starts(columns, self._patches)):
            assert self._half is not None
            found.append(self._half)
        else:
            vectors = self._read(self._mel[:, : (columns - self._windows_read * half) * self._patch])
            found += [vectors] if self._half is None else [(self._half + vectors[:, :half]) / 2, vectors[:, half:]]
        return self._out(found)

    @torch.inference_mode()
    def _check_front_end(self) -> None:
        """Check, on some noise after a loud burst, that frames do not depend on where a recording starts and ends."""
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
        """Samples of each stream so far."""
        return 0 if self._wave is None else self._dropped + self._wave.shape[1]

    def _windows(self, frames: int) -> list[Tensor]:
        """Vectors of the first halves of complete windows within `frames` frames; the last second half is stored."""
        self._extend_mel(frames)
        found, length, half = [], self._patches * self._patch, self._patches // 2
        while self._mel is not None and self._mel.shape[1] >= length:
            vectors = self._read(self._mel[:, :length])
            self._windows_read += 1
            found.append(vectors[:, :half] if self._half is None else (self._half + vectors[:, :half]) / 2)
            self._half, self._mel = vectors[:, half:], self._mel[:, half * self._patch :]
        return found

    def _extend_mel(self, frames: int) -> None:
        """Compute frames up to `frames` from the available samples; samples that no later frame needs are dropped."""
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
        vectors = torch.cat(found, dim=1) if found else torch.zeros(clips, 0, width, device=self._encoder.device)
        places = torch.arange(self._returned, self._returned + vectors.shape[1], device=vectors.device)
        self._returned += vectors.shape[1]
        valid = torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device)
        return OverTime(vectors, (places + 0.5) * self._patch / self._config.frame_rate, valid)
