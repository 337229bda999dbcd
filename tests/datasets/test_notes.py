"""The notes sound, at their pitch, and no recording of the SoundFont is in two splits."""

from __future__ import annotations

import itertools
import struct
from collections import Counter, defaultdict

import numpy as np
import pytest

from aasp.datasets.notes import INSTRUMENTS, RATE, SECONDS, render, soundfont
from aasp.errors import AaspError

pytest.importorskip("midirenderer")


def recordings() -> dict[int, set[tuple[int, int]]]:
    """(start, end) of every recording that each General MIDI program of bank 0 can play.

    SoundFont 2.04, section 7: presets (phdr) own bags (pbag) of generators (pgen), of which 41 names an instrument;
    instruments (inst) own bags (ibag) of generators (igen), of which 53 names a sample (shdr). Records end with a
    terminal one.
    """
    data = soundfont().read_bytes()
    tables = {}
    for kind, start, end in riff(data, 12, len(data)):
        if kind == b"LIST" and data[start : start + 4] == b"pdta":
            tables = {name.decode(): data[a:b] for name, a, b in riff(data, start + 4, end)}
    read = lambda name, layout: list(struct.iter_unpack(layout, tables[name]))
    presets, preset_bags, preset_generators = read("phdr", "<20sHHHIII"), read("pbag", "<HH"), read("pgen", "<HH")
    instruments, bags, generators = read("inst", "<20sH"), read("ibag", "<HH"), read("igen", "<HH")
    samples = read("shdr", "<20sIIIIIBbHH")

    def named(bag_from, bag_to, of_bags, of_generators, kind):
        places = range(of_bags[bag_from][0], of_bags[bag_to][0])
        return {of_generators[g][1] for g in places if of_generators[g][0] == kind}

    played = {}
    for preset, following in itertools.pairwise(presets):
        if preset[2] == 0:
            used = named(preset[3], following[3], preset_bags, preset_generators, 41)
            zones = [named(instruments[i][1], instruments[i + 1][1], bags, generators, 53) for i in used]
            played[preset[1]] = {samples[s][1:3] for s in set().union(*zones)}
    return played


def riff(data: bytes, start: int, end: int):
    while start < end:
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        yield data[start : start + 4], start + 8, start + 8 + size
        start += 8 + size + size % 2


def test_no_recording_is_in_two_splits():
    played = recordings()
    splits = defaultdict(set)
    for instrument in INSTRUMENTS:
        assert played[instrument.program], instrument
        for start, end in played[instrument.program]:
            splits[start, end].add(instrument.split)
    assert len(splits) > 200
    shared = {place: found for place, found in splits.items() if len(found) > 1}
    assert not shared
    # Nor a part of a recording: in the order of their starts, each ends before the next of another split begins.
    ordered = sorted((place, *found) for place, found in splits.items())
    for ((_, end), split), ((start, _), other) in itertools.pairwise(ordered):
        assert split == other or end <= start


def test_the_check_sees_shared_recordings():
    played = recordings()
    assert played[40] == played[41], "violin and viola are one source"
    assert not played[40] & played[73]


def test_every_family_is_in_every_split():
    families = {instrument.family for instrument in INSTRUMENTS}
    assert len(families) == 9
    for split in ("train", "valid", "test"):
        assert {i.family for i in INSTRUMENTS if i.split == split} == families
    assert max(Counter(i.program for i in INSTRUMENTS).values()) == 1


def test_notes_sound_at_their_pitch():
    keys = [60, 69, 76]
    notes = render(73, keys, [100] * 3)
    assert notes.shape == (3, round(SECONDS * RATE)) and notes.dtype == np.float32
    for key, note in zip(keys, notes, strict=True):
        spectrum = np.abs(np.fft.rfft(note[8000:24000] * np.hanning(16000)))
        expected = 440 * 2 ** ((key - 69) / 12)
        partials = [spectrum[int(k * expected * 0.98) : int(k * expected * 1.02) + 2].max() for k in (1, 2, 3)]
        assert max(partials) == pytest.approx(spectrum.max())


def test_notes_are_alone():
    """A note does not depend on the one before it, to the renderer's millisecond; it ends in silence."""
    after_another = render(10, [60, 72], [127, 50])[1]
    alone = render(10, [72], [50])[0]
    one, other = np.abs(np.fft.rfft(alone)), np.abs(np.fft.rfft(after_another))
    assert np.linalg.norm(one - other) < 0.05 * np.linalg.norm(one)
    key_60 = round(262 * SECONDS)
    assert other[key_60 - 15 : key_60 + 15].max() < 0.02 * other.max()
    assert alone[-1] == after_another[-1] == 0


def test_velocity_changes_the_level():
    soft, hard = render(0, [60, 60], [50, 127])
    assert np.abs(hard).max() > 3 * np.abs(soft).max()


def test_without_the_renderer(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "midirenderer", None)
    with pytest.raises(AaspError, match=r"midirenderer; install it with `pip install 'aasp-audio\[demo\]'`"):
        render(0, [60], [100])
