"""The protocols of `aasp linear`: candidate embeddings, probe, model selection, and number of seeds.

- "evar", the field's standard: one linear layer trained by Adam with early stopping on the valid part, or on a held-out
  tenth where a set has none (fold sets included); three seeds. It uses the model's default vector, unless layers or
  poolings are requested.
- "logistic": logistic regression; layer, pooling and penalty chosen on the valid part, or on the next fold.
- "ridge": ridge regression on one-hot labels or numbers; layer, pooling and penalty chosen likewise.
- "knn": a vote of the nearest neighbours; layer, pooling and k chosen likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from aasp.config import to_dict
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError
from aasp.evaluate.evar import Evar, evar_probe
from aasp.evaluate.features import OWN, clip_keys, own_keys
from aasp.evaluate.knn import NEIGHBOURS, TEMPERATURE, knn_probe
from aasp.evaluate.linear import SHORTLIST, STRENGTHS, linear_probe
from aasp.evaluate.probe import ProbeResult, Progress
from aasp.evaluate.regression import numbers_probe
from aasp.evaluate.ridge import RIDGES, ridge_probe
from aasp.evaluate.task import Choose, Task
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.pooling import POOLINGS
from aasp.model.readout import Key

Preset = Literal["evar", "logistic", "ridge", "knn"]
WEIGHTED, OWN_VECTOR = "weighted", "own"
PROBES: dict[str, Callable[..., ProbeResult]] = {"logistic": linear_probe, "ridge": ridge_probe, "knn": knn_probe}


@dataclass(frozen=True)
class Protocol:
    """How a frozen model is scored: everything but the model, the set and the seed.

    Attributes:
        preset: "evar", "logistic", "ridge" or "knn".
        layers: as requested: numbers, `("weighted",)` for a learned weighting of all, or `("own",)` for the model's
            default vector; () for the preset's default.
        poolings: as requested; () for the preset's default.
        settings: fixed settings of the preset, by name.
    """

    preset: Preset
    layers: tuple[str, ...] = ()
    poolings: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, preset: Preset, layers: Sequence[str] = (), poolings: Sequence[str] = (), lr: float | None = None
    ) -> Protocol:
        """A protocol with its settings.

        Args:
            preset, layers, poolings: as above.
            lr: replaces EVAR's learning rate.

        Raises:
            AaspError: there is no such preset, a layer is not a number, or the options do not go together.
        """
        if preset not in get_args(Preset):
            raise AaspError(f"no such protocol: {preset}; choose from {', '.join(get_args(Preset))}")
        if lr is not None and preset != "evar":
            raise AaspError(f"--lr {lr:g} with --protocol {preset}, which has no learning rate; leave it out")
        if lr is not None and not 0 < lr < float("inf"):
            raise AaspError(f"--lr {lr:g}: not a number above 0; leave it out for EVAR's")
        if WEIGHTED in layers and preset != "evar":
            raise AaspError(f"--layer {WEIGHTED} with --protocol {preset}, which cannot learn it; use evar")
        if WEIGHTED in layers and len(layers) > 1:
            raise AaspError(f"--layer {' '.join(layers)}: {WEIGHTED} uses all layers; give it alone")
        if OWN_VECTOR in layers and (len(layers) > 1 or poolings):
            requested = " ".join([*layers, *(["--pooling", *poolings] if poolings else [])])
            raise AaspError(f"--layer {requested}: {OWN_VECTOR} is the model's default vector; give it alone")
        wrong = next((one for one in layers if one not in (WEIGHTED, OWN_VECTOR) and not one.isdecimal()), None)
        if wrong is not None:
            raise AaspError(f"no such layer: {wrong}; give numbers from 0, {OWN_VECTOR}, or {WEIGHTED}")
        settings: dict[Preset, dict[str, Any]] = {
            "evar": to_dict(Evar(lr=lr)),
            "logistic": {"strengths": list(STRENGTHS), "shortlist": SHORTLIST},
            "ridge": {"ridges": list(RIDGES)},
            "knn": {"neighbours": list(NEIGHBOURS), "temperature": TEMPERATURE},
        }
        return cls(preset, tuple(layers), tuple(poolings), settings[preset])

    @property
    def kind(self) -> str:
        """Its name in tables."""
        return self.preset if self.preset in ("knn", "ridge") else "linear"

    @property
    def choose(self) -> Choose:
        """How the validation clips are taken if a set has no validation part."""
        return "held_out" if self.preset == "evar" else "next_fold"

    @property
    def seeds(self) -> int:
        """Default number of repetitions: only EVAR's training depends on a seed."""
        return 3 if self.preset == "evar" else 1

    def keys(self, encoder: AudioEncoder) -> list[Key]:
        """The embeddings that the protocol needs from a model.

        Raises:
            AaspError: the model has no such layer, or there is no such pooling.
        """
        evar = self.preset == "evar"
        if self.layers == (OWN_VECTOR,) or (evar and not self.layers and not self.poolings):
            return own_keys(encoder)
        layers = None if self.layers == (WEIGHTED,) else [int(layer) for layer in self.layers]
        if layers == []:
            layers = [encoder.config.encoder.depth] if evar else None
        return clip_keys(encoder, layers, self.poolings or ((encoder.config.pooling,) if evar else POOLINGS))

    def candidates(self, features: Mapping[Key, np.ndarray]) -> dict[tuple[int | str, str], np.ndarray]:
        """The candidates: each layer and pooling (n, D), or all layers of each pooling together (n, L, D)."""
        if self.layers != (WEIGHTED,):
            return {(OWN_VECTOR, OWN_VECTOR) if key == OWN else key: X for key, X in features.items()}
        poolings = dict.fromkeys(pooling for _, pooling in features)
        stack = lambda pooling: np.stack([X for (_, name), X in features.items() if name == pooling], axis=1)
        return {(WEIGHTED, pooling): stack(pooling) for pooling in poolings}

    def run(
        self,
        features: Mapping[Key, np.ndarray],
        labelled: LabelledSet,
        seeds: int,
        progress: Progress | None = None,
    ) -> tuple[list[Task], list[ProbeResult]]:
        """Score embeddings, once for each seed.

        Args:
            features: the embeddings of `keys`.
            labelled: the set, its clips in the order of the embeddings.
            seeds: number of seeds, for EVAR's training and for the held-out tenth if a set has no valid part.
            progress: called with (candidates done, all of them).

        Returns:
            The task and the result of each seed; all score the same clips. Only one if nothing is drawn, so that
            all seeds would be the same.
        """
        if labelled.values is not None and self.preset != "ridge":
            raise AaspError(f"{labelled.source}: labels are numbers, and protocol {self.preset}; choose ridge")
        candidates = self.candidates(features)
        tasks = [Task.of(labelled, choose=self.choose, seed=seed) for seed in range(seeds)]
        if self.preset != "evar" and all(_alike(tasks[0], other) for other in tasks[1:]):
            tasks, seeds = tasks[:1], 1
        results = []
        for seed, task in enumerate(tasks):
            show = None if progress is None else _part(progress, seed, seeds)
            if self.preset == "evar":
                results.append(evar_probe(candidates, task, seed=seed, settings=Evar(**self.settings), progress=show))
            else:
                probe = PROBES[self.preset] if labelled.values is None else numbers_probe
                results.append(probe(candidates, task, progress=show))
        return tasks, results


def _alike(one: Task, other: Task) -> bool:
    """Whether two tasks have the same parts in every round."""
    parts = lambda task: [part for r in task.rounds for part in (r.train, r.valid, r.test)]
    return all(map(np.array_equal, parts(one), parts(other)))


def _part(progress: Progress, number: int, parts: int) -> Progress:
    """Progress of one of several equal parts as progress of the whole."""
    return lambda done, total: progress(number * total + done, parts * total)
