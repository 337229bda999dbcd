"""What is hidden is faded and what is visible is not; every patch is tinted where it lies."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from aasp.features import FRONTENDS
from aasp.features.logmel import LogMelConfig
from aasp.report.spectrogram import RATE_COLORS, Spectrogram, axis_hz, masked_view, patch_rates, spectrogram


@pytest.fixture
def clip():
    mel = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
    return Spectrogram(mel, np.geomspace(50, 7000, 32), 100.0, (16, 16))


def ink(svg: str) -> np.ndarray:
    """The opacity of the spectrogram's image, shape (M, T), low mel bins first."""
    image = re.search(r'<image href="data:image/png;base64,([^"]*)" class="inverted"[^>]*>', svg)
    alpha = np.asarray(Image.open(io.BytesIO(base64.b64decode(image[1]))))[..., 3] / 255
    mirrored = re.search(r"matrix\(\S+ 0 0 -", image[0])  # its first row then stands lowest
    return alpha if mirrored else alpha[::-1]


def test_axes_have_units(clip):
    svg = spectrogram(clip, title="A <note>")
    assert {"time (s)", "frequency (kHz)", "A &lt;note&gt;"} <= set(re.findall(r"<text[^>]*>([^<]+)</text>", svg))


def test_the_axis_has_the_current_centres_of_trained_filters() -> None:
    front = FRONTENDS.find("leaf")(filters=16, stride=8, trained=True).build()
    with torch.no_grad():
        front.eta.mul_(0.5)
        front.eta[0] = front.eta[3] + 0.01
    axis, now = axis_hz(front), front.centres().numpy()
    np.testing.assert_allclose(axis, np.sort(now))
    assert (np.diff(now) < 0).any() and axis[-1] < 0.6 * front.config.centres()[-1]
    log_mel = LogMelConfig()
    np.testing.assert_allclose(axis_hz(log_mel.build()), log_mel.centres())


def test_hidden_patches_are_faded(clip):
    assert clip.grid == (4, 2)
    whole = ink(spectrogram(clip, title=""))
    view = ink(masked_view(clip, np.array([0, 5]), title=""))  # (g, f) = (0, 0) and (2, 1)
    assert whole.shape == view.shape == (32, 64)
    share = np.where(whole > 0.1, view / np.maximum(whole, 1e-9), np.nan)
    patches = np.nanmean(share.reshape(2, 16, 4, 16), axis=(1, 3))  # (F, G)
    assert {(int(g), int(f)) for f, g in np.argwhere(patches > 0.9)} == {(0, 0), (2, 1)}
    assert (np.sort(patches.ravel())[:6] < 0.1).all()


def test_every_patch_has_the_colour_of_its_rate(clip):
    rate = np.full((4, 2), 50.0)
    rate[1, 1] = 3.125
    svg = patch_rates(clip, rate, np.linspace(0.1, 1, 8).reshape(4, 2), title="")
    channels = lambda at: "#" + "".join(f"{round(255 * c):02x}" for c in RATE_COLORS(at)[:3])
    assert svg.count(f"fill: {channels(0.0)}") == 1 and svg.count(f"fill: {channels(1.0)}") == 7
    assert {"3.1", "50", "looks at (Hz)"} <= set(re.findall(r"<text[^>]*>([^<]+)</text>", svg))
