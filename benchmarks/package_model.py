"""Put the model of a run into the package: with its recipe's vector, whitened on DATA, and its weights in fp16.

usage: python benchmarks/package_model.py RUN --data DATA [--excerpts 12000] [--out src/aasp/packaged/aasp-tiny]

DATA is what it was trained on. The card beside it, README.md, is kept. Rounded weights are loaded in fp32 again; the
effect of rounding is printed.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from aasp.cli.progress import bar
from aasp.config import to_dict
from aasp.datasets.manifest import Manifest
from aasp.evaluate.whitening import excerpts, plain_weights, whitened
from aasp.model.audio_encoder import AudioEncoder, load
from aasp.pretrain import recipes
from aasp.weights import write_directory

CARD = "README.md"
WHOLE = ("whitening.mean", "whitening.scale")
"""Tensors that keep their precision: their difference and quotient are what counts."""


def package(run: Path, data: Path, out: Path, most: int = 12_000) -> tuple[int, float]:
    """Write the model, its whitening learned from at most `most` excerpts.

    Returns:
        Bytes of the weights, and the largest change of the default vector of noise, over its deviation.
    """
    trained = load(run)
    plain = AudioEncoder(replace(trained.config, vector=recipes.get("aasp_tiny").model.vector, whitened=0)).eval()
    plain.load_state_dict(plain_weights(trained))
    sounds = excerpts(Manifest.open(data)[0], most)
    with bar("embedding") as show:
        encoder = whitened(plain, sounds, progress=show)
    halves = {
        name: x.half() if x.is_floating_point() and name not in WHOLE else x for name, x in encoder.state_dict().items()
    }
    card = (out / CARD).read_bytes() if (out / CARD).exists() else None
    (out / CARD).unlink(missing_ok=True)  # while it is written, a model's folder may contain nothing else
    try:
        learned = {"whitened_on": f"{len(sounds):,} excerpts of {data.name}, seed 0"}
        write_directory(out, {"config.json": to_dict(encoder.config)}, halves, learned)
    finally:
        if card is not None:
            out.mkdir(parents=True, exist_ok=True)
            (out / CARD).write_bytes(card)
    wave = 0.1 * torch.randn(4, 48_000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = encoder(wave).clip, load(out)(wave).clip
    return (out / "model.safetensors").stat().st_size, float((after - before).abs().max() / before.std())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--excerpts", type=int, default=12_000)
    default = Path(__file__).parents[1] / "src" / "aasp" / "packaged" / "aasp-tiny"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    size, moved = package(arguments.run, arguments.data, arguments.out, arguments.excerpts)
    print(f"{arguments.out}: {size / 1e6:.2f} MB of weights; fp16 moves the vector of noise by {moved:.1e} deviations")


if __name__ == "__main__":
    main()
