"""`aasp.embed`: embeddings of files or waveforms of any rate and length, in one call.

n sounds, S samples, G time patches, F subbands, D width, V the vector's width.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

import numpy as np
import torch

from aasp.audio.channels import Channels
from aasp.audio.io import AudioError
from aasp.audio.sounds import describe
from aasp.devices import device_of
from aasp.errors import AaspError
from aasp.evaluate.features import Progress, Running, Timestamps
from aasp.evaluate.inputs import Given, sounds_of
from aasp.evaluate.prefetch import BATCH
from aasp.evaluate.vectors import ClipVectors, VectorRequest, vectors
from aasp.model.audio_classifier import AudioClassifier
from aasp.model.audio_encoder import AudioEncoder, load
from aasp.model.embeddings import Embedder
from aasp.model.folder import default_model, find
from aasp.model.readout import Key, check_keys
from aasp.training.precision import Precision

if TYPE_CHECKING:
    import pandas

AnyModel = str | os.PathLike[str] | AudioEncoder | AudioClassifier | None


class Options(TypedDict, total=False):
    """The last arguments of `embed`, for type checkers."""

    layer: int | Sequence[int] | None
    pooling: str | Sequence[str] | None
    channels: Channels | str
    device: str | torch.device
    precision: Precision
    batch: int
    progress: Progress | None


@overload
def embed(
    paths_or_arrays: Given | Sequence[Given],
    rate: int | None = None,
    model: AnyModel = None,
    frames: Literal[False] = False,
    as_frame: Literal[False] = False,
    **options: Unpack[Options],
) -> np.ndarray: ...


@overload
def embed(
    paths_or_arrays: str | os.PathLike[str],
    rate: int | None = None,
    model: AnyModel = None,
    *,
    frames: Literal[True],
    as_frame: Literal[False] = False,
    **options: Unpack[Options],
) -> Timestamps: ...


@overload
def embed(
    paths_or_arrays: Given | Sequence[Given],
    rate: int | None = None,
    model: AnyModel = None,
    *,
    frames: Literal[True],
    as_frame: Literal[False] = False,
    **options: Unpack[Options],
) -> Timestamps | list[Timestamps]: ...


@overload
def embed(
    paths_or_arrays: Given | Sequence[Given],
    rate: int | None = None,
    model: AnyModel = None,
    frames: bool = False,
    *,
    as_frame: Literal[True],
    **options: Unpack[Options],
) -> pandas.DataFrame: ...


def embed(
    paths_or_arrays: Given | Sequence[Given],
    rate: int | None = None,
    model: AnyModel = None,
    frames: bool = False,
    as_frame: bool = False,
    *,
    layer: int | Sequence[int] | None = None,
    pooling: str | Sequence[str] | None = None,
    channels: Channels | str = "mean",
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    batch: int = BATCH,
    progress: Progress | None = None,
) -> np.ndarray | Timestamps | list[Timestamps] | pandas.DataFrame:
    """Embed whole sound files or waveforms of any rate and length.

    Args:
        paths_or_arrays: a file's path, or a waveform: a numpy array or tensor of shape (S,), of floats in -1..1 or
            int16; or a list of them, n sounds; or an array (n, S) of n waveforms.
        rate: sample rate of the waveforms, in Hz. Files state their own.
        model: the folder of a model or of a run, a model on the hub, or a loaded model (it stays on its device); the
            model in the package if omitted.
        frames: return vectors over time, one per time patch, instead of one per sound.
        as_frame: return a pandas DataFrame, one row per sound (its `path`, or `array 0` …) or, with frames, one row per
            time patch, indexed by `path` and `seconds`; columns e0, e1, …
        layer, pooling: each layer under each pooling, concatenated (see `aasp.model.readout`); the model's default
            vector if omitted. With frames, the layer of the vectors.
        channels: channel of multi-channel files (`aasp.audio.channels`); not "each".
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps".
        precision: "auto" (the fastest on the device, and fp32 if the model's vector is whitened), "fp32", "bf16" or
            "fp16": within 0.01 of fp32 in cosine distance, except pure tones by a whitened model in bf16 (up to 0.06).
        batch: clips per batch.
        progress: called with (sounds done, n).

    Returns:
        float32 (V,) for one sound, (n, V) for several. With frames, (vectors (G, F · D), seconds (G,)) for one sound:
        seconds are the centres, at most the sound's end; a list of such pairs for several.

    Raises:
        AaspError: a file can't be used, an array is not a waveform or has no rate, a folder was given, there is no such
            model, layer, pooling or device; or pandas is not installed.
    """
    if as_frame:
        _pandas()
    one = not isinstance(paths_or_arrays, list | tuple) and np.ndim(paths_or_arrays) < 2  # type: ignore[arg-type]
    sounds = sounds_of(paths_or_arrays, rate, channels)
    encoder = encoder_of(model, device)
    layers = _layers(layer)
    keys = requested_keys(encoder, layers, _several(pooling))
    running = Running(precision, batch)
    wanted = VectorRequest(keys, frames, layers if frames else ())
    made: dict[int, ClipVectors] = {}
    for some in vectors(encoder, sounds, _refuse, wanted, running):
        made |= some
        if progress is not None:
            progress(len(made), len(sounds))
    found = [made[row][frames] for row in range(len(sounds))]  # the vector, or those over time
    if as_frame:
        return _frame([describe(sound) for sound in sounds], found)
    return found[0] if one else found if frames else np.stack(found)  # type: ignore[return-value,arg-type]


def encoder_of(model: AnyModel, device: Any) -> AudioEncoder:
    """The encoder for `embed`: a loaded one, or loaded here and cached for the next call.

    Raises:
        AaspError: there is no such model or device.
    """
    if isinstance(model, AudioClassifier):
        model = model.encoder
    if isinstance(model, AudioEncoder):
        place = model.device if device == "auto" else device_of(device)
        if place.type != model.device.type or place.index not in (None, model.device.index):  # "cuda" has no index
            raise AaspError(f"device {device}, and the model is on {model.device}; move it there, or leave device out")
        return model
    if model is not None and not isinstance(model, str | os.PathLike):
        text = f"model is of type {type(model).__name__}"
        raise AaspError(f"{text}; give a model's folder, a name on the hub, or a model from aasp.load")
    folder = find(default_model() if model is None else os.fspath(model))
    files = [folder / "config.json", folder / "model.safetensors"]
    stamps = tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.exists())
    return _loaded(folder, device_of(device), stamps)


def requested_keys(encoder: Embedder, layers: Sequence[int], poolings: Sequence[str]) -> list[Key] | None:
    """The (layer, pooling) pairs to concatenate; None for the model's default vector.

    Raises:
        AaspError: the model has no such layer, or there is no such pooling.
    """
    if not layers and not poolings:
        return None
    depth = encoder.config.encoder.depth
    keys = [(one, way) for one in layers or [depth] for way in poolings or [encoder.config.pooling]]
    check_keys(keys, depth)
    return keys


@functools.lru_cache(maxsize=1)
def _loaded(folder: Path, device: torch.device, stamps: tuple) -> AudioEncoder:
    """A cached model, identified by its files' times: repeated calls do not load it again."""
    return load(folder, device)


def _refuse(row: int, error: AudioError) -> None:
    raise error


def _several(one: Any) -> tuple:
    return () if one is None else tuple(one) if isinstance(one, Iterable) and not isinstance(one, str) else (one,)


def _layers(given: Any) -> tuple[int, ...]:
    for one in _several(given):
        if not isinstance(one, Integral) or isinstance(one, bool):
            raise AaspError(f"no such layer: {one!r}; give a whole number, or a list of some")
    return tuple(map(int, _several(given)))


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise AaspError("as_frame needs pandas; pip install 'aasp-audio[pandas]', or pip install pandas") from None
    return pandas


def _frame(names: list[str], values: list) -> pandas.DataFrame:
    pandas = _pandas()
    if isinstance(values[0], Timestamps):
        index = pandas.MultiIndex.from_arrays(
            [np.repeat(names, [len(one.seconds) for one in values]), np.concatenate([one.seconds for one in values])],
            names=["path", "seconds"],
        )
        rows = np.concatenate([one.vectors for one in values])
    else:
        index, rows = pandas.Index(names, name="path"), np.stack(values)
    return pandas.DataFrame(rows, index=index, columns=[f"e{place}" for place in range(rows.shape[1])])
