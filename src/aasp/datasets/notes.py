"""Single notes of real sampled instruments, rendered offline from the SoundFont that `pretty_midi` ships.

TimGM6mb.sf2 has recordings of acoustic and electric instruments, mapped over the keyboard as General MIDI programs.
Programs that share a recording (such as "Violin" and "Viola") count as one source and are in the same split, so that no
recording occurs in two splits: `INSTRUMENTS` lists the splits, and a test checks them against the SoundFont.
Purely synthetic programs are left out, and with them NSynth's families synth_lead and vocal (all but one vocal program
share their recordings with synthetic ones). Labels are NSynth's: instrument family, and pitch as a MIDI key.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from aasp.errors import AaspError

RATE = 16_000
SECONDS, HELD = 2.5, 2.0
GAIN = 3.0  # the renderer leaves headroom for many notes: a single note peaks at 0.05 to 0.3
FADE = 0.02  # seconds; avoids a click if a note still sounds at the end


@dataclass(frozen=True)
class Instrument:
    """A General MIDI program (0-127), its NSynth family, its split and the keys of its natural range."""

    program: int
    name: str
    family: str
    split: str
    low: int
    high: int


INSTRUMENTS = tuple(
    Instrument(*row)
    for row in [
        (32, "acoustic bass", "bass", "train", 36, 60),
        (34, "picked bass", "bass", "train", 36, 60),
        (36, "slap bass 1", "bass", "train", 36, 60),
        (37, "slap bass 2", "bass", "valid", 36, 60),
        (33, "fingered bass", "bass", "test", 36, 60),
        (35, "fretless bass", "bass", "test", 36, 60),
        (57, "trombone", "brass", "train", 40, 72),
        (58, "tuba", "brass", "train", 36, 60),
        (59, "muted trumpet", "brass", "train", 52, 83),
        (60, "french horns", "brass", "train", 40, 77),
        (61, "brass section", "brass", "valid", 40, 83),
        (56, "trumpet", "brass", "test", 52, 83),
        (73, "flute", "flute", "train", 60, 83),
        (75, "pan flute", "flute", "train", 55, 83),
        (76, "blown bottle", "flute", "train", 48, 83),
        (78, "whistle", "flute", "train", 60, 78),
        (79, "ocarina", "flute", "train", 55, 83),
        (77, "shakuhachi", "flute", "valid", 55, 83),
        (72, "piccolo", "flute", "test", 60, 83),
        (74, "recorder", "flute", "test", 60, 83),
        (24, "nylon guitar", "guitar", "train", 40, 76),
        (25, "steel guitar", "guitar", "train", 40, 76),
        (29, "overdriven guitar", "guitar", "train", 40, 76),
        (30, "distorted guitar", "guitar", "train", 40, 76),
        (26, "jazz guitar", "guitar", "valid", 40, 76),
        (27, "clean guitar", "guitar", "test", 40, 76),
        (28, "muted guitar", "guitar", "test", 40, 76),
        (0, "grand piano", "keyboard", "train", 36, 83),
        (2, "electric grand", "keyboard", "train", 36, 83),
        (3, "honky-tonk piano", "keyboard", "train", 36, 83),
        (4, "electric piano 1", "keyboard", "train", 36, 83),
        (6, "harpsichord", "keyboard", "valid", 36, 83),
        (5, "electric piano 2", "keyboard", "test", 36, 83),
        (7, "clavinet", "keyboard", "test", 36, 76),
        (9, "glockenspiel", "mallet", "train", 60, 83),
        (10, "music box", "mallet", "train", 55, 83),
        (11, "vibraphone", "mallet", "train", 53, 83),
        (12, "marimba", "mallet", "train", 45, 83),
        (108, "kalimba", "mallet", "train", 52, 83),
        (114, "steel drum", "mallet", "train", 52, 83),
        (8, "celesta", "mallet", "valid", 60, 83),
        (13, "xylophone", "mallet", "test", 53, 83),
        (14, "tubular bells", "mallet", "test", 55, 79),
        (16, "drawbar organ", "organ", "train", 36, 83),
        (19, "church organ", "organ", "train", 36, 83),
        (20, "reed organ", "organ", "valid", 36, 83),
        (17, "percussive organ", "organ", "test", 36, 83),
        (18, "rock organ", "organ", "test", 36, 83),
        (64, "soprano sax", "reed", "train", 56, 83),
        (66, "tenor sax", "reed", "train", 44, 75),
        (69, "english horn", "reed", "train", 52, 81),
        (70, "bassoon", "reed", "train", 36, 72),
        (111, "shanai", "reed", "train", 55, 83),
        (67, "baritone sax", "reed", "valid", 36, 68),
        (65, "alto sax", "reed", "test", 65, 83),
        (68, "oboe", "reed", "test", 58, 83),
        (71, "clarinet", "reed", "test", 50, 83),
        (40, "violin", "string", "train", 55, 83),
        (41, "viola", "string", "train", 48, 83),
        (44, "tremolo strings", "string", "valid", 40, 83),
        (48, "string ensemble", "string", "valid", 40, 83),
        (42, "cello", "string", "test", 36, 76),
        (43, "contrabass", "string", "test", 36, 60),
    ]
)


def render(program: int, keys: Sequence[int], velocities: Sequence[int]) -> np.ndarray:
    """Render single notes, held for HELD seconds, without the renderer's reverberation and chorus.

    Args:
        program: General MIDI program, 0-127.
        keys: MIDI keys, 60 is C4.
        velocities: MIDI velocities, 1-127.

    Returns:
        float32, shape (notes, SECONDS * RATE), the SoundFont's levels times GAIN. A key outside the SoundFont's range
        is silent.

    Raises:
        AaspError: the packages that render are not installed.
    """
    assert len(keys) == len(velocities)
    _, midirenderer = _packages()
    encoded = midirenderer.render_wave_from(soundfont().read_bytes(), _midi(program, keys, velocities))
    stereo, rate = soundfile.read(io.BytesIO(encoded), dtype="float32", always_2d=True)
    played = soxr.resample(stereo.mean(axis=1), rate, RATE)
    samples = round(SECONDS * RATE)
    notes = np.zeros((len(keys), samples), dtype=np.float32)
    played = played[: notes.size]
    notes.reshape(-1)[: len(played)] = GAIN * played
    notes[:, -round(FADE * RATE) :] *= np.linspace(1, 0, round(FADE * RATE), dtype=np.float32)
    return np.clip(notes, -1, 1)


@functools.cache
def soundfont() -> Path:
    """The SoundFont file inside the installed `pretty_midi`.

    Raises:
        AaspError: the packages that render are not installed.
    """
    pretty_midi, _ = _packages()
    return Path(pretty_midi.__file__).with_name("TimGM6mb.sf2")


def _midi(program: int, keys: Sequence[int], velocities: Sequence[int]) -> bytes:
    """A MIDI file of one note every SECONDS; each is silenced before the next begins."""
    pretty_midi, _ = _packages()
    reverberation, chorus, all_sound_off = 91, 93, 120
    player = pretty_midi.Instrument(program)
    player.control_changes = [pretty_midi.ControlChange(effect, 0, 0.0) for effect in (reverberation, chorus)]
    for place, (key, velocity) in enumerate(zip(keys, velocities, strict=True)):
        start = place * SECONDS
        player.notes.append(pretty_midi.Note(velocity=int(velocity), pitch=int(key), start=start, end=start + HELD))
        player.control_changes.append(pretty_midi.ControlChange(all_sound_off, 0, start + SECONDS - 0.005))
    score = pretty_midi.PrettyMIDI()
    score.instruments.append(player)
    file = io.BytesIO()
    score.write(file)
    return file.getvalue()


def _packages():
    """(pretty_midi, midirenderer), or an error that says how to install them."""
    try:
        import midirenderer
        import pretty_midi
    except ImportError as error:
        raise AaspError(f"package missing: {error.name}; install it with `pip install 'aasp-audio[demo]'`") from None
    return pretty_midi, midirenderer
