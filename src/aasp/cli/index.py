"""`aasp index`: a searchable index of folders and manifests, updated by the same command."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from aasp.cli.arguments import parse, set_threads
from aasp.cli.inputs import is_model, line, model_and_files
from aasp.cli.progress import bar
from aasp.cli.running import RunningOptions, VectorOptions
from aasp.cli.skipped import show_skipped
from aasp.errors import AaspError, one_line

if TYPE_CHECKING:
    from aasp.index.layout import Settings, State
    from aasp.model.audio_encoder import AudioEncoder


@dataclass(frozen=True, kw_only=True)
class Index(VectorOptions, RunningOptions):
    """Make an index of sounds: their vectors and locations, for `aasp search` and `aasp duplicates`.

    The same command again embeds new and changed sounds, and drops those that are gone from the folders and manifests
    named. A command that was stopped resumes. An index has one model and one setting: options that are omitted later
    keep the values of its first command.
    """

    words: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[MODEL] SOUNDS")]
    """The folder of a model or of a run, or a model on the hub (default: the index's own, else the model in the
    package); then folders, searched recursively, .csv, .tsv or .parquet manifests, whose other columns are kept as
    labels, tar shards, Parquet files of sounds, and URLs of these."""
    out: Path | None = None
    """Folder of the index."""
    window: float | None = None
    """Length of the windows that recordings are cut into, in seconds; whole files by default."""
    hop: float | None = None
    """Seconds from the start of one window to the next; --window by default."""
    channels: str | None = None
    """Channel of multi-channel files: mean (the default), first, loudest, a number (1, 2, …), or each."""
    path_column: str | None = None
    """Column of a manifest that holds the paths."""
    to: Literal["lancedb", "qdrant"] | None = None
    """Also write the whole index to a vector database, to a table of the index's name, which is replaced."""
    database: str | None = None
    """The database: for LanceDB a folder or an object store's URI, for Qdrant a server's URL, or a folder."""
    workers: int | None = None
    """Threads that decode ahead, one per core by default."""
    threads: int | None = None
    """CPU threads of torch; one per core by default."""


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
    """Create or update the index."""
    from dataclasses import replace

    from aasp.index.building import update
    from aasp.index.layout import SKIPPED, STATE, Model, read_state
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
        print(one_line(note), file=sys.stderr)
    show_skipped(done.skipped, out / SKIPPED)
    text = f"{done.added:,} file(s) added" + (f" ({done.changed:,} of them changed)" if done.changed else "")
    gone = f", {done.gone:,} dropped" if done.gone else ""
    print(f"{out}: {done.rows:,} row(s) of {done.width} dimensions; {text}{gone}")


def _model(arguments: Index, argv: list[str], was: State | None) -> tuple[str, tuple[str, ...]]:
    """The model and the sources: the index's own model if none is named."""
    words = arguments.words
    if was is not None and not is_model(words[0]) and (os.path.exists(words[0]) or "://" in words[0]):
        return was.model.name, words
    return model_and_files(words, "index", argv)


def _settings(arguments: Index, encoder: AudioEncoder, was: State | None) -> Settings:
    """The embedding settings: as given; omitted ones are those of the index."""
    from aasp.audio.channels import checked
    from aasp.evaluate.embedding import requested_keys
    from aasp.index.layout import Settings
    from aasp.training.precision import fastest, for_vectors

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
        own = for_vectors(precision, encoder.config.whitened)
        precision = fastest(own, encoder.device) if was is None else before.precision
    return Settings(
        vector=vector or before.vector,
        channels=channels or before.channels,
        window=window if window is not None else before.window,
        hop=hop if hop is not None else before.hop,
        precision=precision,
    )
