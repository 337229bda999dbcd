"""`aasp embed`: audio files, folders and manifests in, one file of vectors out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from aasp.cli.arguments import parse, set_threads
from aasp.cli.inputs import find_sounds, line, model_and_files
from aasp.cli.progress import bar
from aasp.cli.running import RunningOptions, VectorOptions
from aasp.cli.skipped import show_skipped
from aasp.errors import AaspError
from aasp.files import check_output

if TYPE_CHECKING:
    from aasp.evaluate.features import Running
    from aasp.evaluate.stream import Engine
    from aasp.model.embeddings import Embedder

SUFFIXES = (".npz", ".parquet")


@dataclass(frozen=True, kw_only=True)
class Embed(VectorOptions, RunningOptions):
    """Compute embeddings of whole audio files of any length, rate and channel count.

    Writes `path` (n,) and `embedding` (n, D), in the given order; with --channels each also `channel` (n,). --frames
    adds vectors over time: in Parquet the lists `frames` and `seconds` of each file; in npz those of all files one
    after the other, those of file i from `offsets[i]` to `offsets[i + 1]`. Finished parts are kept in OUT.part until
    OUT is complete: the same command again resumes.
    """

    words: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[MODEL] FILES")]
    """The folder of a model or of a run, or a model on the hub (default: the model in the package); then sound files,
    folders of them, searched recursively, .csv, .tsv or .parquet manifests, tar shards, Parquet files of sounds, and
    URLs of these. A file named here that cannot be used ends the command; those in folders and manifests are skipped
    and listed."""
    out: Path | None = None
    """File to write: .npz or .parquet."""
    frames: bool = False
    """Also write a vector for each time patch, and its centre in seconds, at most the file's end."""
    hop: float | None = None
    """Seconds between the vectors of --frames: a time patch, or a half or a quarter of it, at two or four times the
    cost."""
    channels: str = "mean"
    """Channel of multi-channel files: mean, first, loudest, a number (1, 2, …), or each (one vector per channel)."""
    path_column: str | None = None
    """Column of a manifest that holds the paths."""
    workers: int | None = None
    """Threads that decode ahead, one per core by default."""
    threads: int | None = None
    """CPU threads of torch; one per core by default."""
    engine: Literal["torch", "onnx", "ray"] = "torch"
    """What runs the model. onnx: the model is a file written by `aasp export`. ray: PyTorch on the Ray cluster of
    RAY_ADDRESS or `ray start`, else on a temporary one on this machine."""
    overwrite: bool = False
    """Replace an existing file, and unfinished output of another command."""


def run(argv: list[str]) -> int:
    arguments = parse(Embed, argv, prog="aasp embed")
    if not arguments.words:
        raise AaspError(_nothing(arguments, argv))
    if arguments.hop is not None and not arguments.frames:
        raise AaspError(f"--hop {arguments.hop:g} without --frames; add --frames")
    if arguments.hop is not None and arguments.layer:
        raise AaspError(
            f"--hop {arguments.hop:g} with --layer: finer vectors exist for the last layer only; leave out one"
        )
    out = _output(arguments, argv)
    model, files = model_and_files(arguments.words, "embed", argv)
    set_threads(arguments.threads)

    from dataclasses import replace

    from aasp.audio.channels import checked
    from aasp.audio.sounds import files as files_of
    from aasp.evaluate.embedding import requested_keys
    from aasp.evaluate.stream import stream
    from aasp.evaluate.vectors import VectorRequest

    channels, running = checked(arguments.channels), arguments.running()
    if arguments.workers is not None:
        running = replace(running, workers=arguments.workers)
    encoder, running = _opened(arguments, model, running)
    keys = requested_keys(encoder, arguments.layer, arguments.pooling)
    found = find_sounds(files, channels, arguments.path_column)
    wanted = VectorRequest(keys, arguments.frames, arguments.layer if arguments.frames else (), arguments.hop)
    with bar("embedding") as show:
        written = stream(
            encoder,
            found.sounds,
            out,
            wanted,
            channel=found.chosen,
            running=running,
            named=found.named.__contains__,
            overwrite=arguments.overwrite,
            progress=show,
            engine=_elsewhere(arguments),
        )
    show_skipped([*found.skipped, *written.skipped], _list_of(out))
    count = len({path for sound in found.sounds for path in files_of(sound)})
    many = f"{written.rows} channels of {count}" if channels == "each" else f"{written.rows:,}"
    before = f", {written.before:,} of them before" if written.before else ""
    print(f"{out}: {many} file(s), {written.dimensions} dimensions{before}" + (", with frames" * arguments.frames))
    return 0


def _nothing(arguments: Embed, argv: list[str]) -> str:
    """The message if no model and no file is named, or an option took them as its values."""
    from aasp.model.pooling import WAYS

    taken = [word for word in arguments.pooling if word not in WAYS]
    if not taken:
        return f"nothing to embed: {line('embed', 'dog.wav', '--out', 'embeddings.npz')}"
    rest = [word for word in argv if word not in taken]
    return f"nothing to embed: --pooling takes every word after it; {line('embed', *taken, *rest)}"


def _opened(arguments: Embed, model: str, running: Running) -> tuple[Embedder, Running]:
    """The encoder and its settings: an exported one runs on the CPU, in the precision of the export."""
    if arguments.engine != "onnx":
        from aasp.model.audio_encoder import load

        return load(model, "cpu" if arguments.engine == "ray" else arguments.place()), running

    from dataclasses import replace

    from aasp.deploy.runtime import onnx_encoder

    place = arguments.place()
    for option, given, fits in (
        ("--device", arguments.device, place.type == "cpu" or arguments.device == "auto"),
        ("--precision", arguments.precision, arguments.precision in ("auto", "fp32")),
    ):
        if not fits:
            text = "an exported model runs on the CPU, in the precision of its file"
            raise AaspError(f"{option} {given} with --engine onnx: {text}; leave it out")
    return onnx_encoder(model, arguments.threads or 0), replace(running, precision="fp32")


def _elsewhere(arguments: Embed) -> Engine | None:
    """The engine that embeds instead of this process, if any."""
    if arguments.engine != "ray":
        return None
    from aasp.cluster import gpus
    from aasp.evaluate.on_ray import OnRay

    gpus(arguments.device)  # errors in it are reported before anything is written
    return OnRay(arguments.device, arguments.threads or 1, 1 if arguments.workers is None else arguments.workers)


def _output(arguments: Embed, argv: list[str]) -> Path:
    """The file to write, after checking that it can be written."""
    if arguments.out is None:
        raise AaspError(f"--out is missing: {line('embed', *argv, '--out', 'embeddings.npz')}")
    out = arguments.out
    if out.is_dir():
        better = [str(out / "embeddings.npz") if word == str(out) else word for word in argv]
        raise AaspError(f"output is a folder: {out}; name a file in it: {line('embed', *better)}")
    if out.suffix not in SUFFIXES:
        raise AaspError(f"no such format: {out}; end it in .npz or .parquet")
    from aasp.evaluate.partial import Partial

    again = arguments.overwrite or Partial(out, []).became
    for path in (out, _list_of(out)):
        check_output(path, overwrite=again)
    return out


def _list_of(out: Path) -> Path:
    return out.with_name(f"{out.stem}.skipped.csv")
