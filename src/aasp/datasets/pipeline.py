"""Endless batches of random crops of a set's files, reproducible from a seed or a position.

grain shuffles each epoch, draws each crop's position from a generator keyed by the crop's index, decodes on threads and
keeps the order, so that neither the thread count nor an interruption changes a sample. Processes interleave one global
sequence: in each step, two processes with batches of 16 together get the same crops as one with batches of 32.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import absl.logging  # noqa: F401  (before its logger is requested, since it sets the logger's class)
import numpy as np
import torch

from aasp.audio.error import check_folder
from aasp.audio.io import AudioError
from aasp.audio.priority import let_computing_first
from aasp.audio.reading import check_loud
from aasp.audio.sounds import Sound, describe, read_sound
from aasp.datasets.clips import Clips, listing
from aasp.datasets.index import Skipped
from aasp.datasets.measured import MIN_SECONDS
from aasp.errors import AaspError

logging.getLogger("absl").disabled = True  # on import, grain warns that there is no jax to profile
import grain  # noqa: E402

from aasp.datasets.redistribution import Dealt, Order  # noqa: E402

logging.getLogger("absl").disabled = False

# If this many different files in a row can't be decoded, a disk is gone or a folder was moved.
_TOO_MANY_FAILURES = 1000

# Entries of a state's `made_with` that depend on the files; the others are settings.
DATA = ("files", "listing", "audio_seconds", "cache")
# Entries that depend on the number of processes.
OF_PROCESSES = ("batch", "world", "cache")


class CropPipeline:
    """An endless iterator over batches of random crops, with an exact position.

    An epoch takes one crop from each clip, at a uniformly random position. A batch is
    `{"wave": float32 (batch, samples), "length": int64 (batch,)}` on the CPU; a clip shorter than the crop is zero
    beyond its `length`. A clip that can't be decoded is left out, listed in `skipped` and tried again next epoch.

    Args:
        clips: the files.
        seconds: length of a crop.
        batch: crops per batch of this process.
        seed: of the order and the crops; consecutive seeds are independent.
        rate: sample rate in Hz.
        workers: decoding threads; 0 decodes in the calling thread.
        shard: (rank, world): rank of this process, and number of processes.
        cache: decode each file once, whole, keep it in memory (230 MB per hour at 16 kHz) and cut crops from it. For
            sets that fit in memory: there is no decoding from the second epoch on.
        target: returns a clip's label vector (K,), which the batch then has as "target", float32 (batch, K).
        target_from: instead of `target`, for labels over time: returns the labels (G, K) of a clip from a given second
            on.
        shortest: seconds of the shortest clip that the front end can read, its analysis window.
        data_changed: let `restore` accept a position in other data: the order of these files then continues after the
            same number of crops.
        weighted: (weights (clips,), clips per epoch): each epoch draws this many clips, with probabilities by weight;
            if omitted, an epoch has every clip once.
        replacement: whether a weighted epoch may draw a clip several times; needed if it is not much smaller than the
            set, since without replacement the weights of an epoch of all clips only change their order.

    Raises:
        AaspError: a setting is out of range; or, while iterating, no file can be decoded.
    """

    def __init__(
        self,
        clips: Clips,
        *,
        seconds: float,
        batch: int,
        seed: int,
        rate: int = 16_000,
        workers: int = 2,
        shard: tuple[int, int] = (0, 1),
        cache: bool = False,
        target: Callable[[int], np.ndarray] | None = None,
        target_from: Callable[[int, float], np.ndarray] | None = None,
        weighted: tuple[np.ndarray, int] | None = None,
        replacement: bool = False,
        shortest: float = MIN_SECONDS,
        data_changed: bool = False,
    ) -> None:
        rank, world = shard
        if seconds < MIN_SECONDS or batch < 1 or seed < 0 or workers < 0 or not 0 <= rank < world:
            settings = f"seconds {seconds}, batch {batch}, seed {seed}, workers {workers}, shard {rank} of {world}"
            raise AaspError(f"no such pipeline: {settings}; give a crop of at least {MIN_SECONDS} s and a batch")
        self._clips, self._durations = clips, clips.seconds
        self._target, self._target_from = target, target_from
        self._rate, self._samples = rate, round(seconds * rate)
        self._data_changed, self._shortest = data_changed, max(shortest, MIN_SECONDS)
        self._waves: dict[int, np.ndarray] | None = {} if cache else None
        self._ahead = workers > 0
        self._lock = threading.Lock()
        self._failed: dict[str, str] = {}
        self._failed_since_success: set[str] = set()
        # Data and settings for which a position is valid.
        self._made_with: dict[str, Any] = {
            "files": len(clips),
            "listing": listing(clips),
            "audio_seconds": round(float(self._durations.sum()), 3),
            "seconds": seconds,
            "batch": batch,
            "seed": seed,
            "rate": rate,
            "world": world,
            "cache": cache,
        }
        # grain's shuffle adds the epoch to its seed: consecutive seeds would have the same orders, an epoch apart.
        order_seed, crop_seed = (int(word) for word in np.random.SeedSequence(seed).generate_state(2))
        if weighted is None:
            order = grain.MapDataset.range(len(clips)).shuffle(seed=order_seed)
        else:
            self._made_with |= {"weighted": weighted[1]} | ({"replacement": True} if replacement else {})
            order = grain.MapDataset.source(_WeightedOrder(*weighted, replacement, order_seed))
        crops = order.repeat()
        self._crops = crops.random_map(self._crop, seed=crop_seed)
        self._read = grain.ReadOptions(num_threads=workers, prefetch_buffer_size=2 * max(batch, workers))
        self._shard, self._size = shard, batch
        self._deal(Order())

    def _deal(self, order: Order) -> None:
        self._order = order
        crops = Dealt(self._crops, order, *self._shard).to_iter_dataset(self._read)
        self._batches = iter(crops.batch(self._size, drop_remainder=True))

    def __iter__(self) -> CropPipeline:
        return self

    def __next__(self) -> dict[str, torch.Tensor]:
        batch = next(self._batches)
        return {name: torch.from_numpy(array) for name, array in batch.items()}

    @property
    def source(self) -> str:
        """Source of the clips, for messages."""
        return self._clips.source

    @property
    def listing(self) -> str:
        """Hash of the names of the clips."""
        return self._made_with["listing"]

    @property
    def skipped(self) -> list[Skipped]:
        """Files that could not be decoded so far, each once, sorted; read-ahead included."""
        with self._lock:
            return [Skipped(path, reason) for path, reason in sorted(self._failed.items())]

    def state(self) -> dict[str, Any]:
        """The position after the batches taken so far, as JSON."""
        return {"position": self._batches.get_state(), "made_with": self._made_with, **self._order.document()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state` of this pipeline or of an equal one, with the batch that would have come next.

        Raises:
            AaspError: the state is of other files, unless `data_changed` allows it; or of another seed, crop, batch or
                number of processes.
        """
        self._check(state)
        self._deal(Order.of(state))
        self._batches.set_state(state["position"])

    def rejoin(self, states: Sequence[dict[str, Any]]) -> None:
        """Continue from the states of another number of processes: the crops that none has taken are redistributed.

        Raises:
            AaspError: as `restore`, except for the number of processes and the settings that depend on it.
        """
        self._check(states[0], OF_PROCESSES)
        self._deal(Order.of(states[0]).after([state["position"]["next_index"] for state in states]))

    def _check(self, state: Mapping[str, Any], but: Sequence[str] = ()) -> None:
        for name, (was, now) in self.differences(state).items():
            if name not in but and not (self._data_changed and name in DATA):
                text = f"{named_difference(name, was, now)}; give that run's data and settings, or start in a new --out"
                raise AaspError(f"data of another run: {self._clips.source}: {text}")

    def differences(self, state: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Entries in which a `state` differs from this pipeline: name to (old, new). `DATA` are those of the files."""
        then, now = state["made_with"], self._made_with
        names = [name for name in now if name != "listing" or name in then]  # older states have no listing
        return {name: (then.get(name), now[name]) for name in names if then.get(name) != now[name]}

    def _crop(self, row: int, random: np.random.Generator) -> dict[str, np.ndarray | np.int64] | None:
        """One random crop of a clip; None, which grain skips, if it can't be decoded."""
        if self._ahead:
            let_computing_first()
        sound = self._clips.sound(row)
        place = random.random()
        try:
            start, wave = self._window(row, sound, place)
            if len(wave) < round(self._shortest * self._rate):
                window = f"less than one analysis window of {1000 * self._shortest:g} ms"
                raise AudioError(describe(sound), f"too short: {len(wave)} samples, {window}", "remove it")
            check_loud(describe(sound), wave)
        except AudioError as error:
            self._note_failure(error)
            return None
        if self._failed_since_success:
            with self._lock:
                self._failed_since_success.clear()
        padded = np.zeros(self._samples, dtype=np.float32)
        padded[: len(wave)] = wave
        crop: dict[str, np.ndarray | np.int64] = {"wave": padded, "length": np.int64(len(wave))}
        if self._target is not None:
            crop["target"] = self._target(row).astype(np.float32)
        if self._target_from is not None:
            crop["target"] = self._target_from(row, start).astype(np.float32)
        return crop

    def _window(self, row: int, sound: Sound, place: float) -> tuple[float, np.ndarray]:
        """Start in seconds and samples of the crop at the relative position `place`, 0 to 1, of the possible starts."""
        if self._waves is None:
            seconds = self._samples / self._rate
            start = place * max(0.0, self._durations[row] - seconds)
            return start, read_sound(sound, rate=self._rate, start=start, seconds=seconds)
        wave = self._waves.get(row)
        if wave is None:
            wave = self._waves[row] = read_sound(sound, rate=self._rate)
        first = round(place * max(0, len(wave) - self._samples))
        return first / self._rate, wave[first : first + self._samples]

    def _note_failure(self, error: AudioError) -> None:
        check_folder(error.path)
        with self._lock:
            self._failed[error.path] = error.reason
            self._failed_since_success.add(error.path)
            failures = len(self._failed_since_success)
        if failures >= min(len(self._clips), _TOO_MANY_FAILURES):
            source = self._clips.source
            raise AaspError(f"no file can be decoded any more in {source}: {failures} failed, the last {error}")


def named_difference(name: str, was: Any, now: Any) -> str:
    """One of a pipeline's `differences` in words."""
    return "names or order of its files differ" if name == "listing" else f"{name} was {was} and is {now}"


class _WeightedOrder:
    """Epochs of clips drawn by weight, as one long sequence for grain.

    Source: Efraimidis & Spirakis 2006: the clips with the largest log(u) / weight are a draw without replacement.
    """

    EPOCHS = 1_000_000

    def __init__(self, weights: np.ndarray, clips: int, replacement: bool, seed: int) -> None:
        drawable = int((weights > 0).sum())
        if not 0 < clips <= (len(weights) if replacement else drawable) or not drawable:
            raise AaspError(f"an epoch of {clips} clips of {drawable} with a weight; give a number in between")
        self._weights, self._clips, self._seed = weights.astype(np.float64), clips, seed
        self._cumulated = np.cumsum(self._weights) if replacement else None
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._clips * self.EPOCHS

    def __getitem__(self, index: int) -> int:
        epoch, place = divmod(index, self._clips)
        with self._lock:  # threads read ahead across the boundary of two epochs
            if epoch != self._epoch:
                self._epoch, self._order = epoch, self._drawn(epoch)
            return int(self._order[place])

    def _drawn(self, epoch: int) -> np.ndarray:
        draw = np.random.default_rng((self._seed, epoch)).random(len(self._weights))
        if self._cumulated is not None:
            return np.searchsorted(self._cumulated / self._cumulated[-1], draw[: self._clips], side="right")
        with np.errstate(divide="ignore"):
            keys = np.log(draw) / self._weights
        return np.argsort(-keys, kind="stable")[: self._clips]
