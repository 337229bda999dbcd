"""Put the model of a run into the package: its configuration with its recipe's vector, its weights in fp16.

usage: python benchmarks/package_model.py RUN [--out src/aasp/packaged/aasp-tiny]

The card beside it, README.md, is kept. Rounded weights are loaded in fp32 again; the effect of rounding is printed.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from aasp.config import to_dict
from aasp.model.audio_encoder import AudioEncoder, load
from aasp.pretrain import recipes
from aasp.weights import write_directory

CARD = "README.md"


def package(run: Path, out: Path) -> tuple[int, float]:
    """Write the model.

    Returns:
        Bytes of the weights, and the largest change of the default vector of noise, over its deviation.
    """
    trained = load(run)
    config = replace(trained.config, vector=recipes.get("aasp_tiny").model.vector)
    encoder = AudioEncoder(config).eval()
    encoder.load_state_dict(trained.state_dict())
    halves = {name: x.half() if x.is_floating_point() else x for name, x in encoder.state_dict().items()}
    card = (out / CARD).read_bytes() if (out / CARD).exists() else None
    (out / CARD).unlink(missing_ok=True)  # while it is written, a model's folder may contain nothing else
    try:
        write_directory(out, {"config.json": to_dict(config)}, halves)
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
    default = Path(__file__).parents[1] / "src" / "aasp" / "packaged" / "aasp-tiny"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    size, moved = package(arguments.run, arguments.out)
    print(f"{arguments.out}: {size / 1e6:.2f} MB of weights; fp16 moves the vector of noise by {moved:.1e} deviations")


if __name__ == "__main__":
    main()
