"""Every front end of ours besides the log-mel: the common contract, and each one's numbers in plain numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from aasp import casting
from aasp.config import from_dict, to_dict, with_fields
from aasp.errors import AaspError
from aasp.features import FRONTENDS, FrontEndConfig
from aasp.features.filters import folded_frequency, projected_clamp
from aasp.features.logmel import LogMelConfig, mel_filterbank
from aasp.features.pcen import PCEN, PCENConfig, smoothed
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig, load
from aasp.model.encoder import EncoderConfig
from aasp.planning.step import step_cost
from aasp.pretrain import recipes
from aasp.pretrain.objective import build_objective
from aasp.stems.conv import ConvConfig
from aasp.stems.sblu import kernel

SMALL = {
    "pcen": {"bands": 16},
    "stft": {"bands": 16},
    "cqt": {"bands": 16},
    "multires": {"bands": 16},
    "leaf": {"filters": 16, "stride": 8},
    "sblu": {"filters": 16, "stride": 8},
    "ranged": {"logmel": LogMelConfig(mels=16)},
}


def config(name: str) -> FrontEndConfig:
    return replace(FRONTENDS.find(name)(), **SMALL[name])


def noise(clips: int, samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(0))


def encoder(name: str) -> AudioEncoder:
    torch.manual_seed(0)
    small = EncoderConfig(width=24, depth=1, heads=2)
    return AudioEncoder(AudioEncoderConfig(frontend=config(name), stem=ConvConfig(), encoder=small)).eval()


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_padding_changes_nothing_and_is_zero_beyond_a_clips_end(name: str) -> None:
    front, wave = config(name).build(), noise(2, 9_000)
    alone, frames = front(wave[:1, :5_000])
    both, counts = front(wave, torch.tensor([5_000, 9_000]))
    valid = int(frames[0])
    assert counts.tolist() == [valid, front.config.frames(9_000)] and both.shape[2] == front.config.bins == 16
    torch.testing.assert_close(both[:1, :valid], alone, rtol=0, atol=1e-5)
    assert not both[0, valid:].any() and (both[1] != 0).any(-1).all()
    exact, _ = front(wave.double())
    assert exact.dtype == torch.float64 and exact.isfinite().all()
    assert front(torch.zeros(1, 9_000))[0].isfinite().all(), "silence"


@pytest.mark.parametrize("name", list(FRONTENDS))
def test_settings_define_frames_and_samples(name: str) -> None:
    c = FRONTENDS.find(name)()
    assert c.frames(c.window - 1) == 0 and c.frames(c.window) == 1 and c.frame_rate == 100
    assert [c.frames(c.samples(n)) for n in (1, 2, 99)] == [1, 2, 99] and c.frames(c.samples(99) - 1) == 98
    centres, (low, high) = c.centres(), c.band
    assert c.bins == 128 and len(centres) == 128 and (np.diff(centres) > 0).all()
    assert low <= centres[0] and centres[-1] <= high
    assert from_dict(type(c), to_dict(c), "here") == c
    lengths = [c.window - 1, c.window, c.window + 159, c.window + 160, 48_000]
    assert c.build().frames(torch.tensor(lengths)).tolist() == [c.frames(one) for one in lengths]


@torch.no_grad()
@pytest.mark.parametrize("name", ["pcen", "stft", "cqt", "multires", "leaf", "sblu"])
def test_a_tone_is_loudest_in_the_bin_of_its_frequency(name: str) -> None:
    c = replace(FRONTENDS.find(name)(), **({"stride": 2} if name == "leaf" else {}))
    for hertz in (440.0, 3_000.0):
        tone = 0.1 * torch.sin(2 * torch.pi * hertz * torch.arange(4_000) / 16_000)
        x, _ = c.build()(tone + 1e-3 * noise(1, 4_000))
        # PCEN takes each bin's own level away: look at what it is given
        energy = x[0].mean(0) if name in ("stft", "cqt", "multires", "sblu") else _level(c, tone)
        assert abs(float(c.centres()[energy.argmax()]) - hertz) < 60


def _level(c: FrontEndConfig, tone: torch.Tensor) -> torch.Tensor:
    """What PCEN is given, of a front end that has it."""
    front = c.build()
    front.normalise = torch.nn.Identity()
    return front(tone[None])[0][0].mean(0)


def test_the_smoother_is_the_recursion() -> None:
    energy = np.random.default_rng(0).exponential(size=(2, 137, 3))
    for share in (0.025, 0.5, 0.999):
        start = (1 - share) * energy[:, :1].transpose(0, 2, 1)  # so that the first level is the first energy
        expected = lfilter([share], [1, share - 1], energy.transpose(0, 2, 1), zi=start)[0].transpose(0, 2, 1)
        found = smoothed(torch.from_numpy(energy), torch.tensor([share], dtype=torch.float64))
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


@torch.no_grad()
def test_pcen_against_the_equations_in_numpy() -> None:
    front = PCEN(PCENConfig(bands=8, mean=0.25, std=2.0)).double()
    for number, raw in enumerate(front.normalise.parameters()):
        raw.add_(0.3 * torch.randn(8, generator=torch.Generator().manual_seed(number)))
    wave = noise(1, 4_000).double()
    windows = np.lib.stride_tricks.sliding_window_view(wave[0].numpy(), 400)[::160]
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    bank = mel_filterbank(LogMelConfig(mels=8)).double().numpy()
    energy = np.abs(np.fft.rfft(windows * taper, 512)) ** 2 @ bank
    s, alpha, delta, r = (one.numpy() for one in front.normalise.settings())
    level = energy[:1]
    for row in energy[1:]:
        level = np.concatenate([level, (1 - s) * level[-1:] + s * row])
    expected = ((energy / (1e-6 + level) ** alpha + delta) ** r - delta**r - 0.25) / 2
    np.testing.assert_allclose(front(wave)[0][0].numpy(), expected, rtol=1e-6, atol=1e-9)


def test_pcen_starts_at_the_published_values_and_normalises_level() -> None:
    front = PCEN()
    assert [round(one[0].item(), 6) for one in front.normalise.settings()] == [0.025, 0.98, 2.0, 0.5]
    wave = noise(1, 16_000)
    soft, loud = (front(scale * wave)[0] for scale in (1.0, 10.0))
    assert float((soft - loud).detach().abs().mean()) < 0.1, "20 dB, of which a log-mel would move by half a deviation"
    assert sum(p.numel() for p in front.parameters()) == 4 * 128
    assert not any(p.requires_grad for p in PCEN(PCENConfig(trained=False)).parameters())


def test_equally_spaced_bands_are_the_transforms_own_where_there_are_as_many() -> None:
    c = replace(FRONTENDS.find("stft")(), bands=255)
    assert torch.equal(c.bank()[1:-1], torch.eye(255)) and c.centres()[0] == 31.25
    with pytest.raises(AaspError, match=r"band \d+ at \d+ Hz holds no bin of fft 512, which are 31.25 Hz apart"):
        replace(c, bands=600)


def test_constant_q_bands_are_wide_in_proportion_above_what_the_window_resolves() -> None:
    c = FRONTENDS.find("cqt")()
    left, centre, right = c.corners()
    constant = centre > 404 * 1.05
    share = ((right - left) / centre)[constant]
    assert np.ptp(share) < 1e-9 and np.allclose((right - left)[centre < 300], 2 * 16_000 / 1024, atol=0.5)
    assert np.allclose(centre[1:] / centre[:-1], centre[1] / centre[0])
    with pytest.raises(AaspError, match="a logarithmic axis has no zero"):
        replace(c, low_hz=0.0)


@torch.no_grad()
def test_window_lengths_take_turns_and_look_at_the_same_instant() -> None:
    c = FRONTENDS.find("multires")()
    click = torch.zeros(1, 8_000)
    click[0, 4_000] = 1.0
    x = c.build()(click)[0][0]
    frames = [(x[:, turn::2] > x[:, turn::2].min()).all(1).nonzero()[:, 0] for turn in (0, 1)]
    assert (
        len(frames[0]) < 3 <= len(frames[1]) and abs(float(frames[0].float().mean() - frames[1].float().mean())) <= 0.5
    )
    steady = (c.build()(noise(1, 160_000))[0][0] * c.std).exp().mean(0)  # energies: the logarithm favours steadier ones
    assert float(steady[40::2].mean() / steady[41::2].mean()) == pytest.approx(1, abs=0.05), "of a steady noise"
    with pytest.raises(AaspError, match="windows_ms is 16,32; give lengths of which 64 is the longest"):
        replace(c, windows_ms=(16.0, 32.0))
    with pytest.raises(AaspError, match="127 bands must be a multiple of the 2 window lengths"):
        replace(c, bands=127)


def test_a_log_mel_of_a_hop_of_four_milliseconds_is_a_setting() -> None:
    recipe = with_fields(recipes.get("aasp_tiny"), {"model.frontend.hop_ms": "4", "data.crop_seconds": "0.5"})
    c = recipe.model.frontend
    assert c.frame_rate == 250 and c.frames(16_000) == 1 + (16_000 - 400) // 64 and c.samples(244) == 243 * 64 + 400
    assert c.build()(noise(1, 8_000))[0].shape == (1, 119, 128)


@torch.no_grad()
def test_leaf_against_the_equations_in_numpy() -> None:
    c = replace(config("leaf"), filters=16, stride=1, mean=0.25, std=2.0)
    front, wave = c.build().double(), noise(1, 2_000).double()
    wave[:, :1_000] = 0.0
    n = np.arange(-200, 201)
    eta, sigma = 2 * np.pi * c.centres() / 16_000, c.deviations()
    rows = []
    for m in range(16):
        gabor = np.exp(-(n**2) / (2 * sigma[m] ** 2)) * np.exp(1j * eta[m] * n) / np.sqrt(2 * np.pi) / sigma[m]
        energy = np.abs(np.convolve(wave[0].numpy(), gabor, mode="valid")) ** 2
        lowpass = np.exp(-0.5 * (n / (0.4 * 200)) ** 2)
        rows.append(np.convolve(energy, lowpass, mode="valid")[::160])
    energy = np.maximum(np.stack(rows, axis=1), 1e-5)
    assert (energy[0] == 1e-5).all() and (energy[-1] > 1e-5).all()
    level = energy[:1]
    for row in energy[1:]:
        level = np.concatenate([level, 0.96 * level[-1:] + 0.04 * row])
    expected = ((energy / (1e-12 + level) ** 0.96 + 2) ** 0.5 - 2**0.5 - 0.25) / 2
    assert len(expected) == c.frames(2_000) == 8
    np.testing.assert_allclose(front(wave)[0][0].numpy(), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_sblu_bank_against_the_equations_in_numpy() -> None:
    c = replace(config("sblu"), stride=1, mean=0.25, std=2.0)
    front, wave = c.build().double(), noise(1, 2_000).double()
    n = np.arange(-200, 201)
    edges = 700 * np.expm1(np.linspace(np.log1p(60 / 700), np.log1p(7_800 / 700), 18))
    beta, alpha = 2 * np.pi * edges[1:-1] / 16_000, np.pi * 0.75 * (edges[2:] - edges[:-2]) / 16_000
    hann, rows = np.hanning(403)[1:-1], []
    for m in range(16):
        kernel = np.exp(-max(alpha[m], 4 / 401) * np.abs(n) + 1j * beta[m] * n)
        kernel /= np.linalg.norm(kernel)
        energy = np.abs(np.convolve(wave[0].numpy(), kernel, mode="valid")) ** 2
        rows.append(np.convolve(energy, hann / hann.sum(), mode="valid")[::160])
    expected = (np.log(np.stack(rows, axis=1) + 1e-9) - 0.25) / 2
    np.testing.assert_allclose(front(wave)[0][0].numpy(), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_sblu_bank_has_the_units_kernels_two_numbers_a_filter_and_bounds() -> None:
    front = FRONTENDS.find("sblu")().build().double()
    assert sum(p.numel() for p in front.parameters()) == 2 * 128
    alpha, beta = front._bounded(torch.float64)
    unit = torch.stack(kernel(alpha, beta, 401, phase="conjugate", window="two-sided", gain="unit"))
    ours = front.filters(torch.float64).unflatten(0, (2, -1)) * torch.tensor([1.0, -1.0]).double()[:, None, None]
    off = (ours - unit).square().sum((0, 2)).sqrt()  # of 1: the hold turns the taps that are short of a period
    assert off[:64].max() < 0.01 and off.max() < 0.05
    front.alpha_raw.fill_(-9.0)
    assert (front._bounded(torch.float64)[0] == 4 / 401).all()
    assert replace(front.config, trained=False).build().beta.requires_grad is False


def test_leaf_has_the_published_number_of_parameters_and_reports_its_centres() -> None:
    front = replace(FRONTENDS.find("leaf")(), filters=64).build()
    assert sum(p.numel() for p in front.parameters()) == 448
    np.testing.assert_allclose(front.centres().numpy(), front.config.centres(), rtol=1e-6)
    with torch.no_grad():
        front.eta[0] = 2 * np.pi - 2.0  # beyond half the rate
    assert float(front.centres()[0]) == pytest.approx(8_000 * 2 / np.pi)
    with pytest.raises(AaspError, match="stride 3 doesn't divide the hop of 160 samples"):
        replace(front.config, stride=3)


@pytest.mark.parametrize("before", ["tf32", "ieee"])
@pytest.mark.parametrize("name", ["leaf", "sblu"])
def test_filters_are_convolved_in_fp32_and_the_setting_is_restored(
    name: str, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting, convolve, used = torch.backends.cudnn.conv, torch.nn.functional.conv1d, []

    def convolved(*tensors: torch.Tensor, **how: int) -> torch.Tensor:
        used.append(setting.fp32_precision)
        return convolve(*tensors, **how)

    default = setting.fp32_precision
    monkeypatch.setattr(torch.nn.functional, "conv1d", convolved)
    try:
        setting.fp32_precision = before
        config(name).build()(noise(1, 3_200))
        assert used == ["ieee", "ieee"] and setting.fp32_precision == before
    finally:
        setting.fp32_precision = default
    assert torch.backends.cudnn.allow_tf32, "the older setting can still be read"


@pytest.mark.parametrize("name", ["pcen", "leaf", "sblu"])
def test_learned_values_need_no_float64(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    front = replace(config(name), trained=True).build()
    assert {one.dtype for one in front.learned().values()} == {torch.float64}
    monkeypatch.setattr(casting, "NO_FLOAT64", ("cpu",))
    assert {one.dtype for one in front.learned().values()} == {torch.float32}


@pytest.mark.parametrize("name", ["leaf", "sblu"])
def test_every_filter_learns(name: str) -> None:
    """Filters start at their bounds (sigma of 33 of LEAF's, alpha of the SBLU's lowest), and the first steps lead
    beyond them."""
    torch.manual_seed(0)
    front = replace(FRONTENDS.find(name)(), stride=8).build()
    names, learned = zip(*front.named_parameters(), strict=True)
    start = [one.detach().clone() for one in learned]
    steps = torch.optim.Adam(learned, lr=0.05)
    ever = [torch.zeros_like(one, dtype=torch.bool) for one in learned]
    for step in range(16):
        frames, _ = front(noise(2, 3_200))
        steps.zero_grad()
        (frames * torch.randn(frames.shape[-1], generator=torch.Generator().manual_seed(step))).mean().backward()
        steps.step()
        if step < 4:
            continue
        ever = [seen | (one.grad != 0) for seen, one in zip(ever, learned, strict=True)]
    for which, seen, one, first in zip(names, ever, learned, start, strict=True):
        assert seen.all(), f"{(~seen).sum()} of {which} have no gradient any more"
        assert (one != first).all() and one.isfinite().all()
    if name == "leaf":
        least, most = front.config.deviation_range
        sigma = front.config.deviations()
        assert sigma.min() >= least and sigma.max() <= most and (sigma == most).sum() == 33


@torch.no_grad()
@pytest.mark.parametrize("name", ["leaf", "sblu"])
def test_frequencies_are_folded(name: str) -> None:
    front, wave = config(name).build().double(), noise(1, 3_200).double()
    expected, own = front(wave)[0], front.eta if name == "leaf" else front.beta
    assert torch.equal(folded_frequency(own), own)
    for beyond in (-own, own + 2 * np.pi, 2 * np.pi - own):
        other = config(name).build().double()
        (other.eta if name == "leaf" else other.beta).copy_(beyond)
        torch.testing.assert_close(other(wave)[0], expected, rtol=0, atol=1e-9)
        np.testing.assert_allclose(other.centres(), front.centres(), rtol=1e-9)


def test_bounded_values_find_their_way_back() -> None:
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0, -2.0, -1.0, 0.0, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    slope = torch.tensor([1.0] * 5 + [-1.0] * 5, dtype=torch.float64)
    for of in (projected_clamp, torch.compile(projected_clamp, backend="aot_eager", fullgraph=True)):
        x.grad = None
        found = of(x, -1.0, 1.0)
        assert torch.equal(found, x.clamp(-1, 1))
        (found * slope).sum().backward()
        # Descent of a positive slope leads down: out of the lower bound, and back from beyond the upper one.
        assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0, 0.0]
    x = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: projected_clamp(x, -1.0, 1.0).square(), x)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("pcen", {"s": 0.0}, "s is 0.0; give a positive number"),
        ("pcen", {"s": 0.001}, "s is 0.001; give a share above 0.00195"),
        ("pcen", {"fft": 256}, "fft 256 is shorter than the window"),
        ("leaf", {"high_hz": 9_000.0}, "must lie in 0 to 8000 Hz"),
        ("stft", {"bands": 0}, "bands is 0"),
        ("sblu", {"eps": 0.0}, "eps is 0.0; give a positive number"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, fields: dict[str, float], message: str) -> None:
    with pytest.raises(AaspError) as error:
        replace(FRONTENDS.find(name)(), **fields)
    assert message in str(error.value) and "\n" not in str(error.value)


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_a_model_with_it_is_built_on_meta_saved_loaded_and_streams_or_refuses(name: str, tmp_path) -> None:
    model, wave = encoder(name), noise(2, 9_000)
    for number, parameter in enumerate(model.frontend.parameters()):
        parameter.mul_(1 + 0.01 * (number + 1))
    model.save(tmp_path / "model")
    expected = model(wave).clip
    assert torch.equal(load(tmp_path / "model")(wave).clip, expected)
    with torch.device("meta"):
        empty = encoder(name)
    assert all(tensor.is_meta for tensor in [*empty.parameters(), *empty.buffers()])
    empty.to_empty(device="cpu").load_state_dict(model.state_dict())
    assert torch.equal(empty(wave).clip, expected)


@torch.no_grad()
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in ("pcen", "leaf"))) for name in SMALL]
)
def test_it_is_one_graph_of_any_clips(name: str) -> None:
    model, wave = encoder(name), noise(2, 9_000)

    class Mel(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.front = model.frontend

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.front(x)[0]

    if name in ("pcen", "leaf", "ranged"):
        with pytest.raises(AaspError, match=f"front end (?i:{name}): its frames depend on more of the sound"):
            model.stream()
    else:
        assert model.stream().latency > 0

    sizes = {0: torch.export.Dim("clips", min=1, max=8), 1: torch.export.Dim("samples", min=8_000, max=64_000)}
    graph = torch.export.export(Mel(), (wave,), dynamic_shapes=({**sizes},)).module()
    longer = noise(3, 12_345)
    torch.testing.assert_close(graph(longer), model.frontend(longer)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_a_recipe_with_it_is_planned_and_learns(name: str) -> None:
    small = {"width": "24", "depth": "1", "heads": "2"}
    fields = {f"model.encoder.{key}": value for key, value in small.items()}
    fields |= {f"predictor.{key}": value for key, value in small.items()} | {"losses.projector": "16,8"}
    own = {"logmel.mels": 16} if name == "ranged" else SMALL[name]
    fields |= {f"model.frontend.{key}": str(value) for key, value in own.items()}
    fields |= {"data.batch": "2", "data.crop_seconds": "0.5", "masking.views": "2", "model.stem": "conv"}
    fields |= {"model.vector": "none", "model.stem.patch": "16,16"}
    recipe = with_fields(recipes.get("aasp_tiny"), fields | {"teacher.layers": "1", "model.frontend": name})
    assert step_cost(recipe).total.flops > 0
    torch.manual_seed(0)
    objective = build_objective(recipe, lambda tensor: (tensor, 0))
    batch = {"wave": noise(2, 8_000), "length": torch.tensor([8_000, 8_000])}
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(8):
        torch.manual_seed(1)
        loss = objective(batch, False)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
