"""`aasp linear`: linear probing and nearest neighbours on frozen models."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from aasp.cli.arguments import parse
from aasp.cli.inputs import check_models
from aasp.cli.labelled import LabelledOptions
from aasp.cli.progress import bar
from aasp.cli.running import RunningOptions
from aasp.errors import AaspError
from aasp.files import cache_folder, check_output
from aasp.model.folder import default_model

if TYPE_CHECKING:
    import numpy as np

    from aasp.cli.linear_others import Other
    from aasp.datasets.index import Skipped
    from aasp.datasets.labelled import LabelledSet
    from aasp.evaluate.protocol import Protocol
    from aasp.model.audio_encoder import AudioEncoder


@dataclass(frozen=True, kw_only=True)
class Linear(LabelledOptions, RunningOptions):
    """Evaluate frozen models on a labelled set: a benchmark, or your own index.

    evar, the field's protocol: standardise, train one linear layer by Adam, stop early on the valid part (a tenth of
    train, in whole groups, if there is none), three seeds. logistic: logistic regression; layer, pooling and penalty
    chosen on the valid part (with folds, the next one), refitted on train and valid. ridge, on one-hot labels, and knn,
    a vote of the nearest neighbours: chosen likewise. With --task regression, ridge regression predicts the numbers;
    the scores are R² and mean absolute error. The test part is scored once. Intervals are 95 % bootstraps over groups
    and seeds; further models are compared with the first, paired.
    """

    models: tyro.conf.Positional[tuple[str, ...]]
    """Folders of models or of runs, or models on the hub; by default the model in the package, unless --encoder is
    given."""
    encoder: tuple[str, ...] = ()
    """Other encoders to compare with, each with one vector per clip: birdnet, the folder of a transformers model (AST,
    CLAP, Wav2Vec2, …) or its name on the hub, or your own function, file.py:name or package.module:name."""
    protocol: Literal["evar", "logistic", "knn", "ridge"] | None = None
    """Protocol: classifier on the embeddings and model selection; evar by default, ridge with --task regression."""
    seeds: int | None = None
    """Repeats: of EVAR's training, and of the held-out tenth. 3 for evar, else 1."""
    layer: tuple[str, ...] = ()
    """From 0, the input of the first block, to the model's depth, its output; several are candidates. weighted: evar
    learns a weight for each. own: the model's default vector. Default: own for evar, else all layers."""
    pooling: tuple[str, ...] = ()
    """cls, mean, flat, mean+std, flat+std, std; several are candidates. Default: the model's pooling for evar, else all
    but std."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    """Precision of the model; in bf16 and fp16, scores depend slightly on the machine."""
    lr: float | None = None
    """Learning rate of evar: by default 3e-4 up to 1,536 dimensions and 3e-5 above."""
    cache: Path | None = None
    """Folder of the embedding cache; $AASP_CACHE or ~/.cache/aasp by default."""
    no_cache: bool = False
    """Neither read nor write the embedding cache."""
    out: Path | None = None
    """File for the records that `aasp table` reads, with every choice, score and prediction."""
    overwrite: bool = False
    """Replace an existing --out file."""


def run(argv: list[str]) -> int:
    arguments = parse(Linear, argv, prog="aasp linear")
    if not arguments.models and not arguments.encoder:
        arguments = replace(arguments, models=(default_model(),))
    check_models(arguments.models, "linear", argv)
    place = arguments.place()
    if arguments.seeds is not None and arguments.seeds < 1:
        raise AaspError(f"--seeds is {arguments.seeds}; give a number of at least 1")
    if arguments.cache is not None and arguments.no_cache:
        raise AaspError(f"both --cache {arguments.cache} and --no-cache; leave one out")
    listed = None
    if arguments.out is not None:
        check_output(arguments.out, overwrite=arguments.overwrite)
        listed = arguments.out.with_suffix(".missing.csv")

    from aasp.cli.linear_others import Other
    from aasp.cli.linear_results import Scored, show_lead, show_scores, write_results
    from aasp.evaluate.probe import scores
    from aasp.evaluate.protocol import Preset, Protocol
    from aasp.evaluate.task import Task
    from aasp.model.audio_encoder import load
    from aasp.weights import model_hash

    usual: Preset = "ridge" if arguments.task == "regression" else "evar"
    if usual == "ridge" and arguments.protocol not in (None, "ridge"):
        text = "regression is by ridge; leave --protocol out"
        raise AaspError(f"--protocol {arguments.protocol} with --task {arguments.task}: {text}")
    protocol = Protocol.of(arguments.protocol or usual, arguments.layer, arguments.pooling, arguments.lr)
    labelled = arguments.open(listed)
    if listed is not None and not labelled.missing:
        listed.unlink(missing_ok=True)  # of an earlier run
    encoders = [load(model, place) for model in arguments.models]
    others = [Other.open(name, arguments.device, arguments.precision) for name in arguments.encoder]
    # Before the slow part, so that errors are reported at once.
    for encoder in encoders:
        protocol.keys(encoder)
    Task.of(labelled, choose=protocol.choose)
    labelled, features, skipped = _embed(arguments, labelled, encoders, others, protocol)
    scored = []
    named = [(name, model_hash(encoder), protocol) for name, encoder in zip(arguments.models, encoders, strict=True)]
    named += [(other.name, other.adapter.fingerprint(), replace(protocol, layers=(), poolings=())) for other in others]
    for (model, digest, reads), found in zip(named, features, strict=True):
        with bar("probing") as show:
            tasks, results = reads.run(found, labelled, arguments.seeds or protocol.seeds, show)
        scored.append(Scored(model, digest, tasks, results, scores(results)))
    seeds = arguments.seeds or protocol.seeds
    if len(scored[0].results) < seeds:
        print(f"nothing is drawn in {protocol.preset} on these parts: one result, not {seeds} seeds", file=sys.stderr)
    leads = [scores(scored[0].results, minus=other.results) for other in scored[1:]]
    for one in scored:
        show_scores(protocol, labelled, one, len(skipped))
    for other, lead in zip(scored[1:], leads, strict=True):
        show_lead(scored[0], other, lead)
    for file in skipped:
        print(f"skipped {file.path}: {file.reason}", file=sys.stderr)
    if arguments.out is not None:
        write_results(arguments.out, protocol, labelled, scored, leads)
    return 0


def _embed(
    arguments: Linear, labelled: LabelledSet, encoders: list[AudioEncoder], others: list[Other], protocol: Protocol
) -> tuple[LabelledSet, list[dict[Any, np.ndarray]], list[Skipped]]:
    """Embeddings of every model, the set without the clips that one of them can't use, and these clips."""
    from aasp.audio.sounds import describe
    from aasp.evaluate.cache import kept_features
    from aasp.evaluate.features import clip_features

    found: list[dict[Any, np.ndarray]] = []
    running = arguments.running()
    skipped: dict[str, Skipped] = {}
    for encoder in encoders:
        keys = protocol.keys(encoder)
        unusable: list[Skipped] = []
        with bar("embedding") as show:
            options: Any = {"running": running, "skipped": unusable, "progress": show}
            if arguments.no_cache:
                found.append(clip_features(encoder, labelled.sounds, keys, **options))
            else:
                folder = arguments.cache or cache_folder()
                kept = kept_features(encoder, labelled.sounds, keys, folder, **options)
                for damaged in kept.damaged:
                    print(f"cache: {damaged} was damaged; its clips are embedded again", file=sys.stderr)
                found.append(kept.features)
        skipped |= {file.path: file for file in unusable}
    for other in others:
        unusable = []
        with bar(f"embedding by {other.name}") as show:
            found.append(other.features(labelled.sounds, unusable, show))
        skipped |= {file.path: file for file in unusable}
    stay = [row for row, sound in enumerate(labelled.sounds) if describe(sound) not in skipped]
    if len(stay) < len(labelled):
        gone = sorted(set(range(len(labelled))) - set(stay))
        labelled = labelled.without(gone, list(skipped.values()))
        found = [{key: X[stay] for key, X in features.items()} for features in found]
    return labelled, found, list(skipped.values())
