"""`aasp COMMAND …`: finds the command, runs it, and reports its failures in one line.

Only the standard library is imported here, so that `aasp --help` answers without loading torch.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from aasp.errors import AaspError, ProcessLost

COMMANDS = {
    "pretrain": "pre-train a recipe on a folder, CSV or Parquet manifest of audio",
    "embed": "compute embeddings of audio files, one per file or per time step",
    "index": "build a search index of a folder or manifest of audio, or update it",
    "search": "find the sounds in an index that are most similar to a file or a row",
    "duplicates": "find duplicate recordings in an index, also between train and test",
    "map": "write an index as an HTML page: a 2-D map of similar sounds, click to play",
    "label": "label the sounds of an index in the browser, most informative first",
    "linear": "evaluate frozen models with a linear probe on labelled audio",
    "finetune": "fine-tune a classifier on labelled clips, and score it",
    "export": "export a model to ONNX, OpenVINO, ExecuTorch or the browser",
    "whiten": "scale down the directions that dominate a model's vector, learned from your sounds",
    "convert": "convert a published checkpoint of AST, EAT, SSLAM, BEATs, Audio-MAE, M2D or ATST",
    "predict": "classify audio files with a fine-tuned model",
    "serve": "serve a model over HTTP on this machine: embeddings, classes, search",
    "ablate": "run an ablation suite, and compare its cells with intervals",
    "compare": "train recipes with the same budget, probe each, and compare them with intervals",
    "table": "print result tables, with published numbers for comparison",
    "stats": "measure the log-mel mean and standard deviation of a data set",
    "shard": "write a data set as tar shards with an index, for large sets and object stores",
    "scan": "write a manifest of a folder's audio, and list what cannot be read",
    "show": "draw the spectrogram of a sound, and a model's attention on it",
    "info": "show details of a model, a run, an index, a manifest or an audio file",
    "runs": "list the runs in a folder: state, step, loss, speed, health, last checkpoint",
    "watch": "follow a run to its end",
    "reproduce": "repeat a run from its record, and compare the losses",
    "recipes": "list the recipes, or every field of one",
    "plan": "estimate the cost of a recipe: FLOPs, GPU-hours, data, memory, and the bottleneck",
    "alias": "measure aliasing: stability of embeddings, responses of stems, kernels, a report",
    "benchmarks": "list the benchmarks, show what to download for one, or check a copy",
    "doctor": "check this environment, and show remedies for problems",
    "demo": "run the whole pipeline on small generated data, and write a report",
}

EXAMPLES = {
    "pretrain": "aasp pretrain aasp_tiny --data recordings --out runs/tiny",
    "embed": "aasp embed runs/tiny dog.wav recordings --out embeddings.npz",
    "index": "aasp index runs/tiny recordings --out birds.index",
    "search": "aasp search birds.index dog.wav",
    "duplicates": "aasp duplicates birds.index",
    "map": "aasp map birds.index --out map.html",
    "label": "aasp label birds.index --labels labels.csv",
    "linear": "aasp linear runs/tiny --benchmark folder --root clips",
    "finetune": "aasp finetune runs/tiny --benchmark folder --root clips --out runs/clips",
    "export": "aasp export runs/tiny --out tiny.onnx",
    "whiten": "aasp whiten runs/tiny --data recordings --out models/whitened",
    "convert": "aasp convert ast.safetensors --as ast --out models/ast",
    "predict": "aasp predict runs/clips new.wav",
    "serve": "aasp serve runs/tiny",
    "ablate": "aasp ablate stem --data recordings --out lab/stem --steps 400",
    "compare": "aasp compare aasp_tiny eat_tiny --data recordings --benchmarks esc50=ESC-50 --minutes 20 --out lab",
    "table": "aasp table results",
    "stats": "aasp stats recordings",
    "shard": "aasp shard recordings --out shards",
    "scan": "aasp scan recordings --out recordings.parquet",
    "info": "aasp info runs/tiny",
    "runs": "aasp runs runs",
    "watch": "aasp watch runs/tiny",
    "reproduce": "aasp reproduce runs/tiny",
    "plan": "aasp plan aasp_base --gpus 8 --utilisation 0.4",
    "alias": "aasp alias report lab",
    "alias stability": "aasp alias stability runs/tiny --data recordings --out lab",
    "alias response": "aasp alias response runs/tiny --out lab",
    "alias kernels": "aasp alias kernels runs/tiny dog.wav --out lab",
    "alias report": "aasp alias report lab",
}

REMEDIES = {
    errno.EACCES: "choose another place, or change its permissions",
    errno.EPERM: "choose another place, or change its permissions",
    errno.EROFS: "choose a writable place",
    errno.EFBIG: "raise the file size limit (`ulimit -f`) or write elsewhere; nothing was overwritten",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check the path",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENOLCK: "choose a place whose file system has locks, or mount it with them",
    errno.EOPNOTSUPP: "choose a place whose file system has locks, or mount it with them",
}
"""Remedies for errors of the operating system."""
AGAIN = "check that the disk or network drive is available, then run the same command again"
"""Remedy for all others: EIO of a failing disk, ESTALE and ETIMEDOUT of a server."""

HELP = """\
usage: aasp COMMAND [ARGUMENTS]     aasp COMMAND --help     aasp --version

Pre-train, evaluate and use audio spectrogram transformers, with aliasing-aware patch embeddings.

commands:
{commands}

examples:
  aasp scan ~/recordings --out recordings.parquet
  aasp pretrain aasp_tiny --data recordings.parquet --out runs/tiny
  aasp pretrain aasp_tiny --data recordings.parquet --out runs/short --steps 2000 --set masking.views=2
  aasp info runs/tiny
  aasp embed runs/tiny dog.wav rain.flac --out embeddings.npz
  aasp linear runs/tiny --index esc10/index.csv --label label --split fold
  aasp finetune runs/tiny --benchmark folder --root clips --out runs/clips
  aasp predict runs/clips new.wav --top 3
  aasp export runs/tiny --to onnx --out tiny.onnx

--plugin package.module, or path/to/file.py, imports your own parts that a model or run uses.
AASP_DEBUG=1 shows the traceback behind an error.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `aasp`; by default those of the process.

    Returns:
        0 done; 1 a machine failure (a full disk), or a check found a difference; 2 a user mistake; 75 stopped, try
        again; 130 interrupted; 141 the reader of our output exited.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if not _is_one_of_several():
        return _run(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    try:
        return _run(argv)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher ends the others: the exit code is fixed


def _run(argv: list[str]) -> int:
    """Run one command, and report its failures."""
    try:
        code = _dispatch(argv)
        sys.stdout.flush()
        _print_cancelled()
        return code
    except SystemExit as stop:  # raised by tyro after --help, or by a signal
        # The launcher may send a signal while the loss of another process is being handled.
        if isinstance(stop.__context__, RuntimeError) and (lost := _lost(stop.__context__)):
            return _end(lost.exit_code, str(lost))
        return _end(stop.code if isinstance(stop.code, int) else 0)
    except BrokenPipeError:
        # Python flushes again at exit, which would raise: let it write to the null device.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return _end(130, "interrupted")
    except (AaspError, OSError, RuntimeError) as error:
        if os.environ.get("AASP_DEBUG") == "1":
            raise
        if isinstance(error, OSError):
            return _end(1, _os_error_line(error))
        known = error if isinstance(error, AaspError) else _lost(error)
        if known is None:
            raise
        return _end(known.exit_code, _error_line(known))


def _dispatch(argv: list[str]) -> int:
    argv = _with_plugins(argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP.format(commands=listed(COMMANDS)), end="")
        if argv:
            return 0
        raise AaspError(f"nothing to do; as in `{EXAMPLES['embed']}`")
    if argv[0] == "--version":
        from aasp import __version__

        print(f"aasp {__version__}")
        return 0
    return run_named(argv, COMMANDS)


def _with_plugins(argv: list[str]) -> list[str]:
    """Import the modules named by `--plugin` anywhere: package.module or path/to/file.py, once or several times."""
    left: list[str] = []
    words = iter(argv)
    for word in words:
        if word != "--plugin" and not word.startswith("--plugin="):
            left.append(word)
            continue
        place = word.partition("=")[2] or next(words, "")
        if not place:
            raise AaspError("--plugin names no module; give package.module or path/to/file.py")
        from aasp.parts import load_plugin

        load_plugin(place)
    return left


def listed(commands: Mapping[str, str]) -> str:
    """Names and descriptions, one line each."""
    width = max(map(len, commands))
    return "\n".join(f"  {name:{width}}  {line}" for name, line in commands.items())


def run_named(argv: list[str], commands: Mapping[str, str], above: str = "") -> int:
    """Run the command that `argv` begins with.

    Args:
        argv: the command's name and its arguments.
        commands: the known commands.
        above: the command they are subcommands of, if any: `aasp ABOVE NAME` is in the module `aasp.cli.ABOVE_NAME`.

    Raises:
        AaspError: there is none of that name.
    """
    name, words = argv[0], [above] if above else []
    if name not in commands:
        from aasp.cli.inputs import meant

        if text := meant(argv, commands, above):
            raise AaspError(text)
        near = difflib.get_close_matches(name, commands, n=1)
        suggested = " ".join(["aasp", *words, *near])
        remedy = f"did you mean `{suggested}`?" if near else f"`{suggested} --help` lists the commands"
        raise AaspError(f"no such command: {' '.join([*words, name])}; {remedy}")
    module = "_".join([*words, name])
    run: Callable[[list[str]], int] = importlib.import_module(f"aasp.cli.{module}").run
    return run(argv[1:])


def _print_cancelled() -> None:
    """Print how many named files have channels that cancel in their mean."""
    channels = sys.modules.get("aasp.audio.channels")
    if channels is not None and (found := channels.take_cancelled()):
        remedy = "their mean is next to silence; try --channels first, loudest or a number"
        print(f"aasp: warning: channels cancel in {len(found):,} file(s): {remedy}", file=sys.stderr)


def _error_line(error: AaspError) -> str:
    """The line for an error; for a failed training a page is also written."""
    loop = sys.modules.get("aasp.training.loop")
    if loop is None or not isinstance(error, loop.TrainingStopped):
        return str(error)
    from aasp.report.learning import explained

    return explained(error)


def _os_error_line(error: OSError) -> str:
    """An error of the operating system with its file and, if we know one, the remedy."""
    reason = error.strerror or str(error)
    where = f": {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"disk full{where}; free some space or write elsewhere, nothing was overwritten"
    return f"{reason[:1].lower()}{reason[1:]}{where}; {REMEDIES.get(error.errno or 0, AGAIN)}"


def _end(code: int, message: str = "") -> int:
    """Print why the command ends, if there is a reason, and return its exit code; of several processes one prints."""
    line = " ".join(message.split())
    first = True
    if code and _is_one_of_several():
        from aasp.training import peers

        code, first = peers.ended(code, line)
    if line and first:
        print(f"aasp: error: {line}", file=sys.stderr)
    return code


def _is_one_of_several() -> bool:
    """Whether this is one of several processes started by a launcher."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1


def _lost(error: RuntimeError) -> ProcessLost | None:
    """The lost process that caused an error, in a run of several processes."""
    peers = sys.modules.get("aasp.training.peers")
    if peers is None:
        return None
    if _is_one_of_several():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # reporting takes seconds, and the exit code is fixed
    return peers.lost(error)


if __name__ == "__main__":
    sys.exit(main())
