"""Another model's weights as a run's first ones: `aasp pretrain --from`.

A run gives all that it trains (student, teacher, predictor, projector); a model folder has the teacher's weights only,
and student and teacher both start from them. AaPE's token equals its convolution's before training, so that a model
with a convolution goes on unchanged when it is given an AaPE in its place.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from aasp.config import flat, from_dict, to_dict
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig, load
from aasp.pretrain.objective import PretrainObjective
from aasp.training import checkpoint
from aasp.training.run import Run
from aasp.training.transfer import Transfer, grouped, transfer
from aasp.weights import model_hash

STUDENT, TEACHER = "student.", "teacher.model."


@dataclass(frozen=True)
class Initial:
    """Weights to start from.

    Attributes:
        facts: which model: "model", the path as given; "recipe" and "step" of a run; "model_hash" of its encoder, as
            `aasp.weights.model_hash` has it; "weights", whose they are.
        model: its encoder's configuration.
        tensors: by the names that they have in a `PretrainObjective`.
    """

    facts: dict[str, Any]
    model: AudioEncoderConfig
    tensors: Mapping[str, Tensor]

    def give(self, objective: PretrainObjective) -> list[str]:
        """Copy into an objective what fits, and tell what was taken, what is new and what did not fit, in lines.

        Raises:
            AaspError: nothing of the model fits.
        """
        done, own = transfer(objective, self.tensors), objective.state_dict()
        if not any(name.startswith(STUDENT) for name in done.taken):
            told = f"nothing of it fits this recipe{': ' if done.unfit else ''}{_example(done)}"
            raise AaspError(f"--from {self.facts['model']}: {told}; set the model's own sizes")
        return list(_told(self.facts, done, own, self.tensors, _differences(self.model, objective.recipe.model)))


def read_initial(path: str | Path) -> Initial:
    """The weights of a run, of one of its checkpoints, or of a model.

    Args:
        path: a run (its last checkpoint; without one, its model), a checkpoint, a model folder, or a model on the hub.
            Of a fine-tuned classifier, its encoder is taken.

    Raises:
        AaspError: nothing is there, or it is damaged.
    """
    folder = Path(path)
    start = folder if (folder / "state.json").is_file() else checkpoint.latest(folder)
    tensors = {} if start is None else checkpoint.read_tensors(start / "model.safetensors")
    if start is None or not any(name.startswith(TEACHER) for name in tensors):
        encoder = load(path)
        own = encoder.state_dict()
        tensors = {owner + name: tensor for owner in (STUDENT, TEACHER) for name, tensor in own.items()}
        whose = "a model's, for student and teacher"
        facts = {"model": str(folder), "model_hash": model_hash(encoder), "weights": whose}
        return Initial(facts, encoder.config, tensors)
    recipe = _recipe(start)
    encoder = AudioEncoder(from_dict(AudioEncoderConfig, recipe["model"], str(Run(start.resolve().parents[1]).recipe)))
    own = {name.removeprefix(TEACHER): tensor for name, tensor in tensors.items() if name.startswith(TEACHER)}
    checkpoint.check_names(start / "model.safetensors", own, encoder.state_dict())
    encoder.load_state_dict(own)
    at: dict[str, Any] = {"recipe": recipe.get("name"), "step": checkpoint.read_state(start)[0]}
    facts = {"model": str(folder), **at, "model_hash": model_hash(encoder), "weights": "a run's"}
    return Initial(facts, encoder.config, tensors)


def _recipe(start: Path) -> dict[str, Any]:
    """The recipe of the run that a checkpoint belongs to."""
    file = Run(start.resolve().parents[1]).recipe
    try:
        recipe = json.loads(file.read_text())
        recipe["model"]
    except (OSError, ValueError, KeyError, TypeError):
        raise AaspError(f"{start}: no recipe of its run at {file}; give a run or a model folder") from None
    return recipe


def _told(
    facts: Mapping[str, Any],
    done: Transfer,
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    differences: list[str],
) -> Iterator[str]:
    at = f"{facts['recipe']} at step {facts['step']:,}, " if "step" in facts else ""
    yield f"started from {facts['model']}: {at}fingerprint {facts['model_hash'][:16]}, {facts['weights']}"
    yield f"  taken: {_parts(done.taken, own)} ({len(done.taken):,} tensors)"
    if done.new:
        yield f"  new: {_parts(done.new, own)}"
    if done.unfit:
        yield f"  did not fit: {_parts(done.unfit, own)} ({len(done.unfit):,} tensors, as {_example(done)})"
    if done.unused:
        yield f"  not used: {_parts(done.unused, given)}"
    if differences:
        yield f"  the model differs: {'; '.join(differences)}"


def _example(done: Transfer) -> str:
    """A tensor of another shape, with both shapes; nothing where there is none."""
    other = ((name, *shapes) for name, shapes in done.unfit.items() if shapes[0] != shapes[1])
    return next((f"{name} is {there} there and {here} here" for name, there, here in other), "")


def _parts(names: Collection[str], among: Collection[str]) -> str:
    """Which parts the tensors are; those that student and teacher share are named once."""
    owned = {
        owner: (
            [name.removeprefix(owner) for name in names if name.startswith(owner)],
            [name.removeprefix(owner) for name in among if name.startswith(owner)],
        )
        for owner in (STUDENT, TEACHER)
    }
    (student, all_student), (teacher, all_teacher) = owned[STUDENT], owned[TEACHER]
    rest = [name for name in names if not name.startswith((STUDENT, TEACHER))]
    told = [*grouped(rest, [name for name in among if not name.startswith((STUDENT, TEACHER))])]
    if student == teacher and student:
        return "; ".join([f"student and teacher: {', '.join(grouped(student, all_student))}", *told])
    for owner, mine, every in (("teacher", teacher, all_teacher), ("student", student, all_student)):
        told = [f"{owner}: {', '.join(grouped(mine, every))}", *told] if mine else told
    return "; ".join(told)


def _differences(there: AudioEncoderConfig, here: AudioEncoderConfig) -> list[str]:
    """Settings in which two models differ; another kind of stem is one, with all its fields."""
    ours, theirs = flat(to_dict(here)), flat(to_dict(there))
    names = [name for name in ours if ours[name] != theirs.get(name)]
    if ours["stem.kind"] != theirs["stem.kind"]:
        names = [name for name in names if name == "stem.kind" or not name.startswith("stem.")]
    return [f"{name} is {ours[name]}, there {theirs.get(name)}" for name in names]
