"""BEATs converted: equal to a forward pass written from its paper and the published layout; its parts by themselves."""

from __future__ import annotations

import math
from pathlib import Path

import kaldi_native_fbank
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from aasp.cli.main import main
from aasp.convert.layouts import convert
from aasp.errors import AaspError
from aasp.model.audio_classifier import AudioClassifier
from aasp.model.audio_encoder import AudioEncoder, load
from aasp.model.positions import Places
from aasp.model.relative import buckets

WIDTH, DEPTH, HEADS, HIDDEN, CHANNELS, KERNEL, GROUPS, BUCKETS, FURTHEST = 24, 2, 3, 48, 20, 6, 4, 16, 12
CFG = {
    "encoder_layers": DEPTH, "encoder_embed_dim": WIDTH, "encoder_attention_heads": HEADS, "activation_fn": "gelu",
    "layer_norm_first": False, "deep_norm": True, "relative_position_embedding": True, "gru_rel_pos": True,
    "num_buckets": BUCKETS, "max_distance": FURTHEST, "conv_pos": KERNEL, "conv_pos_groups": GROUPS,
}  # fmt: skip


def checkpoint(seed: int = 0) -> dict[str, Tensor]:
    """Random tensors under the published names, in the published shapes."""
    draw = torch.Generator().manual_seed(seed)
    rand = lambda *shape: 0.3 * torch.randn(*shape, generator=draw)
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embedding.weight": (CHANNELS, 1, 16, 16), "post_extract_proj.weight": (WIDTH, CHANNELS),
        "post_extract_proj.bias": (WIDTH,), "encoder.pos_conv.0.bias": (WIDTH,),
        "encoder.pos_conv.0.weight_g": (1, 1, KERNEL), "encoder.pos_conv.0.weight_v": (WIDTH, WIDTH // GROUPS, KERNEL),
    }  # fmt: skip
    for n in range(DEPTH):
        own = f"encoder.layers.{n}."
        for part in ("q", "k", "v", "out"):
            shapes |= {
                f"{own}self_attn.{part}_proj.weight": (WIDTH, WIDTH),
                f"{own}self_attn.{part}_proj.bias": (WIDTH,),
            }
        shapes |= {f"{own}self_attn.grep_linear.weight": (8, WIDTH // HEADS), f"{own}self_attn.grep_linear.bias": (8,)}
        shapes |= {f"{own}self_attn.grep_a": (1, HEADS, 1, 1), f"{own}fc1.weight": (HIDDEN, WIDTH)}
        shapes |= {f"{own}fc1.bias": (HIDDEN,), f"{own}fc2.weight": (WIDTH, HIDDEN), f"{own}fc2.bias": (WIDTH,)}
    held = {name: rand(*shape) for name, shape in shapes.items()}
    held["encoder.pos_conv.0.weight_g"] = 1 + held["encoder.pos_conv.0.weight_g"].abs()
    norms = [
        f"encoder.layers.{n}.{name}" for n in range(DEPTH) for name in ("self_attn_layer_norm", "final_layer_norm")
    ]
    for name in (*norms, "encoder.layer_norm", "layer_norm"):
        width = CHANNELS if name == "layer_norm" else WIDTH
        held |= {f"{name}.weight": 1 + rand(width), f"{name}.bias": rand(width)}
    shared = rand(BUCKETS, HEADS)  # one module, and so under the name of every layer
    return held | {f"encoder.layers.{n}.self_attn.relative_attention_bias.weight": shared for n in range(DEPTH)}


def bucket(distance: int) -> int:
    """T5's bucket of a key at this distance after its query, in plain arithmetic."""
    half, exact, size = BUCKETS // 2, BUCKETS // 4, abs(distance)
    if size >= exact:
        size = exact + int(math.log(size / exact) / math.log(FURTHEST / exact) * (half - exact))
    return min(size, half - 1) + (half if distance > 0 else 0)


def forward(p: dict[str, Tensor], mel_TM: Tensor) -> Tensor:
    """Patch tokens (N, D) of one clip, from the paper."""
    norm = lambda name, x: functional.layer_norm(x, (x.shape[-1],), p[f"{name}.weight"], p[f"{name}.bias"], 1e-5)
    linear = lambda name, x: x @ p[f"{name}.weight"].T + p[f"{name}.bias"]
    x = functional.conv2d(mel_TM[None, None], p["patch_embedding.weight"], stride=16)[0].flatten(1).T
    x = linear("post_extract_proj", norm("layer_norm", x))
    v, g = (p[f"encoder.pos_conv.0.weight_{part}"] for part in "vg")
    weight = torch.stack([g[0, 0, k] * v[..., k] / v[..., k].square().sum().sqrt() for k in range(KERNEL)], dim=-1)
    row = functional.conv1d(x.T[None], weight, p["encoder.pos_conv.0.bias"], padding=KERNEL // 2, groups=GROUPS)
    x = norm("encoder.layer_norm", x + functional.gelu(row[0, :, : len(x)].T))
    table = p["encoder.layers.0.self_attn.relative_attention_bias.weight"]
    bias_NMH = torch.stack([torch.stack([table[bucket(m - n)] for m in range(len(x))]) for n in range(len(x))])
    alpha, size = (2 * DEPTH) ** 0.25, WIDTH // HEADS
    for block in range(DEPTH):
        own = f"encoder.layers.{block}."
        q, k, v = (linear(f"{own}self_attn.{part}_proj", x) for part in "qkv")
        heads = []
        for h in range(HEADS):
            here = slice(h * size, (h + 1) * size)
            gate = linear(f"{own}self_attn.grep_linear", q[:, here]).reshape(-1, 2, 4).sum(-1).sigmoid()
            factor = gate[:, 0] * (gate[:, 1] * p[f"{own}self_attn.grep_a"][0, h, 0, 0] - 1) + 2
            scores = q[:, here] @ k[:, here].T / size**0.5 + factor[:, None] * bias_NMH[..., h]
            heads.append(scores.softmax(-1) @ v[:, here])
        attended = linear(f"{own}self_attn.out_proj", torch.cat(heads, dim=-1))
        x = norm(f"{own}self_attn_layer_norm", alpha * x + attended)
        hidden = linear(f"{own}fc2", functional.gelu(linear(f"{own}fc1", x)))
        x = norm(f"{own}final_layer_norm", alpha * x + hidden)
    return x


def written(folder: Path, changes: dict[str, Tensor] | None = None, **cfg: object) -> Path:
    torch.save({"cfg": CFG | cfg, "model": checkpoint() | (changes or {})}, folder / "BEATs.pt")
    return folder / "BEATs.pt"


@pytest.fixture
def model(tmp_path: Path) -> AudioEncoder:
    found = convert(written(tmp_path), "beats")
    assert isinstance(found, AudioEncoder)
    return found


@torch.no_grad()
def test_log_mels_are_encoded_as_the_paper_does(model: AudioEncoder) -> None:
    mel = torch.randn(2, 96, 128, generator=torch.Generator().manual_seed(1))
    found, expected = model.embed(mel), torch.stack([forward(checkpoint(), one) for one in mel])
    torch.testing.assert_close(found.tokens, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.clip, expected.mean(1), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.cls, expected.mean(1), rtol=0, atol=1e-4)  # there is no class token
    assert expected.std() > 0.3 and expected.std(1).min() > 1e-3


@torch.no_grad()
def test_waveforms_are_read_as_kaldi_reads_them(model: AudioEncoder, tmp_path: Path) -> None:
    """Samples of 16 bits through Kaldi's Povey window; the first 0.6 s so quiet that our usual floor would be seen."""
    rng = np.random.default_rng(0)
    wave = (0.1 * rng.standard_normal(16_000)).astype(np.float32)
    wave[:9_600] *= 1e-5
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = 128
    options.use_energy = False
    assert options.frame_opts.window_type == "povey"
    bank = kaldi_native_fbank.OnlineFbank(options)
    bank.accept_waveform(16_000, (wave * 2.0**15).tolist())
    bank.input_finished()
    mel = np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])
    given = torch.from_numpy((mel - 15.41663) / (2 * 6.55582))
    ours, frames = model.frontend(torch.from_numpy(wave)[None].double())
    assert frames.tolist() == [len(mel)]
    torch.testing.assert_close(ours[0].float(), given, rtol=0, atol=1e-4)
    assert mel[:50].max() < math.log(2.0**-23 * 2.0**30), "below the floor of samples in -1..1"
    model.save(tmp_path / "converted")
    again = load(tmp_path / "converted")
    wave = wave[: 160 * 95 + 400]  # 96 whole frames
    torch.testing.assert_close(
        again(torch.from_numpy(wave)[None]).tokens[0], forward(checkpoint(), given[:96]), rtol=0, atol=1e-4
    )


@torch.no_grad()
def test_an_incomplete_last_patch_is_left_out_as_by_their_convolution(model: AudioEncoder) -> None:
    wave = 0.1 * torch.randn(1, 160_000, generator=torch.Generator().manual_seed(3))  # ten seconds
    mel, frames = model.mel(wave)
    expected = forward(checkpoint(), mel[0].float())
    assert frames.tolist() == [998] and len(expected) == 62 * 8
    torch.testing.assert_close(model(wave).tokens[0], expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_padding_and_a_view_s_gaps(model: AudioEncoder) -> None:
    mel = torch.randn(2, 96, 128, generator=torch.Generator().manual_seed(1))
    short = mel[:1, :48]
    padded = torch.cat([torch.nn.functional.pad(short, (0, 0, 0, 48)), mel[1:]])
    together = model.embed(padded, torch.tensor([48, 96]))
    torch.testing.assert_close(together.tokens[0, :24], model.embed(short).tokens[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(together.clip[0], model.embed(short).clip[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(together.cls[0], model.embed(short).cls[0], rtol=0, atol=1e-5)
    # Places that are named, in any order, are those of the grid; and a view's tokens stay where they are.
    tokens, order = model.stem(mel), torch.randperm(48, generator=torch.Generator().manual_seed(0))
    whole = model.encoder(tokens, Places((6, 8))).last[:, 1:]
    named = model.encoder(tokens[:, order], Places((6, 8), order.expand(2, -1))).last[:, 1:]
    torch.testing.assert_close(named, whole[:, order], rtol=0, atol=1e-5)
    every, kept = torch.zeros(2, 48, dtype=torch.bool), order[:12].sort().values
    every[:, kept] = True
    masked = model.encoder(tokens, Places((6, 8)), every).last[:, 1:][:, kept]
    seen = model.encoder(tokens[:, kept], Places((6, 8), kept.expand(2, -1))).last[:, 1:]
    torch.testing.assert_close(seen, masked, rtol=0, atol=1e-5)


def test_distances_fall_into_t5_s_buckets() -> None:
    distances = torch.arange(-30, 31)
    assert buckets(distances, BUCKETS, FURTHEST).tolist() == [bucket(d) for d in distances.tolist()]
    published = buckets(torch.tensor([0, 79, 80, 799, 800, 5_000, -1, -800]), 320, 800).tolist()
    assert published == [0, 239, 240, 319, 319, 319, 1, 159]


@torch.no_grad()
def test_a_fine_tuned_one_becomes_a_classifier(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(2)
    weight, bias = torch.randn(5, WIDTH, generator=draw), torch.randn(5, generator=draw)
    file = written(tmp_path, {"predictor.weight": weight, "predictor.bias": bias}, finetuned_model=True)
    assert main(["convert", str(file), "--as", "beats", "--out", str(tmp_path / "made")]) == 0
    model, mel = convert(file, "beats"), torch.randn(1, 96, 128, generator=draw)
    assert isinstance(model, AudioClassifier) and model.config.norm == "none"
    found = model.encoder.embed(mel)
    logits = model.classify([(found.tokens, found.cls)], torch.ones(1, 6, dtype=torch.bool))
    expected = (forward(checkpoint(), mel[0]) @ weight.T + bias).mean(0)  # there of every token, then the mean
    torch.testing.assert_close(logits[0], expected, rtol=0, atol=1e-4)
    assert model.config.multilabel, "its sigmoid is part of the published model"
    assert model.config.classes == tuple(f"class {n}" for n in range(5))
    content = torch.load(file, weights_only=True)
    torch.save(content | {"label_dict": {n: f"/m/{n}" for n in reversed(range(5))}}, file)
    named = convert(file, "beats")
    assert isinstance(named, AudioClassifier) and named.config.classes == tuple(f"/m/{n}" for n in range(5))
    torch.save(content | {"label_dict": {0: "/m/0"}}, file)
    with pytest.raises(AaspError, match=r"5 classes, which id2label in config.json beside it, or label_dict in it"):
        convert(file, "beats")


@pytest.mark.parametrize(
    ("cfg", "changes", "complaint"),
    [
        ({"deep_norm": False}, {}, "cfg has deep_norm = False, where the published BEATs have True"),
        ({"activation_fn": "glu"}, {}, "cfg has activation_fn = glu"),
        ({"encoder_attention_heads": 5}, {}, "width 24 is not a multiple of 5 heads"),
        ({}, {"encoder.layers.1.self_attn.grep_a": torch.ones(1, 2, 1, 1)}, r"grep_a is \(1, 2, 1, 1\), not"),
        ({}, {"mask_emb": torch.ones(24)}, "has mask_emb"),
    ],
)
def test_other_forms_are_refused(tmp_path: Path, cfg: dict, changes: dict[str, Tensor], complaint: str) -> None:
    with pytest.raises(AaspError, match=complaint) as error:
        convert(written(tmp_path, changes, **cfg), "beats")
    assert "\n" not in str(error.value)


def test_no_heads_are_refused_instead_of_those_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(AaspError, match="width 24 is not a multiple of 0 heads"):
        convert(written(tmp_path, {}), "beats", heads=0)
