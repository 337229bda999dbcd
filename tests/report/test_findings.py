"""Findings on a stem: a known modulation in its patches, at its rate; kernels in order; views as in training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aasp.errors import AaspError
from aasp.features import FrontEndConfig
from aasp.features.logmel import LogMel, LogMelConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain.masking import MaskingConfig
from aasp.report import findings
from aasp.report.spectrogram import Spectrogram
from aasp.stems.aape import AaPE, AaPEConfig


@pytest.mark.parametrize("hertz", [8.0, 15.0, 30.0])
@pytest.mark.parametrize("taps", [16, 48])
def test_a_modulation_is_found_in_its_patches_at_its_rate(hertz, taps):
    torch.manual_seed(0)
    stem = AaPE(48, 128, AaPEConfig(parameters="fixed", taps=taps))
    mel = torch.zeros(1, 128, 128)
    mel[:, :, 32:48] = torch.sin(2 * torch.pi * hertz / 100 * torch.arange(128))[:, None]  # the third subband
    found = findings.estimate(stem, mel, 100.0)
    assert found.alpha.shape == found.beta_hz.shape == (1, 8, 8, 16)
    assert (found.strength[..., 2] > 0.3).all() and found.strength.max() == 1
    assert np.delete(found.strength, 2, axis=-1).max() < 1e-3
    assert np.median(found.rate_hz[..., 2]) == pytest.approx(hertz, rel=0.35)


def test_kernels_are_in_order_of_frequency():
    torch.manual_seed(0)
    stem = AaPE(48, 128)
    found = findings.estimate(stem, torch.randn(2, 64, 128), 100.0)
    real, imag, hertz = findings.typical_kernels(stem, found, 100.0)
    assert real.shape == imag.shape == (16, 16)
    assert (np.diff(hertz) >= 0).all() and hertz[0] >= 3.125 and hertz[-1] <= 50
    assert (real**2 + imag**2).sum(1) == pytest.approx(1.0)


def test_views_are_drawn_as_in_training():
    clip = Spectrogram(np.zeros((160, 128)), np.arange(128.0), 100.0, (16, 16))
    masking = MaskingConfig(views=5, keep_ratio=0.25)
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, again = findings.views(clip, masking), findings.views(clip, masking)
    assert one.shape == (5, 20) and (one == again).all() and one.max() < 80
    assert (torch.random.get_rng_state() == before).all()


def test_listening_gives_whole_patches():
    model = AudioEncoder(AudioEncoderConfig(encoder=EncoderConfig(48, 1, 3))).eval()
    clips, mel = findings.listen(model, [np.zeros(16_000, np.float32)] * 2)
    assert mel.shape == (2, 96, 128) and clips[0].mel.shape == (96, 128)
    assert (clips[1].patch, clips[1].frame_rate, clips[1].grid) == ((16, 16), 100.0, (6, 8))


@pytest.mark.parametrize("config", [LogMelConfig.kaldi(), LogMelConfig.slaney80()])
def test_band_centres_are_those_of_the_filters(config):
    centres = config.centres()
    filters = LogMel(config).filterbank.double().numpy()
    bins = np.arange(len(filters)) * config.rate / config.fft
    wide = np.flatnonzero((filters > 0).sum(0) > 4)
    assert len(wide) > 20
    assert centres[wide] == pytest.approx((filters * bins[:, None]).sum(0)[wide] / filters.sum(0)[wide], rel=0.02)


def test_a_front_end_without_hertz_is_named():
    class Mute(LogMelConfig):
        centres = FrontEndConfig.centres

    with pytest.raises(AaspError, match=r"Mute has no `centres`, which figures need; define it"):
        Mute().centres()
