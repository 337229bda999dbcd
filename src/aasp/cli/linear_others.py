"""Encoders of others in `aasp linear` and `aasp compare`: frozen, with the same probes as ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aasp.audio.sounds import Sound
from aasp.compare.readings import AdapterReader, EncoderReader, Readable
from aasp.datasets.index import Skipped
from aasp.encoders import AudioEncoderAdapter, EncoderAdapter, open_adapter
from aasp.encoders.vectors import OWN as ITS_OWN
from aasp.encoders.vectors import clip_vectors
from aasp.errors import AaspError
from aasp.model.folder import packaged
from aasp.training.precision import Precision

AST = "MIT/ast-finetuned-audioset-10-10-0.4593"
OWN = ("own", "own")
"""Layer and pooling of an encoder's default vector."""


@dataclass(frozen=True)
class Other:
    """An encoder of others, under the name given."""

    name: str
    adapter: EncoderAdapter

    @classmethod
    def open(cls, name: str, device: str, precision: Precision) -> Other:
        """Open an adapter, as for `aasp alias`, or BirdNET, and put it on a device.

        Raises:
            AaspError: there is no such encoder, or it can't be loaded.
        """
        if not (Path(name).exists() or name in ("birdnet", *packaged()) or {"/", ":", "="} & set(name)):
            text = f"the folder of a model, or its name on the hub as in {AST}, or a function as file.py:name"
            raise AaspError(f"--encoder {name}: no such encoder; give birdnet, {text}")
        return cls(name, open_adapter(name, device, precision))

    @property
    def short(self) -> str:
        """Its name in tables and folders: the end of the name given."""
        return re.split("[:/]", self.adapter.name)[-1]

    def reader(self) -> Readable:
        """What a comparison probes; for our models all layers."""
        if isinstance(self.adapter, AudioEncoderAdapter):
            return EncoderReader(self.adapter.encoder)
        return AdapterReader(self.adapter)

    def features(
        self, sounds: Sequence[Sound], skipped: list[Skipped], progress: Callable[[int, int], object]
    ) -> dict[tuple[str, str], np.ndarray]:
        """Its vectors (n, D), NaN for sounds that can't be used, which are added to `skipped`."""
        return {OWN: clip_vectors(self.adapter, sounds, skipped, progress)[ITS_OWN]}
