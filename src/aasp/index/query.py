"""A query: a sound's vector by the index's own model, refined by examples of what is wanted and what is not.

Legend: D width, C channels. Source: J. J. Rocchio, Relevance feedback in information retrieval, 1971; its weights as in
Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, section 9.1.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from aasp.audio.channels import checked
from aasp.audio.io import AudioError, probe
from aasp.audio.sounds import Excerpt, Sound, channels_of, chosen, duration, files
from aasp.errors import AaspError
from aasp.evaluate.features import PLAIN, Running
from aasp.evaluate.vectors import VectorRequest, vectors
from aasp.index.adding import keys_of
from aasp.index.changes import windows
from aasp.index.nearest import unit
from aasp.index.opened import Index
from aasp.model.audio_encoder import AudioEncoder, load

LIKE, UNLIKE = 0.75, 0.15
_OWN = ("hash", "modified", "size", "source")  # columns that describe a file, not its sound


def model_of(index: Index, device: str | torch.device = "cpu") -> AudioEncoder:
    """The model that made an index.

    Raises:
        AaspError: it does not exist any more, or has been replaced by another one.
    """
    name = index.model.name
    try:
        encoder = load(name, device)
    except AaspError as error:
        raise AaspError(f"{index.folder}: the model that made it: {error}") from None
    if encoder.digest != index.model.digest:
        text = f"made by {name} as it was ({index.model.digest[:12]}), and there is another now ({encoder.digest[:12]})"
        raise AaspError(f"{index.folder}: {text}; put the model back, or make the index again")
    return encoder


def channels_in(index: Index, path: str) -> list[Sound]:
    """A file, read as those of the index were: one sound, or, if the index has a row per channel, one for each.

    Raises:
        AaspError: the file can't be used, or does not have the channel that the index is of.
    """
    channels = checked(index.settings.channels)
    if isinstance(channels, int) and (count := probe(path).channels) < channels:
        text = f"{path}: has {count} channel(s), and {index.folder} is of channel {channels}"
        raise AaspError(f"{text}; choose a file that has it, or a row")
    return chosen(path, channels)


def embed(index: Index, encoder: AudioEncoder, sounds: Sequence[Sound], running: Running = PLAIN) -> np.ndarray:
    """Unit vectors of sounds, float32 (n, D), made as those of the index.

    Args:
        index: gives the vectors' layer, pooling and precision.
        encoder: its model.
        sounds: n sounds; `channels_in` chooses a file's channels as the index does.
        running: batches and threads; the precision is the index's.

    Raises:
        AudioError: one can't be used.
    """
    made: dict[int, np.ndarray] = {}

    def refuse(row: int, error: AudioError) -> None:
        raise error

    running = replace(running, precision=index.settings.precision)
    for some in vectors(encoder, sounds, refuse, VectorRequest(keys_of(index.settings)), running):
        made |= {row: vector for row, (vector, _) in some.items()}
    return unit(np.stack([made[row] for row in range(len(sounds))]))


def rocchio(query_D: np.ndarray, like_nD: np.ndarray, unlike_nD: np.ndarray) -> np.ndarray:
    """The query moved towards the mean of positive examples, and away from the mean of negative ones.

    q + 0.75 mean(like) - 0.15 mean(unlike), of unit length; either may be empty.

    Raises:
        AaspError: the result is zero.
    """
    moved = unit(query_D)
    if len(like_nD):
        moved = moved + LIKE * unit(like_nD).mean(0)
    if len(unlike_nD):
        moved = moved - UNLIKE * unit(unlike_nD).mean(0)
    return unit(moved)


def described(index: Index, row: int, similarity: float) -> dict[str, Any]:
    """A row in the results: its number, cosine, times, labels and path, as stored in the index."""
    _, start, seconds = index.sound(row)
    first = {"row": row, "similarity": similarity, "start": start, "seconds": seconds}
    own = [name for name in index.rows.column_names if name not in ("path", "start", "seconds", *_OWN)]
    labels = {f"own_{name}" if name in first else name: index.rows[name][row].as_py() for name in own}
    return first | labels | {"path": index.rows["path"][row].as_py()}


def moments(
    index: Index, encoder: AudioEncoder, row: int, query_CD: np.ndarray, window: float
) -> tuple[list[tuple[float, float]], np.ndarray]:
    """Windows of a row's recording, overlapping by half, and their similarity to the nearest of a query's channels.

    Args:
        index: an index of whole files.
        encoder: its model.
        row: the row whose recording is searched.
        query_CD: the query's vectors, C of them.
        window: length of a window, in seconds.

    Returns:
        (start, seconds) of each window, in order, and cosines, float32 (windows,).

    Raises:
        AudioError: the recording can't be used.
    """
    sound = index.recording(row)
    (path,), channels = files(sound), channels_of(sound)
    spans = list(windows(duration(sound), window, window / 2, encoder.config.frontend.shortest_ms / 1000))
    parts = [Excerpt(path, start, seconds, channels) for start, seconds in spans]
    return spans, (embed(index, encoder, parts) @ unit(query_CD).T).max(1)
