"""Which of a run's checkpoints is the model: the one that does best on the valid part. It never sees the test part."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from aasp.audio.sounds import Sound
from aasp.datasets.index import Skipped
from aasp.evaluate.finetune.predict import class_probabilities
from aasp.evaluate.probe import rank
from aasp.files import atomic_write
from aasp.model.audio_classifier import AudioClassifier, write_classifier
from aasp.training.run import Run

FILE = "validation.jsonl"


class Validation:
    """Scores checkpoints on the valid part, keeps a line of each in `validation.jsonl` and the best as the run's model.

    Equal scores, common among few clips, are told apart by the lower loss.

    Args:
        run: where.
        classifier: scratch space for the weights that are scored.
        sounds: the valid part.
        truth: its class indices (n,), or multi-hot (n, K).
        prefix: of the names of the classifier's tensors among the objective's.
        unusable: takes clips that can't be decoded, each once; they say nothing of any checkpoint.
    """

    def __init__(
        self,
        run: Run,
        classifier: AudioClassifier,
        sounds: Sequence[Sound],
        truth: np.ndarray,
        prefix: str,
        unusable: list[Skipped],
    ) -> None:
        self._run, self._classifier, self._prefix, self._unusable = run, classifier, prefix, unusable
        self._sounds, self._truth = sounds, truth
        self.lines = history(run.path)

    def __call__(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Score the objective's tensors after `step`, once."""
        if any(line["step"] == step for line in self.lines):
            return
        ours = {name.removeprefix(self._prefix): t for name, t in tensors.items() if name.startswith(self._prefix)}
        self._classifier.load_state_dict(ours)
        skipped: list[Skipped] = []
        found = class_probabilities(self._classifier, self._sounds, skipped=skipped)
        self._unusable.extend(file for file in skipped if file not in self._unusable)
        usable = np.isfinite(found).all(axis=1)
        score, likelihood = rank(self._truth[usable], found[usable])
        best = all((score, likelihood) > (line["score"], -line["loss"]) for line in self.lines)
        if best:
            write_classifier(self._run.model, self._classifier.config, self._classifier.state_dict())
        self.lines.append({"step": step, "score": score, "loss": -likelihood, "best": best})
        with atomic_write(self._run.path / FILE) as beside:
            beside.write_text("".join(json.dumps(line) + "\n" for line in self.lines))


def history(run: Path) -> list[dict[str, Any]]:
    """Every scoring of a run's valid part so far: step, score, loss, and whether it was the best until then."""
    file = run / FILE
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
