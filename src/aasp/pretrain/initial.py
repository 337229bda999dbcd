"""Initialisation of a run with the weights of another run or model: `aasp pretrain --from`.

A run provides all its weights (student, teacher, heads). A model folder has the weights of one encoder only, which
initialise every encoder of the new method, student and teacher. AaPE's token equals its convolution's before training,
so replacing a model's convolution by an AaPE does not change its initial outputs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from aasp.allocation import SPARE, Within
from aasp.config import flat, from_dict, to_dict
from aasp.documents import read_object
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig, load
from aasp.pretrain.methods import Method
from aasp.pretrain.methods.aasp import AaSP
from aasp.training import checkpoint
from aasp.training.run import Run
from aasp.training.transfer import Transfer, grouped, transfer
from aasp.weights import model_hash


@dataclass(frozen=True)
class Initial:
    """Weights to start from.

    Attributes:
        facts: origin of the weights: "model", the path as given; "recipe" and "step" of a run; "model_hash" of its
            encoder (`aasp.weights.model_hash`); "weights", a description of them.
        model: the encoder of the run or model.
        tensors: all tensors of a run, by their names in its method; empty for a model.
        prefix: of the encoder's tensors in a run (`Method.exported`); empty for a model.
    """

    facts: dict[str, Any]
    model: AudioEncoder
    tensors: Mapping[str, Tensor]
    prefix: str = ""

    def load_into(self, objective: Method) -> list[str]:
        """Copy matching tensors into a method; returns a report of taken, new and unfit tensors, as lines.

        An encoder of the method that has no counterpart in the run starts from the run's model.

        Raises:
            AaspError: no tensor of the encoder fits, or the model has learned positions of the recipe's grid and the
                recipe has fixed ones.
        """
        encoders = {name: part for name, part in objective.named_modules() if isinstance(part, AudioEncoder)}
        owners = [f"{name}." for name in encoders]
        fresh = () if self.prefix == objective.exported else objective.fresh
        tensors = {name: tensor for name, tensor in self.tensors.items() if not name.startswith(fresh)}
        for owner, part in zip(owners, encoders.values(), strict=True):
            if not any(owner + name in tensors for name in part.state_dict()):  # another method may nest it elsewhere
                tensors |= {owner + name: tensor for name, tensor in self.model.state_dict().items()}
        done, own = transfer(objective, tensors), objective.state_dict()
        if not any(name.startswith(tuple(owners)) for name in done.taken):
            text = f"nothing of it fits this recipe{': ' if done.unfit else ''}{_example(done)}"
            raise AaspError(f"--from {self.facts['model']}: {text}; set the model's own sizes")
        here = next(iter(encoders.values())).config
        _check_positions(self.facts["model"], self.model.config, here)
        differences = _differences(self.model.config, here)
        return list(_transfer_lines(self.facts, done, own, tensors, owners, differences))


def read_initial(path: str | Path) -> Initial:
    """Read the weights of a run, of one of its checkpoints, or of a model.

    Args:
        path: a run (its last checkpoint; without one, its model), a checkpoint, a model folder, or a model on the hub.
            For a fine-tuned classifier, its encoder is used.

    Raises:
        AaspError: there is no run or model at `path`, or it is damaged.
    """
    folder = Path(path)
    start = folder if (folder / "state.json").is_file() else checkpoint.latest(folder)
    recipe = None if start is None else _recipe(start)
    if start is None or recipe is None:
        encoder = load(path)
        whose = "a model's, for every encoder"
        return Initial({"model": str(folder), "model_hash": model_hash(encoder), "weights": whose}, encoder, {})
    tensors, (step, state) = checkpoint.read_tensors(start / "model.safetensors"), checkpoint.read_state(start)
    prefix = str(state.get("history", {}).get("exported", AaSP.exported))
    config = from_dict(AudioEncoderConfig, recipe["model"], str(Run(start.resolve().parents[1]).recipe))
    file = start / "model.safetensors"
    text = f"{file}: the recipe of its run needs a larger model than is here; copy the run again"
    with Within(sum(tensor.numel() for tensor in tensors.values()) + SPARE, text):
        encoder = AudioEncoder(config)
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    checkpoint.check_names(file, own, encoder.state_dict())
    encoder.load_state_dict(own)
    at: dict[str, Any] = {"recipe": recipe.get("name"), "step": step}
    facts = {"model": str(folder), **at, "model_hash": model_hash(encoder), "weights": "a run's"}
    return Initial(facts, encoder, tensors, prefix)


def exported(objective: Method) -> dict[str, str]:
    """The model's prefix in checkpoints, as a history entry; empty for AaSP's, the default."""
    return {} if objective.exported == AaSP.exported else {"exported": objective.exported}


def _recipe(start: Path) -> dict[str, Any] | None:
    """The recipe of the run that a checkpoint belongs to; None for a fine-tuning run."""
    file = Run(start.resolve().parents[1]).recipe
    try:
        recipe = read_object(file, "give a run or a model folder")
        if "finetuned" in recipe:
            return None
        recipe["model"]
    except (OSError, ValueError, KeyError, TypeError):
        raise AaspError(f"{start}: no recipe of its run at {file}; give a run or a model folder") from None
    return recipe


def _transfer_lines(
    facts: Mapping[str, Any],
    done: Transfer,
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    owners: list[str],
    differences: list[str],
) -> Iterator[str]:
    at = f"{facts['recipe']} at step {facts['step']:,}, " if "step" in facts else ""
    yield f"started from {facts['model']}: {at}fingerprint {facts['model_hash'][:16]}, {facts['weights']}"
    yield f"  taken: {_parts(done.taken, own, owners)} ({len(done.taken):,} tensors)"
    if done.new:
        yield f"  new: {_parts(done.new, own, owners)}"
    if done.unfit:
        yield f"  did not fit: {_parts(done.unfit, own, owners)} ({len(done.unfit):,} tensors, as {_example(done)})"
    if done.unused:
        yield f"  not used: {_parts(done.unused, given, owners)}"
    if any(".whitening." in name for name in done.unused):
        yield "  its vector is whitened, this run's is not; after the run, `aasp whiten` learns a new whitening"
    if differences:
        yield f"  the model differs: {'; '.join(differences)}"


def _example(done: Transfer) -> str:
    """A description of the first tensor whose shapes differ; empty if there is none."""
    other = ((name, *shapes) for name, shapes in done.unfit.items() if shapes[0] != shapes[1])
    return next((f"{name} is {there} there and {here} here" for name, there, here in other), "")


def _parts(names: Collection[str], among: Collection[str], owners: list[str]) -> str:
    """The parts that the tensors make up, as text; parts that all encoders share are named once.

    Args:
        names: names of the tensors.
        among: names of all tensors.
        owners: prefix of the tensor names of each encoder.
    """
    of = lambda owner, names: [name.removeprefix(owner) for name in names if name.startswith(owner)]
    others = lambda names: [name for name in names if not name.startswith(tuple(owners))]
    rest = list(grouped(others(names), others(among)))
    ours = {owner.partition(".")[0]: (of(owner, names), of(owner, among)) for owner in owners}
    mine = [parts for parts, _ in ours.values()]
    if all(parts == mine[0] for parts in mine):
        ours = {" and ".join(ours): next(iter(ours.values()))}
    text = [f"{owner}: {', '.join(grouped(*both))}" for owner, both in ours.items() if both[0]]
    return "; ".join([*text, *rest])


def _check_positions(model: str, there: AudioEncoderConfig, here: AudioEncoderConfig) -> None:
    """Check that positions that the weights were trained with are not left out."""
    table, grid = there.encoder.learned, lambda config: (config.stem.patch, config.frontend.bins)
    if table is not None and here.encoder.learned is None and grid(there) == grid(here):
        remedy = f"add --set model.encoder.learned={table[0]},{table[1]}"
        raise AaspError(f"--from {model}: its positions are a table, and this recipe's are fixed; {remedy}")


def _differences(there: AudioEncoderConfig, here: AudioEncoderConfig) -> list[str]:
    """Settings in which two models differ, without the whitening; of a part of another kind only the kind."""
    ours, theirs = flat(to_dict(here)), flat(to_dict(there))
    names = [name for name in ours | theirs if ours.get(name) != theirs.get(name) and name != "whitened"]
    for part in ("frontend", "stem"):
        if f"{part}.kind" in names:
            names = [name for name in names if name == f"{part}.kind" or not name.startswith(f"{part}.")]
    said = lambda values, name: values.get(name, "the default")
    return [f"{name} is {said(ours, name)}, there {said(theirs, name)}" for name in names]
