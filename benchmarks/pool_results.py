"""The pre-training tables of docs/results.md, on `pool`.

usage: python benchmarks/pool_results.py RUN... --data DATA [--json FILE] [--cache FOLDER]

RUN are runs of `aasp pretrain`, one per seed. For each there is an untrained encoder of the same architecture and
probe, and the same log-mel baselines. Every choice (layer, pooling, penalty) is made on validation parts, for all
alike. DATA contains esc10, speech_commands_v2_test12, nsynth_like and langid6, each with an index.csv.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

import aasp
from aasp.aliasing.kernels.estimates import How, intervene
from aasp.audio.io import read
from aasp.datasets.benchmarks.index import open_index
from aasp.datasets.index import read_index
from aasp.evaluate.baselines import fixed_probe, statistics_40, statistics_128
from aasp.evaluate.features import clip_features
from aasp.evaluate.linear import linear_probe
from aasp.evaluate.probe import ProbeResult, scores
from aasp.evaluate.task import Task
from aasp.model.audio_encoder import AudioEncoder
from aasp.stems.lambda_encoder import ALPHA_RANGE, beta_range, saturated


@dataclass(frozen=True)
class Question:
    """A labelled set, its label column, and the units that the bootstrap resamples."""

    folder: str
    label: str
    split: str
    cluster: str | None


QUESTIONS = [
    Question("esc10", "label", "fold", "src_file"),
    Question("speech_commands_v2_test12", "label", "split", "speaker"),
    Question("nsynth_like", "label", "split", "instrument"),
    Question("nsynth_like", "pitch", "split", "instrument"),
    Question("langid6", "label", "split", None),  # its test part is one source: clips are resampled
]
PRETRAINED, UNTRAINED = "pre-trained", "untrained"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Sets:
    """Indices, tasks and embeddings, each computed once."""

    def __init__(self, data: Path, cache: Path | None) -> None:
        self.data, self.cache = data, cache
        self.features: dict[tuple[str, str], Mapping[Any, np.ndarray]] = {}

    def columns(self, question: Question) -> dict[str, list[str]]:
        table = read_index(str(self.data / question.folder / "index.csv"))
        return {name: [str(v) for v in table.column(name).to_pylist()] for name in table.column_names}

    def task(self, question: Question) -> Task:
        index = self.data / question.folder / "index.csv"
        return Task.of(open_index(index, question.label, question.split, question.cluster), choose="next_fold")

    def paths(self, folder: str) -> list[str]:
        return [str(p) for p in self.columns(Question(folder, "label", "split", None))["path"]]

    def embed(self, name: str, folder: str, compute: Callable[[list[str]], Any]) -> Any:
        if (name, folder) not in self.features:
            kept = self.cache and self.cache / f"{name} {folder}.npz"
            if kept and kept.exists():
                with np.load(kept) as file:
                    found = {ast.literal_eval(key): file[key] for key in file.files}
            else:
                say(f"  embedding {folder} with {name}")
                computed = compute(self.paths(folder))
                found = computed if isinstance(computed, dict) else {"statistics": computed}
                if kept:
                    np.savez(kept, **{repr(key): value for key, value in found.items()})
            self.features[name, folder] = found
        return self.features[name, folder]


def points(values: np.ndarray) -> str:
    return f"{100 * np.mean(values):.1f}"


def difference(ours: list[ProbeResult], theirs: list[ProbeResult]) -> str:
    lead = scores(ours, minus=theirs)["accuracy"]
    text = lead.percent("+")
    return f"**{text}**" if lead.excludes_zero() and lead.estimate > 0 else text


def lambda_spread(model: AudioEncoder, paths: list[str]) -> dict[str, float]:
    """Standard deviation of alpha and beta between clips (of clip means) and within a clip, and saturation."""
    per_clip: dict[str, list[np.ndarray]] = {"alpha": [], "beta": []}
    for path in paths:
        with torch.inference_mode():
            mel, _ = model.frontend(torch.from_numpy(read(path))[None])
            for name, value in zip(per_clip, model.stem.estimate(mel), strict=True):
                per_clip[name].append(value[0].flatten(0, 1).numpy())
    out = {}
    for name, bounds in (("alpha", ALPHA_RANGE), ("beta", beta_range(model.stem.patch[0]))):
        values = per_clip[name]
        low, high = saturated(np.concatenate(values), bounds)
        out[f"{name} between clips"] = float(np.std([v.mean(0) for v in values], axis=0).mean())
        out[f"{name} within a clip"] = float(np.mean([v.std(0) for v in values]))
        out[f"{name} saturated"] = float((low | high).mean())
    return out


def with_heads(result: ProbeResult, features: Mapping[Any, np.ndarray], task: Task) -> float:
    """Accuracy of heads trained on intact features when applied to changed ones."""
    hits = []
    for r, chosen in zip(task.rounds, result.chosen, strict=True):
        predicted = chosen.head.probabilities(features[chosen.key][r.test]).argmax(1)
        hits.append(predicted == task.y[r.test])
    return float(np.concatenate(hits).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cache", type=Path, help="existing folder to keep embeddings in; empty it for other runs")
    arguments = parser.parse_args()

    def pretrained(seed: int) -> AudioEncoder:
        return aasp.load(arguments.runs[seed])

    def untrained(seed: int) -> AudioEncoder:
        config = pretrained(seed).config
        torch.manual_seed(1000 + seed)
        return AudioEncoder(config).eval()

    encoders = {PRETRAINED: pretrained, UNTRAINED: untrained}
    seeds = range(len(arguments.runs))
    sets = Sets(arguments.data, arguments.cache)
    rows, choices, records, kept = [], [], [], {}
    for question in QUESTIONS:
        task, folder = sets.task(question), question.folder
        name = folder if question.label == "label" else f"{folder} {question.label}"
        say(name)
        results: dict[str, list[ProbeResult]] = {}
        for system, build in encoders.items():
            results[system] = [
                linear_probe(sets.embed(f"{system} {s}", folder, partial(clip_features, build(s))), task) for s in seeds
            ]
        results["log-mel 128, same protocol"] = [linear_probe(sets.embed("log-mel 128", folder, statistics_128), task)]
        results["log-mel 40 statistics"] = [
            fixed_probe(sets.embed("log-mel 40", folder, statistics_40)["statistics"], task)
        ]
        ours = results[PRETRAINED]
        for system, found in results.items():
            score = scores(found)["accuracy"].percent()
            each = ", ".join(points(r.correct) for r in found)
            against = "" if system == PRETRAINED else difference(ours, found)
            rows.append(f"| {name} | {system} | {score} | {each} | {against} |")
            records.append({"task": name, "system": system, "accuracy": [float(np.mean(r.correct)) for r in found]})
            for s, r in enumerate(found):
                picked = "; ".join(f"{c.key}" for c in r.chosen)
                choices.append(f"| {name} | {system} {s} | {picked} |")
        if question.split == "fold":
            fold = np.array(sets.columns(question)["fold"])[ours[0].test]
            late = np.isin(fold, ["4", "5"])
            for system, found in results.items():
                rows.append(
                    f"| {name}, folds 4–5 | {system} | {points(np.stack([r.correct[late] for r in found]))} | | |"
                )
        if folder in ("esc10", "speech_commands_v2_test12"):
            kept[name] = (question, task, results)
        if question.label == "pitch":
            by_layer = {}
            for system in encoders:
                features = sets.features[f"{system} 0", folder]
                for layer in sorted({k[0] for k in features}):
                    only = {k: v for k, v in features.items() if k[0] == layer}
                    by_layer.setdefault(layer, []).append(points(linear_probe(only, task).correct))
            pitch = [f"| {layer} | {' | '.join(v)} |" for layer, v in by_layer.items()]

    print("| set | encoder | accuracy, % [95 %] | each seed | pre-trained minus this, paired [95 %] |")
    print("|---|---|---|---|---|")
    print("\n".join(rows))
    print("\nNSynth-like pitch by layer, seed 0, % \n\n| layer | pre-trained | untrained |\n|---|---|---|")
    print("\n".join(pitch))

    print("\nWhat Λ does, seed by seed\n\n| set | encoder | intact | Λ shuffled | Λ mean | SBLU off |")
    print("|---|---|---|---|---|---|")
    for name, (question, task, results) in kept.items():
        for system, build in encoders.items():
            for s in seeds:
                intact = results[system][s]
                changed = []
                for how in get_args(How):
                    model = build(s)
                    model.stem = intervene(model.stem, how)
                    keys = {c.key for c in intact.chosen}
                    features = clip_features(model, sets.paths(question.folder), sorted(keys))
                    changed.append(with_heads(intact, features, task))
                shown = " | ".join(f"{100 * v:.1f}" for v in changed)
                print(f"| {name} | {system} {s} | {points(intact.correct)} | {shown} |", flush=True)
    print("\nSpread of Λ over esc10 (α per frame, β in rad per frame)\n")
    for index, (system, build) in enumerate((sy, b) for sy, b in encoders.items()):
        for s in seeds:
            spread = lambda_spread(build(s), sets.paths("esc10")[::4])
            if index == 0 and s == 0:
                print("| encoder | " + " | ".join(spread) + " |\n|---" * (1) + "|---" * len(spread) + "|")
            print(f"| {system} {s} | " + " | ".join(f"{v:.3f}" for v in spread.values()) + " |")
    print("\nWhat validation chose: (layer, pooling) for each fold\n\n| set | encoder | chosen |\n|---|---|---|")
    print("\n".join(choices))
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
