"""Clips embedded per second at the size of aasp_base, from waveform to embedding, against AST and a plain ViT.

usage: python benchmarks/embed.py [--rounds N] [--threads N]

All have random weights, which do not affect speed. AST is transformers' ASTModel with its own feature extractor; ViT is
its ViTModel on a precomputed log-mel, with our number of tokens. bf16 is autocast over fp32 weights for all; on a
processor without a matrix unit for it, it is slower, and ours should run in fp32: rows show both. The share of padding
is counted at the transformer's input, while sounds of mixed lengths are embedded.
"""

from __future__ import annotations

import statistics
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor, nn
from transformers import ASTConfig, ASTFeatureExtractor, ASTModel, ViTConfig, ViTModel

from aasp.evaluate.features import embedded
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.encoder import EncoderConfig
from aasp.pretrain import recipes
from aasp.training.precision import has_fast_bf16
from harness import Row, Spread, alternately, memory_growth, options, ratio, report
from sounds import clips

SECONDS, RATE, CLIPS = 10.0, 16_000, 2
REMEMBERED = 4  # clips in the batch for memory measurements
MIXED, MIN_SECONDS, MAX_SECONDS = 100, 0.5, 30.0  # sounds of mixed lengths: number, and seconds
WIDTH, DEPTH = 768, 12
DEVICE = torch.accelerator.current_accelerator() or torch.device("cpu")


def main() -> None:
    arguments = options(__doc__, rounds=5).parse_args()
    torch.set_num_threads(arguments.threads)
    took = alternately(
        {
            f"{model} {precision}": _in(precision, MODELS[model](CLIPS))
            for model in MODELS
            for precision in ("fp32", "bf16")
        },
        arguments.rounds,
    )
    chosen = "bf16" if has_fast_bf16(DEVICE) else "fp32"
    second = {name: statistics.median(times) / CLIPS for name, times in took.items()}
    ours_tokens, ast_tokens = 1 + 63 * 8, 2 + 12 * 101
    work = f"AST reads {ast_tokens} tokens, ours {ours_tokens}: {_flop(ast_tokens) / _flop(ours_tokens):.2f} × the FLOP"

    def row(theirs: str, ours: str, reach: str = "", more: str = "") -> Row:
        rate = _flop(ours_tokens) / second[ours] / 1e9
        detail = f"{second[theirs]:.3f} and {second[ours]:.3f} s a clip of {SECONDS:g} s; ours at {rate:.0f} GFLOP/s"
        return Row(f"{theirs} over {ours}", ratio(took[theirs], took[ours]), reach, detail + (more and f"; {more}"))

    ast_memory, our_memory = (memory_growth(MODELS[model], REMEMBERED) for model in ("AST", "ours"))
    rows = [
        row("AST fp32", f"ours {chosen}", ">= 10", work),
        row("AST bf16", "ours bf16", ">= 4", f"most of it is the smaller grid: {work}"),
        row("AST bf16", "ours fp32"),
        row("AST fp32", f"ours {'bf16' if chosen == 'fp32' else 'fp32'}"),
        row("ViT bf16", "ours bf16", ">= 1.2"),
        row("ViT bf16", "ours fp32"),
        row("ViT fp32", "ours fp32"),
        Row(
            "peak memory, AST over ours",
            Spread.of([ast_memory / our_memory]),
            detail=f"{ast_memory:.0f} and {our_memory:.0f} MiB over weights and waveforms, {REMEMBERED} clips, fp32",
        ),
        *padding(),
    ]
    report("embed", rows, arguments.threads)


def _in(precision: str, run: Callable[[], object]) -> Callable[[], object]:
    def wrapped() -> None:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == "bf16"):
            run()

    return wrapped


def _flop(tokens: int) -> float:
    """Floating-point operations of a ViT-Base's products and attention on that many tokens."""
    return DEPTH * (24 * tokens * WIDTH**2 + 4 * tokens**2 * WIDTH)


def ours(count: int) -> Callable[[], object]:
    encoder = AudioEncoder(recipes.get("aasp_base").model).to(DEVICE).eval()
    waves = torch.from_numpy(clips(count, SECONDS)).to(DEVICE)
    return torch.inference_mode()(lambda: encoder(waves).clip)


def ast(count: int) -> Callable[[], object]:
    warnings.filterwarnings("ignore", "At least one mel filter")  # the extractor's own choice of bins
    model, extract = ASTModel(ASTConfig()).to(DEVICE).eval(), ASTFeatureExtractor()
    waves = list(clips(count, SECONDS))
    features = lambda: extract(waves, sampling_rate=RATE, return_tensors="pt").input_values.to(DEVICE)
    return torch.inference_mode()(lambda: model(features()).pooler_output)


def vit(count: int) -> Callable[[], object]:
    config = ViTConfig(image_size=(128, 63 * 16), patch_size=16, num_channels=1)  # type: ignore[arg-type]
    model = ViTModel(config, add_pooling_layer=False).to(DEVICE).eval()
    mel = torch.randn(count, 1, 128, 63 * 16, device=DEVICE)
    return torch.inference_mode()(lambda: model(mel).last_hidden_state[:, 0])


MODELS = {"ours": ours, "AST": ast, "ViT": vit}


def padding() -> list[Row]:
    """The share of tokens that are padding when sounds of mixed lengths are embedded."""
    model = recipes.get("aasp_base").model
    encoder = AudioEncoder(replace(model, encoder=EncoderConfig(12, 1, 3, norm="post"))).eval()  # the same grid
    counts = [0, 0]

    def count(_: nn.Module, inputs: tuple[Tensor, Tensor | None, bool]) -> None:
        tokens, valid = inputs[:2]
        counts[0] += tokens.shape[0] * tokens.shape[1]
        counts[1] += tokens.shape[0] * tokens.shape[1] if valid is None else int(valid.sum())

    encoder.encoder.register_forward_pre_hook(count)
    random = np.random.default_rng(0)
    seconds = MIN_SECONDS * (MAX_SECONDS / MIN_SECONDS) ** random.random(MIXED)
    wave = clips(1, MAX_SECONDS)[0]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, f"{number}.wav")) for number in range(MIXED)]
        for path, length in zip(paths, seconds, strict=True):
            soundfile.write(path, wave[: round(length * RATE)], RATE)
        for number in (MIXED // 4, MIXED):
            counts[:] = 0, 0
            batches = sum(1 for _ in embedded(encoder, paths[:number]))
            share = 1 - counts[1] / counts[0]
            lengths = f"lengths log-uniform from {MIN_SECONDS:g} to {MAX_SECONDS:g} s"
            detail = f"{batches} batches, {lengths}, as `aasp embed` does"
            rows.append(Row(f"padding's share of tokens, {number} mixed sounds", Spread.of([share]), "<= 0.2", detail))
    return rows


if __name__ == "__main__":
    main()
