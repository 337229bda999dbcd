"""Measurements of one system on one labelled set: the jobs of `benchmarks/ruler.py`, one process each.

A system is a model, the untrained encoder of its architecture, or log-mel statistics. Its vectors are computed once, by
parts, and cached in a folder for the probes and the fine-tuning; every choice is made on validation parts.

n clips, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from aasp.audio.sounds import Sound
from aasp.datasets.labelled import LabelledSet
from aasp.evaluate.baselines import BANDS_40, BANDS_128, fixed_probe
from aasp.evaluate.cache import Vectors, kept_statistics, kept_vectors
from aasp.evaluate.draws import few_label_rounds
from aasp.evaluate.features import clip_keys, embedded, own_keys, pooled
from aasp.evaluate.finetune.data import Finetuning
from aasp.evaluate.finetune.few_labels import few_label_result
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.evaluate.finetune.recipes import lp_ft
from aasp.evaluate.knn import knn_probe
from aasp.evaluate.linear import linear_probe
from aasp.evaluate.probe import ProbeResult
from aasp.evaluate.ridge import ridge_probe, ridge_ranking
from aasp.evaluate.spectrum import effective_rank
from aasp.evaluate.task import Task
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, load
from aasp.weights import model_hash

SEED = 0  # of the untrained weights
HEAD = ("head", "first")
"""Key of the fine-tuning head's input vector before the first step."""


@dataclass(frozen=True)
class System:
    """The source of vectors: a "model", the "untrained" encoder of its architecture, or "log-mel" statistics.

    Attributes:
        kind: one of these.
        model: where the model, or the model whose architecture is used, is loaded from.
    """

    kind: Literal["model", "untrained", "log-mel"]
    model: str = ""

    @property
    def encoder(self) -> AudioEncoder:
        """The encoder, in evaluation mode."""
        return _encoder(self)


@lru_cache(maxsize=2)
def _encoder(system: System) -> AudioEncoder:
    encoder = load(system.model)
    if system.kind == "untrained":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            encoder = AudioEncoder(encoder.config)
    return encoder.eval()


def vectors(system: System, sounds: Sequence[Sound], folder: Path) -> dict[Any, np.ndarray]:
    """Vectors (n, D) by key, cached in `folder`; for an encoder all layers and poolings, its default vector and `HEAD`.

    Raises:
        AaspError: a sound can't be used, or the folder can't be written.
    """
    if system.kind == "log-mel":
        return kept_statistics(sounds, folder).features
    encoder = system.encoder
    keys = list(dict.fromkeys([*clip_keys(encoder), *own_keys(encoder)]))
    head = AudioClassifier(_classifier(encoder))

    def compute(some: Sequence[Sound], show: Callable[[int], object]) -> Vectors:
        for rows, found in embedded(encoder, some, layers=True):
            with torch.inference_mode():
                yield rows, {**pooled(encoder, found, keys), HEAD: head.pooled(found.stages, found.valid).numpy()}

    return kept_vectors(f"ruler {model_hash(encoder)}", sounds, [*keys, HEAD], folder, compute).features


def _classifier(encoder: AudioEncoder) -> AudioClassifierConfig:
    """A classifier whose head has the same input as that of `lp_ft`."""
    recipe, config = lp_ft(), replace(encoder.config, pooling=lp_ft().pooling)
    return AudioClassifierConfig(("one", "two"), layers=recipe.layers, norm=recipe.norm, encoder=config)


def embed(system: System, sounds: Sequence[Sound], folder: Path) -> None:
    """Compute and cache the vectors of these sounds for `vectors`."""
    vectors(system, sounds, folder)


def probed(system: System, labelled: LabelledSet, folder: Path) -> tuple[dict[str, ProbeResult], float]:
    """All probes of frozen vectors, by name, and the effective rank of a model's default vector (or 0).

    "own": the model's default vector; "best": layer and pooling chosen on validation; "last": the last layer, pooling
    chosen on validation; "last mean": the last layer's token mean; "128", "40": log-mel statistics. Probes are ridge
    and logistic regression and k-NN.
    """
    X = vectors(system, labelled.sounds, folder)
    task = Task.of(labelled, choose="next_fold")
    quick: dict[str, Any] = {"precise": False}
    if system.kind == "log-mel":
        of_128 = {key: X[key] for key in BANDS_128}
        found = {
            "128 ridge": ridge_probe(of_128, task),
            "128 logistic": linear_probe(of_128, task, **quick),
            "128 k-NN": knn_probe(of_128, task),
            # The fixed probe is for single labels.
            "40": linear_probe({0: X[BANDS_40]}, task, **quick) if task.multilabel else fixed_probe(X[BANDS_40], task),
        }
        return found, 0.0
    encoder = system.encoder
    every, depth = {key: X[key] for key in clip_keys(encoder)}, encoder.config.encoder.depth
    ranking = ridge_ranking(every, task)
    found = {
        "best ridge": ridge_probe(every, task, ranking=ranking),
        "best logistic": linear_probe(every, task, shortlist=1, ranking=ranking, **quick),
        "last": ridge_probe({key: X[key] for key in every if key[0] == depth}, task, ranking=ranking),
        "last mean": ridge_probe({(depth, "mean"): X[depth, "mean"]}, task, ranking=ranking),
    }
    if system.kind == "untrained":
        return found | {"best k-NN": knn_probe(every, task)}, 0.0
    own = {key: X[key] for key in own_keys(encoder)}
    found |= {"own ridge": ridge_probe(own, task), "own logistic": linear_probe(own, task, **quick)}
    return found | {"own k-NN": knn_probe(own, task)}, effective_rank(np.concatenate(list(own.values()), axis=1))


def fine_tuned(
    system: System,
    labelled: LabelledSet,
    seconds: np.ndarray,
    folder: Path,
    recipe: FinetuneRecipe,
    labels: Sequence[int],
    most_tested: int,
) -> dict[int, ProbeResult]:
    """Test predictions after fine-tuning with this many labels per class; smaller draws are subsets of larger ones."""
    X = vectors(system, labelled.sounds, folder)[HEAD]
    task = Task.of(labelled, choose="next_fold")
    job = Finetuning(system.encoder, system.model, labelled, recipe, scratch=system.kind == "untrained")
    rounds = {k: few_label_rounds(task, k, most_tested, recipe.seed) for k in labels}
    return {k: few_label_result(job, task, rounds[k], seconds, X) for k in labels}
