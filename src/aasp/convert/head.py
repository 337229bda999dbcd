"""A checkpoint's head: normalisation of the class token and one linear layer, and what its classes are called.

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
"""AudioSet's classes, of which a clip has several."""


def head_of(given: Published, norm: str | None, linear: str, width: int) -> dict[str, Tensor]:
    """The head's tensors by the names that `AudioClassifier` has for them; none where the file has no head.

    Args:
        given: the checkpoint.
        norm: its name of the normalisation; None where there is none.
        linear: and of the layer.
        width: D.
    """
    if f"{linear}.weight" not in given:
        return {}
    count = given.shape(f"{linear}.weight", 2)[0]
    shapes = {"weight": (count, width), "bias": (count,)}
    found = {f"norm.{kind}": given.take(f"{norm}.{kind}", width) for kind in shapes if norm is not None}
    return found | {f"head.{kind}": given.take(f"{linear}.{kind}", *shape) for kind, shape in shapes.items()}


def classifier_of(
    given: Published, head: Mapping[str, Tensor], encoder: AudioEncoderConfig
) -> AudioClassifierConfig | None:
    """The configuration of a classifier with that head; None of an encoder alone.

    Its classes have the names that `config.json` beside the file gives them, and numbers otherwise.

    Raises:
        AaspError: `config.json` names others.
    """
    if not head:
        return None
    count = len(head["head.bias"])
    named: Any = given.settings.get("id2label") or {str(n): f"class {n}" for n in range(count)}
    if not isinstance(named, dict) or sorted(named) != sorted(map(str, range(count))):
        text = f"{count} classes, which id2label in config.json beside it does not name each"
        raise AaspError(f"{given.file}: {text}; fix it, or take config.json away")
    several = given.settings.get("problem_type") == "multi_label_classification" or count == AUDIOSET
    norm: Literal["layer", "none"] = "layer" if "norm.weight" in head else "none"
    return AudioClassifierConfig(tuple(str(named[str(n)]) for n in range(count)), several, norm=norm, encoder=encoder)
