"""Our folders and transformers': what a folder holds, and how the weights in it are called elsewhere.

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

from transformers import PreTrainedConfig

from aasp.config import from_dict
from aasp.hf.config import AaspConfig
from aasp.model.audio_classifier import AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.folder import HF_KINDS, find, of_transformers, on_hub

HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder", "proxies")


@dataclass(frozen=True)
class Source:
    """Where a model is loaded from.

    Attributes:
        place: what transformers is to open: a folder, or a name on the hub.
        prefix: begins, in the file of weights, the names of the encoder's.
        kind: "encoder", "classifier" or "pretraining".
    """

    place: str
    prefix: str
    kind: str


def source_of(path: str | os.PathLike[str], options: MutableMapping[str, Any]) -> Source:
    """Look at what is to be loaded; where it is one of ours, the configuration is put into `options`.

    Args:
        path: a folder of ours or of transformers', a run, or a name on the hub.
        options: of `from_pretrained`; those that belong to a configuration are taken out where one is put in.

    Raises:
        AaspError: there is no such folder, or a configuration of ours is damaged.
        OSError: there is none of that name on the hub, as transformers reports it.
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
        changes = {name: options.pop(name) for name in list(options) if hasattr(config, name)}
        for name, value in changes.items():
            setattr(config, name, value)
        options["config"] = config
    return Source(place, "encoder." if "classes" in values else "", "classifier" if "classes" in values else "encoder")


def key_mapping(source: Source, wanted: str) -> dict[str, str]:
    """How the weights of one kind of model are called in another: patterns of names to names.

    Args:
        source: what is loaded.
        wanted: the class that is made of it.
    """
    kind = HF_KINDS[wanted]
    if kind in (source.kind, "pretraining"):
        return {}
    pattern = "^" + source.prefix.replace(".", r"\.")
    return {pattern: "model.encoder." if kind == "classifier" else "model."}
