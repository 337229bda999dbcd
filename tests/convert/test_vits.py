"""EAT, Audio-MAE and M2D converted: equal to forward passes written from their papers, and ready to be trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function
from vits import AUDIO_MAE, EAT, HEADS, M2D, M2D_FINE, WIDTH, Layout, checkpoint, forward

from aasp.config import with_fields
from aasp.convert.layouts import convert
from aasp.errors import AaspError
from aasp.model.audio_classifier import AudioClassifier
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain import recipes
from aasp.pretrain.initial import read_initial
from aasp.pretrain.objective import build_objective
from kaldi import kaldi

LAYOUTS = {"eat": EAT, "sslam": EAT, "audio-mae": AUDIO_MAE}


def converted(layout: str, folder: Path, form: Layout | None = None, **changes: torch.Tensor) -> AudioEncoder:
    torch.save({"model": checkpoint(form or LAYOUTS[layout]) | changes, "epoch": 30}, folder / "published.pt")
    model = convert(folder / "published.pt", layout, HEADS)
    assert isinstance(model, AudioEncoder)
    return model


@torch.no_grad()
@pytest.mark.parametrize("layout", LAYOUTS)
def test_log_mels_are_encoded_as_the_paper_does(layout: str, tmp_path: Path) -> None:
    form = LAYOUTS[layout]
    model, mel = converted(layout, tmp_path), torch.randn(2, 96, 128)
    expected = forward(form, checkpoint(form), mel)
    if not form.turned:  # theirs has the subband's half of the channels first
        expected = torch.cat(expected.chunk(2, dim=-1)[::-1], dim=-1)
    found = model.embed(mel)
    assert model.config.encoder.learned == ((6, 8) if form.turned else None)
    torch.testing.assert_close(found.tokens, expected[:, 1:], rtol=0, atol=1e-4)
    torch.testing.assert_close(found.cls, expected[:, 0], rtol=0, atol=1e-4)
    pooled = expected[:, 0] if form.post else expected[:, 1:].mean(1)
    torch.testing.assert_close(found.clip, pooled, rtol=0, atol=1e-4)
    assert expected.std() > 0.3 and model.config.window_patches == 6


@torch.no_grad()
def test_a_fine_tuned_eat_becomes_a_classifier(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(1)
    norm, head = torch.randn(2, WIDTH, generator=draw), torch.randn(5, WIDTH + 1, generator=draw)
    held = {f"model.{name}": tensor for name, tensor in checkpoint(replace(EAT, spare=())).items()}
    held |= {"fc_norm.weight": norm[0], "fc_norm.bias": norm[1], "head.weight": head[:, 1:], "head.bias": head[:, 0]}
    torch.save({"model": held}, tmp_path / "tuned.pt")
    model, mel = convert(tmp_path / "tuned.pt", "eat", HEADS), torch.randn(2, 96, 128)
    assert isinstance(model, AudioClassifier) and not model.config.multilabel
    expected = torch.nn.functional.layer_norm(forward(EAT, checkpoint(EAT), mel)[:, 0], (WIDTH,), *norm, eps=1e-6)
    found = model.encoder.embed(mel)
    logits = model.classify(found.stages, found.valid)
    torch.testing.assert_close(logits, expected @ head[:, 1:].T + head[:, 0], rtol=0, atol=1e-4)
    assert model.config.classes == tuple(f"class {n}" for n in range(5)) and logits.std() > 0.3


@torch.no_grad()
def test_waveforms_go_through_eat_s_own_front_end(tmp_path: Path) -> None:
    wave = (0.2 * np.random.default_rng(0).standard_normal(400 + 160 * 95)).astype(np.float32)
    mel = (torch.from_numpy(kaldi(wave))[None] + 4.268) / (2 * 4.569)
    model = converted("eat", tmp_path)
    found = model(torch.from_numpy(wave)[None])
    expected = forward(EAT, checkpoint(EAT), mel)[:, 0]
    torch.testing.assert_close(found.clip, torch.cat(expected.chunk(2, dim=-1)[::-1], dim=-1), rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("form", [M2D, M2D_FINE], ids=["16x16", "16x4"])
def test_m2ds_images_are_transposed(form: Layout, tmp_path: Path) -> None:
    frames, bands = form.image[1], form.grid[0]
    model, image = converted("m2d", tmp_path, form), torch.randn(2, 80, frames)
    expected = forward(form, checkpoint(form), image)
    found = model.embed(image.mT)
    tokens = expected[:, 1:].unflatten(1, (bands, -1)).transpose(1, 2)
    torch.testing.assert_close(found.tokens.unflatten(1, (-1, bands)), tokens, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.clip, tokens.flatten(2).mean(1), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.cls, expected[:, 0], rtol=0, atol=1e-4)
    assert model.config.encoder.learned is None and model.config.window_patches == 6


@torch.no_grad()
@pytest.mark.parametrize(("samples", "columns"), [(160_000, 62), (157_000, 62), (24_000, 10)])
def test_m2d_s_ten_seconds_are_one_window(samples: int, columns: int, tmp_path: Path) -> None:
    """The model of 80 x 1001: 1,001 frames are 62 whole patches; of shorter clips the last patch is padded."""
    model = converted("m2d", tmp_path, Layout((80, 1_001)))
    assert model.config.window_patches == 62
    wave = 0.1 * torch.randn(1, samples) * torch.linspace(0.1, 1, samples)
    mel, frames = model.mel(wave)
    form, found = Layout((80, 16 * columns)), model(wave)
    image = torch.nn.functional.pad(mel.float(), (0, 0, 0, 16))[:, : 16 * columns]
    assert frames.item() == samples // 160 + 1 and found.valid.shape[1] == columns
    expected = forward(form, checkpoint(form), image.mT)[:, 1:].unflatten(1, (5, -1)).transpose(1, 2).flatten(2)
    torch.testing.assert_close(found.timestamps, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.clip, expected.mean(1), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("frames", "kernel"), [(608, (16, 16)), (200, (16, 8)), (400, (80, 2))])
def test_m2d_s_last_patch_is_padded_if_patches_fill_the_input(
    frames: int, kernel: tuple[int, int], tmp_path: Path
) -> None:
    """The models of 80 x 608, 200 and 400: of ten seconds, 1,001 frames, the last patch is padded too."""
    model = converted("m2d", tmp_path, Layout((80, frames), kernel=kernel))
    assert model.config.stem.whole is None
    found = model(0.1 * torch.randn(1, 160_000))
    assert found.valid.shape[1] == -(-1_001 // kernel[1]) and found.valid.all()


def test_m2d_s_input_of_1001_frames_leaves_it_out(tmp_path: Path) -> None:
    model = converted("m2d", tmp_path, Layout((80, 1_001), kernel=(16, 4)))
    assert model.config.stem.whole == 250


def test_pre_trainings_of_m2d_s_are_converted(tmp_path: Path) -> None:
    """Its training also predicts the features of another model."""
    form = replace(M2D, kernel=(80, 2))
    parts = {"target_norm.weight": torch.ones(8), "offline_predictor.weight": torch.zeros(WIDTH, 8)}
    model = converted("m2d", tmp_path, form, **parts)
    assert model.config.stem.patch == (2, 80) and model.config.window_patches == 48


def test_m2d_s_front_end_is_slaney_s(tmp_path: Path) -> None:
    model = converted("m2d", tmp_path, M2D, norm_stats=torch.tensor([-6.5, 5.0]))
    wave = 0.2 * np.random.default_rng(0).standard_normal(160 * 60)
    filters = mel_filter_bank(201, 80, 50.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    hann = window_function(400, "hann", periodic=True)
    power = spectrogram(wave, hann, 400, 160, fft_length=400, power=2.0, center=True, pad_mode="reflect")
    theirs = (np.log(filters.T @ power + 2.0**-23).T + 6.5) / 5.0
    ours, _ = model.mel(torch.from_numpy(wave)[None])
    inside = slice(2, -2)  # theirs reflects the sound at its ends, ours is silent there
    np.testing.assert_allclose(ours[0].numpy()[inside], theirs[inside], rtol=0, atol=1e-4)
    peaks = filters.argmax(0) * 40.0  # the nearest bins of the spectrum
    assert np.abs(model.config.frontend.centres() - peaks).max() <= 20.0


@torch.no_grad()
def test_sslam_s_window_is_what_it_was_trained_on(tmp_path: Path) -> None:
    """Its table has positions of 768 time patches, 122.88 s."""
    model = converted("sslam", tmp_path, replace(EAT, image=(768 * 16, 128)))
    assert model.config.encoder.learned is None
    assert model.config.window_seconds == 10.24 and model.config.window_patches == 64


@pytest.mark.parametrize("more", ["", "-240413_AS-FT_enc"])
def test_m2d_at_32_khz_is_refused_by_its_folder(more: str, tmp_path: Path) -> None:
    folder = tmp_path / f"m2d_vit_base-80x1001p16x16p32k{more}"
    folder.mkdir()
    with pytest.raises(AaspError, match=r"p32k.* is the name of a model at 32 kHz") as error:
        converted("m2d", folder, M2D)
    assert "\n" not in str(error.value)
    converted("m2d", tmp_path, M2D)


@torch.no_grad()
@pytest.mark.parametrize("layout", LAYOUTS)
def test_positions_that_were_trained_are_kept_in_a_table(layout: str, tmp_path: Path) -> None:
    form = LAYOUTS[layout]
    moved = checkpoint(form)[form.positions] + 0.1 * torch.randn(WIDTH)
    model, mel = converted(layout, tmp_path, **{form.positions: moved}), torch.randn(1, 96, 128)
    expected = forward(form, checkpoint(form) | {form.positions: moved}, mel)
    assert model.config.encoder.learned == (6, 8)
    torch.testing.assert_close(model.embed(mel).tokens, expected[:, 1:], rtol=0, atol=1e-4)
    torch.testing.assert_close(model.embed(mel).cls, expected[:, 0], rtol=0, atol=1e-4)


SMALL = {
    "model.encoder.width": WIDTH, "model.encoder.depth": 2, "model.vector": "none", "model.encoder.heads": HEADS,
    "model.encoder.mlp_ratio": 2.0, "model.stem.encoder_width": 8, "predictor.width": 16, "predictor.depth": 1,
    "predictor.heads": 2, "losses.projector": "16,8",
}  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
def test_eat_s_convolution_grows_into_aape_unchanged(half: bool, tmp_path: Path) -> None:
    sines = checkpoint(EAT)[EAT.positions]
    rounded = sines.half().float()  # fairseq trains in fp16 and saves these too
    assert 1e-4 < (rounded - sines).abs().max() < 3e-4
    model = converted("eat", tmp_path, **{EAT.positions: rounded if half else sines})
    assert model.config.encoder.learned is None
    model.save(tmp_path / "eat")
    objective = build_objective(with_fields(recipes.get("aasp_base"), SMALL))
    lines = read_initial(tmp_path / "eat").load_into(objective)
    assert not any("did not fit" in line or "not used" in line for line in lines)
    grown = objective.get_submodule(objective.exported.removesuffix(".")).eval()
    assert grown.config.stem.kind == "aape"
    wave = 0.1 * torch.randn(1, 15_000)  # within the window of this small one
    before = convert(tmp_path / "published.pt", "eat", HEADS)(wave)
    torch.testing.assert_close(grown(wave).tokens, before.tokens, rtol=0, atol=1e-5)
    torch.testing.assert_close(grown(wave).clip, before.clip, rtol=0, atol=1e-5)


def test_a_table_of_positions_is_not_left_out_by_from(tmp_path: Path) -> None:
    moved = checkpoint(EAT)[EAT.positions] + 0.1 * torch.randn(WIDTH)
    converted("eat", tmp_path, **{EAT.positions: moved}).save(tmp_path / "eat")
    initial, recipe = read_initial(tmp_path / "eat"), with_fields(recipes.get("aasp_base"), SMALL)
    with pytest.raises(AaspError, match=r"eat: its positions are a table, .* --set model.encoder.learned=6,8") as error:
        initial.load_into(build_objective(recipe))
    assert "\n" not in str(error.value)
    objective = build_objective(with_fields(recipe, {"model.encoder.learned": "6,8"}))
    assert not any("not used" in line for line in initial.load_into(objective))
    encoder = objective.get_submodule(objective.exported.removesuffix("."))
    assert torch.equal(encoder.encoder.positions, initial.model.encoder.positions)
    # Where the grid is another one the table is of no use, and what differs says so.
    lines = initial.load_into(build_objective(with_fields(recipe, {"model.stem.patch": "16,32"})))
    assert "encoder.learned is the default, there [6, 8]" in lines[-1]


@pytest.mark.parametrize(
    ("layout", "form", "message"),
    [
        ("eat", AUDIO_MAE, r"has no modality_encoders.IMAGE.extra_tokens \(it has blocks.0"),
        ("audio-mae", EAT, "has no cls_token"),
        ("ast", AUDIO_MAE, "has no embeddings.cls_token"),
        ("audio-mae", replace(AUDIO_MAE, norm="fc_norm"), r"has no norm.weight"),
        ("audio-mae", replace(AUDIO_MAE, spare=("head.weight",)), r"has head.weight \(1 such\)"),
        ("audio-mae", replace(AUDIO_MAE, image=(96, 80)), "30 patches, not two or more columns of 8"),
        (
            "eat",
            replace(EAT, spare=("modality_encoders.IMAGE.alibi_scale",)),
            "has modality_encoders.IMAGE.alibi_scale",
        ),
    ],
)
def test_another_layout_is_refused(layout: str, form: Layout, message: str, tmp_path: Path) -> None:
    save_file(checkpoint(form), tmp_path / "other.safetensors")
    with pytest.raises(AaspError, match=message) as refused:
        convert(tmp_path / "other.safetensors", layout, HEADS)
    assert "\n" not in str(refused.value) and "other.safetensors" in str(refused.value)
