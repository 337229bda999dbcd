"""An uploaded sound, decoded within limits: codecs are decoded in another process.

Only our own file with the request's body is opened; its name is ours, and appears in no response.
"""

from __future__ import annotations

from dataclasses import dataclass

from aasp.audio import decoder_process
from aasp.audio.channels import Channels, forget_cancelled
from aasp.audio.io import AudioError, probe
from aasp.audio.sounds import Recording, Samples, read_sound
from aasp.errors import AaspError
from aasp.evaluate.prefetch import check
from aasp.features import FrontEndConfig
from aasp.serve.limits import Limits, Refusal

NAME = "the sound"
MAX_RATE, MAX_CHANNELS = 48_000, 8
"""Limits for a sound of the maximum length: for a shorter one, their product may be larger in proportion."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """A waveform at the model's rate, its duration in the file, and a note about it, if any."""

    sound: Samples
    seconds: float
    warning: str | None


def decoded(path: str, channels: Channels, front: FrontEndConfig, limits: Limits, seconds: float) -> Decoded:
    """The waveform of a file, if an encoder accepts it.

    Args:
        path: the file.
        channels: how to mix or choose channels; "each" is refused for several.
        front: the model's front end.
        limits: limits on its length.
        seconds: maximum time for decoding.

    Raises:
        Refusal: 413 if there is too much sound, 422 if it is not usable, 503 if this machine can't decode now.
    """
    try:
        with decoder_process.within(seconds):
            info = probe(path)
            if info.seconds > limits.max_seconds:
                text = f"{info.seconds:.6g} s of sound, and {limits.max_seconds:g} s are the limit"
                raise Refusal(413, f"{text}; send a part, or use `aasp embed`")
            samples, most = info.frames * info.channels, limits.max_seconds * MAX_RATE * MAX_CHANNELS
            if samples > most:
                text = f"{samples:,} samples in {info.channels} channels at {info.rate:,} Hz"
                raise Refusal(413, f"{text}, and {most:,.0f} are the limit; send a part, or fewer channels")
            if channels == "each":
                if info.channels > 1:
                    text = f"channels=each: an answer covers one channel, and {NAME} has {info.channels}"
                    raise Refusal(422, f"{text}; give channels=mean, first, loudest or a number (1, 2, …)")
                channels = "first"
            wave = read_sound(Recording(path, channels), rate=front.rate)
        check(wave, path, front)
    except AudioError as error:
        raise Refusal(422, f"{NAME}: {error.reason}; {error.remedy}".replace(path, NAME)) from None
    except Refusal:
        raise
    except AaspError as error:
        raise Refusal(503, str(error).replace(path, NAME)) from None
    finally:
        fallen = forget_cancelled(path)
    warning = None
    if fallen is not None:
        warning = "its channels cancel in their mean; give channels=first, loudest or a number"
    return Decoded(Samples(NAME, wave, front.rate), info.seconds, warning)
