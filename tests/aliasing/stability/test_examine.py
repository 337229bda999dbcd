"""The whole examination on encoders whose behaviour is known: one that aliases, one that averages, a constant one."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

import hostile
from aasp.aliasing import report
from aasp.aliasing.stability import document as stability
from aasp.aliasing.stability.document import PLAYED, examine, nyquist, write_sounds
from aasp.aliasing.stability.excerpts import HOP, Excerpts
from aasp.aliasing.stability.measure import MEASURES
from aasp.aliasing.stability.page import answer, section
from aasp.encoders import EncoderAdapter, EncoderEmbeddings
from aasp.errors import AaspError
from aasp.features.logmel import LogMel, LogMelConfig
from browser import look
from pages import parts

SPARE, FRAMES, CLIPS = 16, 130, 16


class Patches(EncoderAdapter):
    """Log-mel patches of 16 frames, each represented by one of its frames ("aliases") or by its mean ("averages")."""

    rate, token_rate = 16_000, 6.25

    def __init__(self, name: str) -> None:
        self.name, self.frontend = name, LogMel(LogMelConfig.kaldi())

    def embed_waveform(self, wave_BS: Tensor) -> EncoderEmbeddings:
        mel = self.frontend(wave_BS)[0]
        patches = mel[:, : mel.shape[1] // 16 * 16].unflatten(1, (-1, 16))
        tokens = patches[:, :, 8] if self.name == "aliases" else patches.mean(2)
        if self.name == "deaf":
            tokens = tokens.mean(1, keepdim=True).expand_as(tokens).round()
        # The deviation over time is what a modulation moves: a mean alone would not show it.
        clip = torch.cat([tokens.mean(1), tokens.std(1)], 1)
        return EncoderEmbeddings(clip, tokens, 0.08 + 0.16 * torch.arange(tokens.shape[1]))


@pytest.fixture(scope="module")
def clips() -> Excerpts:
    """Noises of different colours and slowly changing loudness."""
    rng, samples = np.random.default_rng(0), (FRAMES + 2 * SPARE) * HOP
    spectrum = np.fft.rfft(rng.standard_normal((CLIPS, samples)))
    tilt = rng.uniform(-1, 1, (CLIPS, 1)) * np.log(1 + np.arange(spectrum.shape[1]))
    wave = np.fft.irfft(spectrum * np.exp(tilt), n=samples)
    swing = np.sin(2 * np.pi * rng.uniform(0.5, 2, (CLIPS, 1)) * np.arange(samples) / 16_000)
    wave *= np.exp(rng.uniform(0, 1, (CLIPS, 1)) * swing)
    wave *= 0.1 / wave.std(1, keepdims=True)
    return Excerpts(torch.from_numpy(wave.astype(np.float32)))


LABELS = np.array(["hiss", "rumble"] * (CLIPS // 2))


@pytest.fixture(scope="module")
def found(clips: Excerpts, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    adapters = [Patches(name) for name in ("aliases", "averages", "deaf")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stability, "RESAMPLES", 200)
        patch.setattr(stability, "QUICK", 50)
        document = examine(adapters, clips, labels=LABELS, groups=np.arange(CLIPS) // 2)
    folder = tmp_path_factory.mktemp("stability")
    document["sounds"] = write_sounds(folder / "sounds", clips, document)
    document |= {"source": "noises", "label": "colour", "group": None, "skipped": [], "command": "", "software": ""}
    (folder / "stability.json").write_text(json.dumps(document, allow_nan=False))
    return json.loads((folder / "stability.json").read_text()), folder


def test_an_aliasing_encoder_is_moved_and_an_averaging_one_is_not(found: tuple[dict[str, Any], Path]) -> None:
    aliases, averages, _ = (model["families"]["fast AM"] for model in found[0]["models"])
    assert averages["ratio"]["high"] < 0.7
    assert aliases["ratio"]["low"] > averages["ratio"]["high"]
    assert averages["excess"]["high"] < 0 < aliases["distance"]["low"]
    lead = found[0]["leads"][0]
    assert (lead["model"], lead["minus"]) == ("aliases", "averages")
    assert lead["families"]["fast AM"]["ratio"]["low"] > 0


def test_a_slow_modulation_is_like_the_control(found: tuple[dict[str, Any], Path]) -> None:
    for model in found[0]["models"][:2]:
        slow = model["families"]["slow AM"]["ratio"]
        assert 0.7 < slow["estimate"] < 1.4


def test_a_constant_encoder_is_stable_and_reads_no_rate(found: tuple[dict[str, Any], Path]) -> None:
    deaf = found[0]["models"][2]
    assert deaf["families"]["fast AM"]["cosine"]["estimate"] > 0.98
    for how in ("alone", "compared"):
        assert deaf["reading"][how]["estimate"] < 1 / 8 + 0.03
        assert found[0]["log_mel"][how]["low"] > deaf["reading"][how]["high"]


def test_every_row_is_there_with_all_its_numbers(found: tuple[dict[str, Any], Path]) -> None:
    document = found[0]
    keys = [row["key"] for row in document["rows"]]
    for model in document["models"]:
        assert list(model["rows"]) == keys
        for row in document["rows"]:
            measures = model["rows"][row["key"]]
            names = {*MEASURES, "alignment", "flips"}
            if row["family"] != "control":
                names |= {"control_cosine", "control_distance", "control_timestamps_distance"}
                names |= {"excess", "timestamps_excess"}
            assert set(measures) == names
            assert measures["distance"]["low"] <= measures["distance"]["estimate"] <= measures["distance"]["high"]
            assert len(model["clipwise"][row["key"]]["distance"]) == CLIPS
    am = next(row for row in document["rows"] if row["key"] == "AM 9 Hz")
    assert am["off_target"] < 0.01 and am["decibel"]["estimate"] == pytest.approx(3, rel=0.005)
    assert (am["kind"], am["settings"]) == ("AmplitudeModulation", {"rate_hz": 9.0, "decibel": 3.0})


def test_excess_is_the_mean_of_paired_differences(found: tuple[dict[str, Any], Path]) -> None:
    model = found[0]["models"][0]
    for key in ("shift 8", "AM 26 Hz"):
        each = model["clipwise"][key]
        pairs = [(d, c) for d, c in zip(each["distance"], each["control_distance"], strict=True) if c is not None]
        assert model["rows"][key]["excess"]["estimate"] == pytest.approx(np.mean([d - c for d, c in pairs]), abs=1e-3)
    keys = [row["key"] for row in found[0]["rows"] if row["family"] == "fast AM"]
    total = {name: np.sum([model["clipwise"][key][name] for key in keys]) for name in ("distance", "control_distance")}
    ratio = model["families"]["fast AM"]["ratio"]["estimate"]
    assert ratio == pytest.approx(total["distance"] / total["control_distance"], rel=1e-3)


def test_sounds_are_the_example_s(found: tuple[dict[str, Any], Path], clips: Excerpts) -> None:
    document, folder = found
    assert [sound["key"] for sound in document["sounds"]] == ["clean", *PLAYED]
    wave, rate = soundfile.read(folder / "sounds" / document["sounds"][0]["file"])
    assert rate == 16_000
    expected = clips.clean[document["example"]].numpy()
    assert np.corrcoef(wave, expected)[0, 1] > 0.9999


def test_the_section_holds_the_numbers_and_the_sounds(found: tuple[dict[str, Any], Path]) -> None:
    document, folder = found
    made = parts(section(document, folder))
    html = "".join(panel for one in made for panel in one.panels)
    players = re.findall(r'<audio controls preload="none" src="data:audio/flac;base64,([^"]+)">', html)
    assert len(players) == len(document["sounds"])
    for player in players:
        assert soundfile.info(io.BytesIO(base64.b64decode(player))).duration == document["seconds"]
    ratio = document["models"][0]["families"]["fast AM"]["ratio"]
    assert f"aliases {ratio['estimate']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]" in answer(document)
    for model in document["models"]:
        assert model["name"] in html
    assert all("<svg" in panel or "<table" in panel or "<audio" in panel for one in made for panel in one.panels)


def test_the_page_has_no_fault_on_a_phone(found: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    # Its sounds are decoded in another test: a busy browser may take long for eight of them.
    (tmp_path / "stability.json").write_text(json.dumps({**found[0], "sounds": []}))
    (tmp_path / "report.html").write_text(report.build(tmp_path), encoding="utf-8")
    assert look(tmp_path / "report.html", tmp_path).faults == []


def test_without_labels_the_section_states_that_decisions_were_not_measured(found: tuple[dict[str, Any], Path]) -> None:
    document = {**found[0], "label": None}
    assert "--label" in "".join(one.text + one.caption for one in parts(section(document, found[1])))


def test_a_subject_s_needs_are_checked() -> None:
    fast, slow, timeless = Patches("fast"), Patches("slow"), Patches("timeless")
    slow.token_rate, timeless.token_rate = 3.0, 0.0
    assert nyquist([fast, slow, timeless], 2.5) == 1.5
    assert nyquist([timeless], 2.5) == 3.125
    with pytest.raises(AaspError, match=r"--seconds is 0.4; give 0.53 or more"):
        nyquist([fast], 0.4)
    with pytest.raises(AaspError, match="two models are called fast"):
        nyquist([fast, Patches("fast")], 2.5)


def test_clips_of_one_group_are_refused(clips: Excerpts) -> None:
    with pytest.raises(AaspError, match="all 16 clips are of one group"):
        examine([Patches("averages")], clips, groups=np.full(CLIPS, "a"))


@pytest.mark.slow
def test_no_text_of_the_document_becomes_anything_else(found: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    document = {**found[0], "sounds": []}
    for was in sorted({*hostile.strings(document)}):
        changed = hostile.renamed(document, was, f"{hostile.NAME} {was}")
        (tmp_path / "stability.json").write_text(json.dumps(changed))
        with contextlib.suppress(AaspError):  # a field is missing
            hostile.shown(report.build(tmp_path))


def test_a_sound_elsewhere_is_not_put_into_the_page(found: tuple[dict[str, Any], Path]) -> None:
    document = {**found[0], "sounds": [{**found[0]["sounds"][0], "file": "../../../etc/passwd"}]}
    with pytest.raises(AaspError, match=r"names \.\./\.\./\.\./etc/passwd, which is not in its folder"):
        section(document, found[1])
