"""Rates are decoded where they are present, and not where they are absent."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aasp.aliasing.response import document
from aasp.aliasing.response.measure import Stage
from aasp.encoders import EncoderAdapter, EncoderEmbeddings, open_adapter

CLIPS = 360


class Spectrum(EncoderAdapter):
    """A waveform's encoder whose vectors are 80 ms of energy in frames of 10 ms."""

    name, rate, token_rate = "it", 8000, 12.5

    def embed_waveform(self, wave_BS: torch.Tensor) -> EncoderEmbeddings:
        frames = wave_BS.square().unfold(1, 80, 80).mean(2).log()
        vectors = frames.unfold(1, 8, 8)
        return EncoderEmbeddings(vectors.mean(1), vectors, (torch.arange(vectors.shape[1]) + 0.5) / 12.5)


def accuracies(decoded: document.Decoded) -> dict[tuple[str, str], float]:
    return {key: result.alone.estimate for key, result in decoded.items()}


@pytest.fixture(scope="module")
def read() -> dict[tuple[str, str], float]:
    """Of the conv stem, and of an oracle that shifts each clip's mean by its rate."""
    adapter = open_adapter("stem=conv")
    rates = document.draw(adapter, 0, CLIPS)
    rate_at = dict(zip(map(float, rates.clips[:, 0, 0]), rates.classes, strict=True))
    rate_of = lambda mel: torch.tensor([float(rate_at[float(one[0, 0])]) for one in mel])
    oracle = Stage("oracle", lambda mel: torch.eye(document.CLASSES)[rate_of(mel).long()][:, None].expand(-1, 4, -1), 8)
    conv = Stage("stem", lambda mel: adapter.embed_logmel(mel).timestamps, 192)
    return accuracies(document.decode(rates, [conv, oracle]))


def test_rates_are_decoded_from_frames_and_from_an_oracle(read: dict) -> None:
    assert read["frames", "DFT"] > 0.95
    assert read["oracle", "mean"] == 1.0


def test_a_linear_stems_mean_holds_no_rate_and_its_deviation_does(read: dict) -> None:
    assert abs(read["stem", "mean"] - 1 / document.CLASSES) < 0.09  # two and a half deviations of 160 clips
    assert read["stem", "mean+std"] > 0.6


def test_clips_have_rates_within_their_classes_and_are_the_same_for_all() -> None:
    adapter = open_adapter("stem=lowpass")
    rates = document.draw(adapter, 3, 48)
    again = document.draw(open_adapter("stem=conv"), 3, 48)
    assert rates.clips.equal(again.clips) and not rates.clips.equal(document.draw(adapter, 4, 48).clips)
    assert np.bincount(rates.classes).tolist() == [6] * document.CLASSES
    assert rates.edges[0] == 3.125 and rates.edges[-1] == 45
    frames = rates.clips.shape[1]
    assert frames == 256
    spectrum = np.abs(np.fft.rfft(rates.frames - rates.frames.mean(1, keepdims=True), axis=1)).mean(2)
    peak = spectrum.argmax(1) * 100 / frames
    inside = (peak > rates.edges[rates.classes] - 0.4) & (peak < rates.edges[rates.classes + 1] + 0.4)
    assert inside.mean() > 0.9


def test_a_waveform_encoder_is_decoded_too() -> None:
    adapter = Spectrum()
    rates = document.draw(adapter, 0, CLIPS)
    assert rates.clips.shape == (CLIPS, 16_000) and rates.edges[0] == 6.25
    found = accuracies(
        document.decode(rates, [Stage("encoder", lambda wave: adapter.embed_waveform(wave).timestamps, 8)])
    )
    assert found["frames", "DFT"] > 0.95
    assert found["encoder", "mean"] < 0.4  # energies hold no rate, except that 10 ms frames smooth the fastest


def test_a_second_subject_is_compared_clip_by_clip() -> None:
    adapter = open_adapter("stem=conv")
    rates = document.draw(adapter, 0, 96)
    ones = Stage("stem", lambda mel: torch.ones(len(mel), 2, 3) * mel.mean((1, 2))[:, None, None], 3)
    first = document.decode(rates, [ones])
    rows = document.compared(first, first)
    assert {row["stage"] for row in rows} == {"frames", "stem"}
    for lead in (row["lead"] for row in rows):
        assert lead["estimate"] == 0 and lead["low"] == -lead["high"] < -0.05, "alike on 32 clips is not alike on all"
    assert document.compared(first, {})[0]["lead"] is None


def test_tokens_fast_enough_for_every_rate_are_refused() -> None:
    assert document.has_room(6.25) and document.has_room(50)
    assert not document.has_room(100)
