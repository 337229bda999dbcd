"""Vectors over time: finer steps equal those of sound that starts later; a stream equals the whole sound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from aasp.errors import AaspError
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.model.stream import EncoderStream
from aasp.stems.aape import AaPEConfig
from aasp.stems.conv import ConvConfig
from learned_front import LearnedConfig

CONFIG = AudioEncoderConfig(
    frontend=LogMelConfig(mels=32), stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=2, heads=2),
    window_seconds=0.64,
)  # fmt: skip


def made(**changes: Any) -> AudioEncoder:
    torch.manual_seed(0)
    return AudioEncoder(replace(CONFIG, **changes)).eval()


def sound(seconds: float, clips: int = 1, rate: int = 16_000) -> torch.Tensor:
    return 0.1 * torch.from_numpy(np.random.default_rng(1).standard_normal((clips, round(seconds * rate)))).float()


@torch.inference_mode()
def test_without_a_hop_vectors_are_the_models_timestamps() -> None:
    encoder, wave, lengths = made(), sound(1.7, 2), torch.tensor([27_200, 9_000])
    whole, found = encoder(wave, lengths), encoder.over_time(wave, lengths)
    assert torch.equal(found.vectors, whole.timestamps) and torch.equal(found.valid, whole.valid)
    assert torch.allclose(found.seconds, whole.seconds)


@pytest.mark.parametrize("hop", [0.08, 0.04])
@torch.inference_mode()
def test_a_finer_step_is_the_patch_starting_at_its_time(hop: float) -> None:
    encoder, wave = made(), sound(1.5)
    found = encoder.over_time(wave, hop=hop)
    frames = 1 + (wave.shape[1] - 400) // 160
    steps = -(-frames // round(hop * 100))
    assert found.vectors.shape == (1, steps, 16)
    assert found.seconds.numpy() == pytest.approx(0.08 + hop * np.arange(steps))
    each = round(0.16 / hop)
    for number in range(each):
        begun_later = encoder(wave[:, round(number * hop * 16_000) :]).timestamps
        assert torch.allclose(found.vectors[:, number::each], begun_later, atol=1e-5)


@torch.inference_mode()
def test_padding_changes_no_finer_step_and_each_clip_has_its_own_count() -> None:
    encoder, wave, lengths = made(), sound(1.2, 3), [19_200, 7_001, 400]
    found = encoder.over_time(wave, torch.tensor(lengths), hop=0.04)
    assert found.valid.sum(1).tolist() == [-(-(1 + (n - 400) // 160) // 4) for n in lengths]
    for clip, samples in enumerate(lengths):
        alone = encoder.over_time(wave[clip : clip + 1, :samples], hop=0.04)
        valid = found.valid[clip]
        assert torch.allclose(found.vectors[clip, valid], alone.vectors[0], atol=1e-5)
        assert not found.vectors[clip, ~valid].any()
        assert torch.equal(found.seconds[valid], alone.seconds)


def test_the_cost_of_a_finer_hop_is_one_pass_per_step(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, passes = made(), []
    embed = encoder.embed
    monkeypatch.setattr(encoder, "embed", lambda *args, **named: passes.append(1) or embed(*args, **named))
    for hop, cost in ((None, 1), (0.16, 1), (0.08, 2), (0.04, 4)):
        passes.clear()
        encoder.over_time(sound(0.5), hop=hop)
        assert len(passes) == cost


@pytest.mark.parametrize("hop", [0.02, 0.05, 0.32, 0.0, -0.04, float("nan")])
def test_another_hop_is_refused_with_the_valid_ones(hop: float) -> None:
    with pytest.raises(AaspError, match=r"hop is .* s; this model's time steps are 0.16, 0.08, 0.04 s"):
        made().over_time(sound(0.5), hop=hop)


def run(stream: EncoderStream, wave: torch.Tensor, chunks: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    parts, begin = [], 0
    for size in chunks:
        parts.append(stream(wave[:, begin : begin + size]))
        begin += size
    parts += [stream(wave[:, begin:]), stream.end()]
    return torch.cat([p.vectors for p in parts], dim=1), torch.cat([p.seconds for p in parts])


FRONTS = {
    "kaldi": LogMelConfig(mels=32),
    "centred": LogMelConfig.slaney80(),
    "8 kHz": LogMelConfig.at(8_000),
    "48 kHz": LogMelConfig.at(48_000),
}


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("seconds", [0.03, 0.655, 0.82, 0.976, 3.21])
def test_a_stream_equals_the_whole_sound(front: str, seconds: float) -> None:
    encoder = made(frontend=FRONTS[front])
    rate = FRONTS[front].rate
    wave = sound(seconds, 2, rate)
    chunks = np.random.default_rng(round(100 * seconds)).integers(0, rate // 5, 40).tolist()
    vectors, when = run(encoder.stream(), wave, chunks)
    with torch.inference_mode():
        whole = encoder(wave)
    assert vectors.shape == whole.timestamps.shape
    assert (vectors - whole.timestamps).abs().max() < 1e-5
    assert torch.allclose(when, whole.seconds)


def test_a_stream_with_a_learned_front_end_equals_the_whole_sound() -> None:
    encoder, wave = made(frontend=LearnedConfig()), sound(2.0, 2)
    vectors, _ = run(encoder.stream(), wave, [0, *[1] * 5, 700, 0, 9_000])
    with torch.inference_mode():
        assert (vectors - encoder(wave).timestamps).abs().max() < 1e-5
    clipwise = made(frontend=LearnedConfig(clipwise=True))
    with pytest.raises(AaspError, match="front end Learned: its frames depend on more of the sound than their own"):
        clipwise.stream()


@pytest.mark.parametrize("stem", [AaPEConfig(), AaPEConfig(taps=48)])
def test_a_stream_with_a_stem_of_wide_context_equals_the_whole_sound(stem: AaPEConfig) -> None:
    encoder, wave = made(stem=stem), sound(2.5)
    vectors, _ = run(encoder.stream(), wave, [1_600] * 20)
    with torch.inference_mode():
        assert (vectors - encoder(wave).timestamps).abs().max() < 1e-5


def test_shorter_windows_are_those_of_a_model_with_such_a_window() -> None:
    encoder, wave = made(), sound(2.0)
    stream = encoder.stream(window=0.32)
    assert stream.window == pytest.approx(0.32)
    vectors, _ = run(stream, wave, [500] * 50)
    short = made(window_seconds=0.32)
    short.load_state_dict(encoder.state_dict())
    with torch.inference_mode():
        assert (vectors - short(wave).timestamps).abs().max() < 1e-5
        assert (vectors - encoder(wave).timestamps).abs().max() > 1e-3, "it is another question"


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("window", [None, 0.32])
def test_the_latency_is_the_stated_one(front: str, window: float | None) -> None:
    encoder, rate = made(frontend=FRONTS[front]), FRONTS[front].rate
    wave, stream = sound(2.0, rate=rate), encoder.stream(window)
    chunk, waited = rate // 200, []  # 5 ms
    for begin in range(0, wave.shape[1], chunk):
        given = stream(wave[:, begin : begin + chunk])
        waited += [(begin + chunk) / rate - (second - 0.08) for second in given.seconds.tolist()]
    assert stream.latency - 0.005 <= max(waited) <= stream.latency + 0.006
    tail = 0.015 if front != "centred" else 0.025
    assert stream.latency == pytest.approx((window or 0.64) + tail, abs=0.012)


def test_memory_does_not_grow_with_the_sound() -> None:
    encoder = made()
    stream, held = encoder.stream(), []
    for _ in range(12):
        stream(sound(0.5))
        assert stream._wave is not None and stream._mel is not None
        held.append(stream._wave.shape[1] + 160 * stream._mel.shape[1])
    assert max(held) < 1.3 * 16_000


def test_bad_input_of_a_stream_is_one_line() -> None:
    encoder = made()
    for window in (0.1, 0.8, 0.0, float("nan")):
        with pytest.raises(AaspError, match=r"stream: window is .* s; give 0.32 to 0.64 s"):
            encoder.stream(window)
    stream = encoder.stream()
    stream(sound(0.4))
    with pytest.raises(AaspError, match="2 sounds, 1 before"):
        stream(sound(0.4, 2))
    with pytest.raises(AaspError, match="NaN"):
        stream(torch.full((1, 100), float("nan")))
    with pytest.raises(AaspError, match=r"give wave\[None\]"):
        stream(sound(0.4)[0])
    after = stream(sound(0.4))
    assert after.vectors.shape[1] == 2, "what was refused is not part of it"
    stream.end()
    for again in (stream.end, lambda: stream(sound(0.1))):
        with pytest.raises(AaspError, match="it has ended"):
            again()
    short = encoder.stream()
    short(sound(0.01))
    with pytest.raises(AaspError, match="ended after 10 ms, shorter than one analysis window of 25 ms"):
        short.end()
