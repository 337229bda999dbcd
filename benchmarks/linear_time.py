"""How long linear evaluation takes beside the embedding that it needs: esc10, aasp_tiny, five folds, three seeds.

usage: python benchmarks/linear_time.py ESC10 [--model MODEL]

ESC10 is a copy of ESC-10; the weights of MODEL don't matter for the time, random ones are taken when it is left out.
Prints seconds of the processor (which other work on the machine lengthens less than seconds of the wall) and of the
wall, for embedding by the last layer and for each protocol with its intervals.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

import aasp
from aasp.datasets.benchmarks.open import open_labelled
from aasp.evaluate.features import clip_features
from aasp.evaluate.probe import scores
from aasp.evaluate.protocol import Protocol
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain import recipes

POOLINGS = ("mean", "flat+std")  # the narrowest and the widest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("esc10")
    parser.add_argument("--model")
    arguments = parser.parse_args()
    labelled = open_labelled("esc10", arguments.esc10)
    torch.manual_seed(0)
    encoder = aasp.load(arguments.model) if arguments.model else AudioEncoder(recipes.get("aasp_tiny").model).eval()

    seconds: dict[str, tuple[float, float]] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        started = time.process_time(), time.perf_counter()
        yield
        seconds[name] = time.process_time() - started[0], time.perf_counter() - started[1]

    features = {}
    for pooling in POOLINGS:
        with timed(f"embedding, {pooling}"):
            keys = Protocol.of("evar", (), (pooling,)).keys(encoder)
            features[pooling] = clip_features(encoder, labelled.sounds, keys)
    for pooling in POOLINGS:
        for preset in ("evar", "logistic", "knn"):
            protocol = Protocol.of(preset, (), (pooling,))
            with timed(f"{preset}, {pooling}, 3 seeds"):
                _, results = protocol.run(features[pooling], labelled, 3)
                scores(results)
    whole = seconds[f"embedding, {POOLINGS[0]}"]
    print(f"{len(labelled)} clips, 5 folds, {torch.get_num_threads()} thread(s)\n")
    print("| | processor, s | wall, s | share of embedding (processor) |\n|---|---|---|---|")
    for name, (processor, wall) in seconds.items():
        print(f"| {name} | {processor:.1f} | {wall:.1f} | {processor / whole[0]:.2f} |")


if __name__ == "__main__":
    main()
