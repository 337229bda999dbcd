"""Our folders and transformers': which model a folder contains, and how its weights are named in either.

| | encoder | classifier | pre-training |
|---|---|---|---|
| ours | `stem.…` | `encoder.stem.…` | – |
| transformers' | `model.stem.…` | `model.encoder.stem.…` | `model.teacher.model.stem.…`, and others |
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig

from aasp.config import from_dict
from aasp.hf.config import AaspConfig
from aasp.model.audio_classifier import AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.folder import HF_KINDS, find, of_transformers, on_hub

HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder", "proxies")
PRECISION = ("dtype", "torch_dtype")
"""transformers' options for the precision of a model's weights, the second its older name."""


@dataclass(frozen=True)
class Source:
    """The source of a model to load.

    Attributes:
        place: the folder or name on the hub for transformers to open.
        prefix: the prefix of the encoder's names in the file of weights.
        kind: "encoder", "classifier" or "pretraining".
    """

    place: str
    prefix: str
    kind: str


def source_of(path: str | os.PathLike[str], options: MutableMapping[str, Any]) -> Source:
    """Inspect the model to load; if it is one of ours, its configuration and its precision are put into `options`.

    A model of ours is loaded in fp32, whatever its file contains, as `aasp.load` does. A folder of transformers' states
    its precision, which transformers follows.

    Args:
        path: a folder of ours or of transformers', a run, or a name on the hub.
        options: of `from_pretrained`; settings of a configuration are removed if one is put in. A precision in them, or
            in their configuration, is kept.

    Raises:
        AaspError: there is no such folder, or its configuration is damaged.
        OSError: there is no such name on the hub, as transformers reports it.
    """
    place = os.fspath(path)
    if Path(place).exists() or not on_hub(place):
        place = str(find(place))
    hub = {name: options[name] for name in HUB_OPTIONS if name in options}
    values, _ = PreTrainedConfig.get_config_dict(place, **hub)
    values.pop("_commit_hash", None)
    if "model_type" in values:
        kind = HF_KINDS.get((values.get("architectures") or ["AaspModel"])[0], "encoder")
        prefix = of_transformers(values)[1]
        return Source(place, prefix + "encoder." * (kind == "classifier"), kind)
    if not isinstance(options.get("config"), PreTrainedConfig):
        kind_of: type[Any] = AudioClassifierConfig if "classes" in values else AudioEncoderConfig
        config = AaspConfig.of(from_dict(kind_of, values, os.path.join(place, "config.json")))
        move_settings(options, config)
        options["config"] = config
    if options["config"].dtype is None and all(options.get(name) is None for name in PRECISION):
        options["dtype"] = torch.float32
    return Source(place, "encoder." if "classes" in values else "", "classifier" if "classes" in values else "encoder")


def move_settings(options: MutableMapping[str, Any], config: PreTrainedConfig) -> None:
    """Move the settings of a configuration from `options` to it, all but the precision, which may be "auto"."""
    for name in [name for name in options if name not in PRECISION and hasattr(config, name)]:
        setattr(config, name, options.pop(name))


def key_mapping(source: Source, wanted: str) -> dict[str, str]:
    """Patterns that map the weight names of one kind of model to those of another.

    Args:
        source: the model to load.
        wanted: the class to make of it.
    """
    kind = HF_KINDS[wanted]
    if kind in (source.kind, "pretraining"):
        return {}
    pattern = "^" + source.prefix.replace(".", r"\.")
    return {pattern: "model.encoder." if kind == "classifier" else "model."}
