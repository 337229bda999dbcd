"""Uncompressed files, FLAC and Vorbis, through libsndfile: the fastest way to read a window."""

from __future__ import annotations

import numpy as np
import soundfile

from aasp.audio import flac
from aasp.audio.error import RAW, AudioError, quoted, salvage

_VORBIS_BLOCK = 8192  # samples of its longest block
_UNKNOWN_FRAMES = 2**62  # libsndfile's value when a FLAC encoder wrote to a pipe


class Sndfile:
    """An open file, as in `aasp.audio.formats.Track`.

    Args:
        path: the file.
        missing: reason and remedy, if the file is known to be incomplete.
        look: the header's length is trusted whatever follows: check that the last promised sample is there.
        before_last: end of the page before the last of a Vorbis file, in samples. Into the last page libsndfile (1.2.2)
            seeks some hundred samples too far, because its end position is that of the sound, which ends within a
            block; so windows in it are decoded from before it.

    Raises:
        AudioError: libsndfile can't read it.
    """

    def __init__(
        self,
        path: str,
        missing: tuple[str, str] | None = None,
        *,
        look: bool = False,
        before_last: int | None = None,
    ) -> None:
        try:
            self._sound = soundfile.SoundFile(path)
        except soundfile.LibsndfileError as error:
            raise AudioError(path, *_why_unopened(path, error.error_string, missing)) from None
        self._path, self._missing, self._look, self._before_last = path, missing, look, before_last
        self.rate = self.stated_rate = self._sound.samplerate
        self.channels, self.frames = self._sound.channels, self._sound.frames

    @property
    def knows_its_length(self) -> bool:
        return self.frames < _UNKNOWN_FRAMES

    def decode(self, begin: int, end: int) -> np.ndarray:
        try:
            if self._sound.seekable():
                first = begin if self._before_last is None else min(begin, max(0, self._before_last - _VORBIS_BLOCK))
                self._sound.seek(first)
                frames_FC = self._sound.read(end - first, dtype="float32", always_2d=True)[begin - first :]
            else:  # G.721 and the like, in which each sample depends on those before it
                with soundfile.SoundFile(self._path) as sound:
                    frames_FC = sound.read(end, dtype="float32", always_2d=True)[begin:]
        except (soundfile.LibsndfileError, ValueError, MemoryError) as error:
            why = getattr(error, "error_string", "its header promises too much").rstrip(".")
            reason = f"truncated or damaged before {end / self.rate:g} s ({why})"
            raise AudioError(self._path, reason, salvage(self._path)) from None
        if len(frames_FC) < end - begin:
            ends, promised = (begin + len(frames_FC)) / self.rate, self.frames / self.rate
            reason = f"truncated: nothing after {ends:g} s of the {promised:g} s promised"
            raise AudioError(self._path, reason, salvage(self._path))
        return frames_FC

    def check_whole(self) -> None:
        if self._missing is not None:
            raise AudioError(self._path, *self._missing)
        if not self._look or self.frames <= 0:
            return
        try:
            self.decode(self.frames - 1, self.frames)
        except AudioError as error:
            if not self._begins():
                raise AudioError(self._path, error.reason, "fetch it again: no sound is left in it") from None
            raise
        with open(self._path, "rb") as file:
            if what := flac.what_follows(file, self.frames):
                reason = f"{what} follows the {self.frames / self.rate:g} s that its header counts"
                raise AudioError(self._path, reason, f"keep all of it: ffmpeg -i {quoted(self._path)} kept.wav")

    def _begins(self) -> bool:
        """Whether a first sample can be decoded: by another handle, since a failed seek leaves one unusable."""
        try:
            with soundfile.SoundFile(self._path) as sound:
                return len(sound.read(1)) > 0
        except soundfile.LibsndfileError:
            return False

    def close(self) -> None:
        self._sound.close()


def _why_unopened(path: str, message: str, missing: tuple[str, str] | None) -> tuple[str, str]:
    """Reason and remedy for libsndfile's message."""
    if missing is not None:
        return missing
    if "incomplete" in message or "Channel count is zero" in message:
        return "its header states 0 Hz or no channels", RAW
    return f"truncated or damaged ({message.rstrip('.')})", salvage(path)
