"""A recipe: all settings of a pre-training run in one frozen dataclass."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from aasp.config import check_range, fingerprint, from_dict, to_dict
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.parts import nearest
from aasp.pretrain.methods import METHODS, MethodConfig
from aasp.pretrain.methods.aasp import AaSPConfig
from aasp.training.optim import OptimizerConfig


@dataclass(frozen=True)
class DataConfig:
    """The data of a step.

    Attributes:
        crop_seconds: length of the random crop of each clip.
        batch: clips per step, over all processes.
        gain_db: largest random gain or attenuation of each clip, in dB, so that its level carries no information.
    """

    crop_seconds: float = 2.56
    batch: int = 32
    gain_db: float = 0.0

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise AaspError(f"data.batch {self.batch}; give at least 1")
        check_range(self, "data", "crop_seconds")
        check_range(self, "data", "gain_db", least=0)

    def gain(self, training: bool) -> float | None:
        """The range of the random gain in training, in dB; None otherwise, which draws no gain."""
        return self.gain_db if training else None


@dataclass(frozen=True)
class Recipe:
    """A named system and its pre-training settings.

    Attributes:
        name: name of the recipe; settings may be changed from it.
        summary: a description in one line.
        model: front end, stem and encoder.
        method: the pre-training method.
        optimizer: optimizer and schedule.
        data: crops and batch.
        steps: optimizer steps.
        seed: seed of weights, masks and data order.
    """

    name: str
    summary: str
    model: AudioEncoderConfig = field(default_factory=AudioEncoderConfig)
    method: Annotated[MethodConfig, METHODS] = field(default_factory=AaSPConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    steps: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, "recipe", "steps", least=1)
        check_range(self, "recipe", "seed", least=0, below=2**63)
        if self.data.crop_seconds * 1000 < self.model.frontend.shortest_ms:
            text = f"shorter than one analysis window of {self.model.frontend.shortest_ms:g} ms"
            raise AaspError(f"data: crop_seconds is {self.data.crop_seconds:g}, {text}; give a longer crop")

    @property
    def fingerprint(self) -> str:
        """Hash of all fields: two runs with the same fingerprint are the same run."""
        document = inline_method(to_dict(self, first_names=True))
        if document["method"] == "aasp":  # for compatibility: AaSP was once the only method
            del document["method"]
        return fingerprint(document)

    def full_name(self, name: str, settings: Mapping[str, Any], where: str) -> str:
        """The full dotted name of a setting: `method.` may be omitted unless a recipe has a field of that name.

        Args:
            name: the name as given by the user.
            settings: all settings given, which may include the method.
            where: the option to name in messages.

        Raises:
            AaspError: neither a recipe nor any method has such a field.
        """
        first, own = name.partition(".")[0], {one.name: None for one in fields(self)}
        if first in own:
            return name
        requested = settings.get("method")
        method = METHODS.find(requested) if isinstance(requested, str) else type(self.method)
        names = lambda kind: {one.name: None for one in fields(kind)}
        if any(first in names(kind) for kind in (method, *METHODS.ours().values())):
            return f"method.{name}"
        raise AaspError(f"{where} {name}: unknown field {first!r}; {nearest(first, own | names(method))}")


def comparable(document: Mapping[str, Any]) -> dict[str, Any]:
    """A run's `recipe.json`, whatever version wrote it, in the form in which two are compared: as from `inline_method`,
    with current field names."""
    values, started = dict(document), {"started_from": document.get("started_from")}
    values.pop("started_from", None)
    if "method" not in values:
        own = [one.name for one in fields(AaSPConfig) if one.name in values]
        values["method"] = {"kind": "aasp"} | {name: values.pop(name) for name in own}
    with contextlib.suppress(AaspError):  # the comparison shows what is wrong
        return inline_method(to_dict(from_dict(Recipe, values, "recipe.json"))) | started
    return inline_method(document) | started


def inline_method(document: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's JSON values with the method's fields on the same level as the others, as `--set` accepts them.

    A document without a method is from a version in which AaSP was the only method, and already has this form.
    """
    given = document.get("method")
    values = {"kind": "aasp"} | (dict(given) if isinstance(given, Mapping) else {})
    own = {name if name not in document else f"method.{name}": value for name, value in values.items()}
    method: dict[str, Any] = {"method": own.pop("kind")}
    rows = method if "method" not in document else {}
    for name, value in document.items():
        rows |= method | own if name == "method" else {name: value}
    return rows
