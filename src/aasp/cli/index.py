"""`aasp index`: folders and manifests in, a searchable index out, brought up to date by the same command."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from aasp.cli.arguments import parse, set_threads
from aasp.cli.inputs import is_model, line, model_and_files
from aasp.cli.progress import bar
from aasp.cli.running import RunningOptions, VectorOptions
from aasp.cli.skipped import show_skipped
from aasp.errors import AaspError

if TYPE_CHECKING:
    from aasp.index.layout import Settings, State
    from aasp.model.audio_encoder import AudioEncoder


@dataclass(frozen=True, kw_only=True)
class Index(VectorOptions, RunningOptions):
    """Make an index of sounds: their vectors, and where they are, for `aasp search` and `aasp duplicates`.

    The same command again embeds what is new or changed, and drops what is gone from the folders and manifests that it
    names. A command that was stopped resumes where it was. An index is of one model and one setting: those of its first
    command hold where a later one leaves them out.
    """

    words: tyro.conf.Positional[tuple[str, ...]]
    """The folder of a model or of a run, or a model on the hub, if not the index's own or the one that comes with the
    package; then folders, searched to the bottom, .csv, .tsv or .parquet manifests, whose other columns are kept as
    labels, tar shards, Parquet files of sounds, and URLs of these."""
    out: Path | None = None
    """Folder of the index."""
    window: float | None = None
    """Seconds of the moments that recordings are cut in; whole files when left out."""
    hop: float | None = None
    """Seconds from the start of one moment to the next; --window when left out."""
    channels: str | None = None
    """Of files of several: their mean (when left out), first, loudest, a channel's number from 1 on, or each."""
    path_column: str | None = None
    """Column of a manifest to take for path."""
    to: Literal["lancedb", "qdrant"] | None = None
    """Then also write the whole index to a vector database, in a table of the index's name, which is replaced."""
    database: str | None = None
    """Where that is: for LanceDB a folder or an object store's URI, for Qdrant a server's URL, or a folder."""
    workers: int | None = None
    """Threads that decode ahead, one a core when left out."""
    threads: int | None = None
    """CPU threads of torch; one a core when left out."""


def run(argv: list[str]) -> int:
    arguments = parse(Index, argv, prog="aasp index")
    if not arguments.words and arguments.to is None:
        raise AaspError(f"nothing to index: {line('index', 'recordings', '--out', 'birds.index')}")
    if arguments.out is None:
        raise AaspError(f"--out is missing: {line('index', *argv, '--out', 'birds.index')}")
    if (arguments.to is None) != (arguments.database is None):
        raise AaspError("--to and --database belong together; give both, as in --to lancedb --database birds.lance")
    if arguments.words:
        _update(arguments, arguments.out, argv)
    if arguments.to is not None and arguments.database is not None:
        from aasp.index import Index as Opened
        from aasp.index.databases import DATABASES

        index, name = Opened.open(arguments.out), arguments.out.resolve().stem
        DATABASES[arguments.to](index, arguments.database, name)
        print(f"{arguments.database}: {len(index):,} row(s) in {name}")
    return 0


def _update(arguments: Index, out: Path, argv: list[str]) -> None:
    """Make the index, or bring it up to date."""
    from dataclasses import replace

    from aasp.index.building import update
    from aasp.index.layout import STATE, Model, read_state
    from aasp.model.audio_encoder import load

    was = read_state(out) if (out / STATE).exists() else None
    name, sources = _model(arguments, argv, was)
    set_threads(arguments.threads)
    running = arguments.running()
    if arguments.workers is not None:
        running = replace(running, workers=arguments.workers)
    place = arguments.place()
    encoder = load(name, place)
    settings = _settings(arguments, encoder, was)
    called = os.path.abspath(name) if os.path.exists(name) else name
    with bar("indexing") as show:
        done = update(
            out,
            encoder,
            Model(called, encoder.digest),
            settings,
            sources,
            running=running,
            path_column=arguments.path_column,
            progress=show,
        )
    for note in done.notes:
        print(note, file=sys.stderr)
    if not done.skipped:
        (out / "skipped.csv").unlink(missing_ok=True)  # of an earlier call
    show_skipped(done.skipped, out / "skipped.csv")
    text = f"{done.added:,} file(s) added" + (f" ({done.changed:,} of them changed)" if done.changed else "")
    gone = f", {done.gone:,} dropped" if done.gone else ""
    print(f"{out}: {done.rows:,} row(s) of {done.width} dimensions; {text}{gone}")


def _model(arguments: Index, argv: list[str], was: State | None) -> tuple[str, tuple[str, ...]]:
    """The model and the sources: the index's own model where none is named."""
    words = arguments.words
    if was is not None and not is_model(words[0]) and (os.path.exists(words[0]) or "://" in words[0]):
        return was.model.name, words
    return model_and_files(words, "index", argv)


def _settings(arguments: Index, encoder: AudioEncoder, was: State | None) -> Settings:
    """How to embed: as asked; what is left out as the index was begun."""
    from aasp.audio.channels import checked
    from aasp.evaluate.embedding import requested_keys
    from aasp.index.layout import Settings
    from aasp.training.precision import fastest

    window, hop = arguments.window, arguments.hop
    for option, value in (("--window", window), ("--hop", hop)):
        if value is not None and not 0.025 <= value <= 86_400:
            raise AaspError(f"{option} {value:g}: give seconds, from 0.025 to 86400")
    if hop is not None and window is None and (was is None or was.settings.window is None):
        raise AaspError(f"--hop {hop:g} without --window; add --window")
    if window is not None and hop is None:
        hop = window if was is None or was.settings.window != window else was.settings.hop
    keys = requested_keys(encoder, arguments.layer, arguments.pooling)
    vector = None if keys is None else " ".join(f"{layer}:{pooling}" for layer, pooling in keys)
    channels = None if arguments.channels is None else str(checked(arguments.channels))
    before = Settings() if was is None else was.settings
    precision: Any = arguments.precision
    if precision == "auto":
        precision = fastest(precision, encoder.device) if was is None else before.precision
    return Settings(
        vector=vector or before.vector,
        channels=channels or before.channels,
        window=window if window is not None else before.window,
        hop=hop if hop is not None else before.hop,
        precision=precision,
    )
