"""Embed sounds on the workers of a Ray cluster; the file has the same rows as that of a single process.

Blocks of STRETCH sounds, which a single process would sort together, go through Ray Data, whose actors hold the model;
it schedules them, retries them if a worker or a node is lost, and scales. Here the rows are saved in order, as a single
process saves its own (`aasp.evaluate.partial`), so that a second call computes only what is missing. If a block crashes
its worker on every try, its sounds are run one by one, and those that crash are left out like other unusable files.

r rows of a block.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import torch

from aasp import cluster
from aasp.audio.io import AudioError
from aasp.audio.sounds import Sound, describe
from aasp.datasets.index import Skipped
from aasp.errors import AaspError
from aasp.evaluate.features import Running, left_out
from aasp.evaluate.prefetch import STRETCH
from aasp.evaluate.stream import Work, rows_of
from aasp.evaluate.vectors import ClipVectors, VectorRequest, vectors
from aasp.model.embeddings import Embedder
from aasp.training.precision import Precision, fastest

BLOCKS = 1 << 14
"""Blocks passed to Ray at once: four million sounds."""
DIED = f"it crashed its worker, {1 + cluster.RETRIES} times"


@dataclass(frozen=True)
class Rows:
    """Some sounds, and the row of the first; an object, because Ray would turn a list into columns."""

    first: int
    sounds: Sequence[Sound]


@dataclass(frozen=True)
class Made:
    """The result of a block: its table in Arrow format, skipped rows with messages, or the error."""

    first: int
    table: bytes
    skipped: list[tuple[int, Skipped, str]]
    error: str = ""


@dataclass(frozen=True)
class OnRay:
    """An engine for `aasp.evaluate.stream.stream` that embeds on a Ray cluster.

    Attributes:
        device: auto, cpu or cuda.
        threads: torch threads, and cores, of each CPU worker.
        workers: decoding threads of each worker.
    """

    device: str = "auto"
    threads: int = 1
    workers: int = 1

    def precision(self, requested: Precision) -> Precision:
        """Resolve "auto" on one of the cluster's workers."""
        ray, gpu = cluster.connect(), cluster.gpus(self.device)
        find = ray.remote(fastest).options(num_gpus=int(gpu))
        return ray.get(find.remote(requested, torch.device("cuda" if gpu else "cpu")))

    def __call__(self, work: Work) -> None:
        """Make the missing shards; see `aasp.evaluate.stream.stream`.

        Raises:
            AaspError: a named sound can't be used, or something other than a sound failed.
        """
        partial, sounds, size = work.partial, work.sounds, STRETCH
        running = replace(work.running, workers=self.workers)
        given = (work.encoder, work.wanted, running, work.channel, self.threads, os.getcwd())
        while partial.done < len(sounds):
            begun = partial.done
            blocks = [
                Rows(first, sounds[first : first + size])
                for first in range(begun, min(len(sounds), begun + BLOCKS * size), size)
            ]
            for made in self._made(blocks, given):
                if made.first != partial.done:
                    break  # the previous block is lost
                _check(made, work.named)
                last = min(len(sounds), made.first + size)
                partial.add(_read(made.table), last, [one for _, one, _ in made.skipped])
                work.show(partial.done)
            if partial.done < min(len(sounds), begun + BLOCKS * size):
                self._one_by_one(work, given)
                work.show(partial.done)

    def _one_by_one(self, work: Work, given: tuple) -> None:
        """Embed a block that crashed its workers sound by sound; sounds that crash a worker are left out."""
        partial, sounds = work.partial, work.sounds
        first, last = partial.done, min(len(sounds), partial.done + STRETCH)
        made = {one.first: one for one in self._made([Rows(row, [sounds[row]]) for row in range(first, last)], given)}
        tables, skipped = [], []
        for row in range(first, last):
            if row not in made:
                if work.named(row):
                    raise AudioError(describe(sounds[row]), DIED, "leave it out, or save it in another format")
                skipped.append(Skipped(describe(sounds[row]), DIED))
                continue
            _check(made[row], work.named)
            skipped += [one for _, one, _ in made[row].skipped]
            tables.append(_read(made[row].table))
        filled = [table for table in tables if table.num_rows] or tables[:1]
        partial.add(pa.concat_tables(filled) if filled else rows_of([], [], work.channel), last, skipped)

    def _made(self, blocks: Sequence[Rows], given: tuple) -> Iterator[Made]:
        """Results of blocks, in order; blocks that crashed their worker on every try are left out."""
        gpu = cluster.gpus(self.device)
        from ray import data as ray_data
        from ray.exceptions import RayError

        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        context = ray_data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.max_errored_blocks = -1
        data = ray_data.from_items([{"rows": block} for block in blocks], override_num_blocks=len(blocks))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about options that Ray plans to rename
            made = data.map_batches(
                Worker,
                fn_constructor_args=("cuda" if gpu else "cpu", *given),
                batch_size=1,
                compute=ray_data.ActorPoolStrategy(min_size=1, max_tasks_in_flight_per_actor=2),
                num_cpus=max(self.threads, self.workers) if gpu else self.threads,
                num_gpus=1 if gpu else 0,
                max_restarts=-1,
                max_task_retries=cluster.RETRIES,
            )
        try:
            for row in made.iter_rows():
                yield row["made"]
        except RayError as error:
            raise AaspError(cluster.ray_failure(error)) from None


class Worker:
    """A Ray Data actor: holds the model, embeds blocks of sounds."""

    def __init__(
        self,
        device: str,
        encoder: Embedder,
        wanted: VectorRequest,
        running: Running,
        channel: pa.DataType | None,
        threads: int,
        place: str,
    ) -> None:
        if os.path.isdir(place):
            os.chdir(place)  # paths of sounds may be relative to it
        torch.set_num_threads(threads)
        self._encoder = encoder.to(device) if isinstance(encoder, torch.nn.Module) else encoder
        self._wanted, self._running, self._channel = wanted, running, channel

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        (rows,) = batch["rows"]
        try:
            made = self._embed(rows)
        except Exception as error:  # not caused by a sound: report it once, instead of retrying sound by sound
            text = str(error) if isinstance(error, AaspError) else f"{type(error).__name__}: {error}"
            made = Made(rows.first, b"", [], " ".join(text.split()))
        return {"made": [made]}

    def _embed(self, rows: Rows) -> Made:
        made: dict[int, ClipVectors] = {}
        skipped: list[tuple[int, Skipped, str]] = []

        def refuse(row: int, error: AudioError) -> None:
            skipped.append((rows.first + row, left_out(rows.sounds[row], error), str(error)))

        for some in vectors(self._encoder, rows.sounds, refuse, self._wanted, self._running):
            made |= some
        usable = sorted(made)
        table = rows_of([rows.sounds[row] for row in usable], [made[row] for row in usable], self._channel)
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return Made(rows.first, sink.getvalue(), sorted(skipped))


def _check(made: Made, named: Callable[[int], bool]) -> None:
    """Check that nothing failed, and that no explicitly named sound was skipped."""
    if made.error:
        raise AaspError(f"a worker failed: {made.error}; AASP_DEBUG=1 without --engine ray shows where")
    for row, _, message in made.skipped:
        if named(row):
            raise AaspError(message)


def _read(table: bytes) -> pa.Table:
    return pa.ipc.open_stream(table).read_all()
