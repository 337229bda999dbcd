"""A sound that was sent, decoded within limits: in another process where a codec has to decode it.

What is opened is a file of ours that holds the request's body; its name is ours, and in no answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from aasp.audio import apart
from aasp.audio.channels import Channels, forget_cancelled
from aasp.audio.io import AudioError, probe
from aasp.audio.sounds import Recording, Samples, read_sound
from aasp.errors import AaspError
from aasp.evaluate.ahead import check
from aasp.features import FrontEndConfig
from aasp.serve.limits import Limits, Refusal

NAME = "the sound"
MOST_RATE, MOST_CHANNELS = 48_000, 8
"""Of a sound as long as is allowed: of a shorter one the product may be larger by as much."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """A waveform at the model's rate, its seconds in the file, and what to know of it, if anything."""

    sound: Samples
    seconds: float
    warning: str | None


def decoded(path: str, channels: Channels, front: FrontEndConfig, limits: Limits, seconds: float) -> Decoded:
    """A file's waveform, if an encoder would take it.

    Args:
        path: the file.
        channels: what becomes of several.
        front: of the model.
        limits: on its length.
        seconds: how long it may take.

    Raises:
        Refusal: 413 where it is too much sound, 422 where it can't be used, 503 where this machine can't decode now.
    """
    try:
        with apart.within(seconds):
            info = probe(path)
            if info.seconds > limits.max_seconds:
                text = f"{info.seconds:.6g} s of sound, and {limits.max_seconds:g} s are the limit"
                raise Refusal(413, f"{text}; send a part, or use `aasp embed`")
            samples, most = info.frames * info.channels, limits.max_seconds * MOST_RATE * MOST_CHANNELS
            if samples > most:
                text = f"{samples:,} samples in {info.channels} channels at {info.rate:,} Hz"
                raise Refusal(413, f"{text}, and {most:,.0f} are the limit; send a part, or fewer channels")
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
