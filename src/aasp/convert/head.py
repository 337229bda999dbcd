"""A checkpoint's head: normalisation of the class token, one linear layer, and the names of the classes.

Legend: D width, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from aasp.convert.published import Published
from aasp.errors import AaspError
from aasp.model.audio_classifier import AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoderConfig

AUDIOSET = 527
"""Number of AudioSet's classes; a clip has several."""


def head_of(given: Published, norm: str | None, linear: str, width: int) -> dict[str, Tensor]:
    """The head's tensors by their names in `AudioClassifier`; none if the file has no head.

    Args:
        given: the checkpoint.
        norm: name of the normalisation in the file; None if there is none.
        linear: name of the linear layer.
        width: D.
    """
    if f"{linear}.weight" not in given:
        return {}
    count = given.shape(f"{linear}.weight", 2)[0]
    shapes = {"weight": (count, width), "bias": (count,)}
    found = {f"norm.{kind}": given.take(f"{norm}.{kind}", width) for kind in shapes if norm is not None}
    return found | {f"head.{kind}": given.take(f"{linear}.{kind}", *shape) for kind, shape in shapes.items()}


def classifier_of(
    given: Published, head: Mapping[str, Tensor], encoder: AudioEncoderConfig, several: bool = False
) -> AudioClassifierConfig | None:
    """The configuration of a classifier with that head; None for an encoder alone.

    Classes are named by `config.json` beside the file, or in the file, and numbered if there are no names.

    Args:
        given: the checkpoint.
        head: its head.
        encoder: its encoder.
        several: each class has its own probability, whatever their number.

    Raises:
        AaspError: `config.json` does not name exactly these classes, or it describes a regression of several numbers.
    """
    if not head:
        return None
    count = len(head["head.bias"])
    named: Any = given.settings.get("id2label") or {str(n): f"class {n}" for n in range(count)}
    if not isinstance(named, dict) or sorted(named) != sorted(map(str, range(count))):
        text = f"{count} classes, which id2label in config.json beside it, or label_dict in it, does not name each"
        raise AaspError(f"{given.file}: {text}; name them in config.json")
    task = given.settings.get("problem_type")
    if task == "regression" and count > 1:
        raise AaspError(
            f"{given.file}: a regression of {count} numbers, and a classifier here predicts one; train a head"
        )
    numbers = (0.0, 1.0) if task == "regression" else None
    several |= task == "multi_label_classification" or count == AUDIOSET
    several = numbers is None and (several or count == 1)  # a softmax over one class would be 1
    norm: Literal["layer", "none"] = "layer" if "norm.weight" in head else "none"
    classes = tuple(str(named[str(n)]) for n in range(count))
    return AudioClassifierConfig(classes, several, norm=norm, numbers=numbers, encoder=encoder)
