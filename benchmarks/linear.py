"""Duration of linear probing relative to the embedding it needs: esc10, aasp_tiny, five folds, three seeds.

usage: python benchmarks/linear.py [--data DATA] [--threads N] [--rounds N]

DATA, or $AASP_DATA, contains the folder `esc10`. Weights are random, which does not affect speed. Each round embeds the
set by the last layer and probes by each protocol, intervals included.
"""

from __future__ import annotations

from pathlib import Path

import torch

from aasp.datasets.benchmarks.open import open_labelled
from aasp.evaluate.features import clip_features
from aasp.evaluate.probe import scores
from aasp.evaluate.protocol import Protocol
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain import recipes
from harness import Row, Spread, alternately, data_folder, options, ratio, report

POOLINGS = ("mean", "flat+std")  # the narrowest and the widest
PRESETS = ("evar", "logistic", "knn")


def main() -> None:
    parser = options(__doc__, rounds=3)
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    labelled = open_labelled("esc10", str(data_folder(arguments.data) / "esc10"))
    torch.manual_seed(0)
    encoder = AudioEncoder(recipes.get("aasp_tiny").model).eval()
    keys = {pooling: Protocol.of("evar", (), (pooling,)).keys(encoder) for pooling in POOLINGS}
    embed = lambda pooling: clip_features(encoder, labelled.sounds, keys[pooling])
    features = {pooling: embed(pooling) for pooling in POOLINGS}

    def probe(preset: str, pooling: str) -> None:
        _, results = Protocol.of(preset, (), (pooling,)).run(features[pooling], labelled, 3)
        scores(results)

    things = {"embedding": lambda: embed("mean")}
    for pooling in POOLINGS:
        for preset in PRESETS:
            things[f"{preset}, {pooling}"] = lambda preset=preset, pooling=pooling: probe(preset, pooling)
    took = alternately(things, arguments.rounds, warmup=0)
    minutes = {name: Spread.of(seconds).median / 60 for name, seconds in took.items()}
    rows = [
        Row(
            f"{name}: {len(labelled)} clips, 5 folds, 3 seeds, over embedding them",
            ratio(took[name], took["embedding"]),
            "<= 1",
            f"{minutes[name]:.2g} minutes, embedding {minutes['embedding']:.2g}",
        )
        for name in took
        if name != "embedding"
    ]
    report("linear", rows, arguments.threads)


if __name__ == "__main__":
    main()
