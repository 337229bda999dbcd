"""The arguments of commands that take a model and sounds, and the corrected command line for messages.

MODEL can be omitted if one comes with the package. FILES are sound files, folders of them, searched recursively,
.csv, .tsv or .parquet manifests, tar shards and Parquet files of sounds.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aasp.errors import AaspError, one_line

if TYPE_CHECKING:
    from aasp.audio.channels import Channels
    from aasp.audio.sounds import Sound
    from aasp.datasets.index import Skipped

TABLES = (".csv", ".tsv", ".parquet")


def line(*words: str) -> str:
    """A command line as it can be typed."""
    return f"`{shlex.join(['aasp', *words])}`"


def is_model(word: str) -> bool:
    """Whether a word names a model on this machine: a model's folder, a run's, one of folds, or the package's own."""
    from aasp.model.folder import local

    return local(word) is not None or any(Path(word).glob("fold-*/model/config.json"))


def meant(argv: Sequence[str], commands: Collection[str], above: str = "") -> str | None:
    """The message if the first word is not a command, but a later one is, or the first is a file or folder.

    Args:
        argv: what was typed.
        commands: the known commands.
        above: the command they are subcommands of, if any.

    Returns:
        The corrected command line, and the reason; None if there is no good guess.
    """
    first, words = argv[0], [above] if above else []
    later = next((word for word in argv[1:] if word in commands), None)
    if later is not None:
        rest = list(argv)
        rest.remove(later)
        return f"the command comes first: {line(*words, later, *rest)}"
    if above or not Path(first).exists():
        return None
    if is_model(first):
        return f"no command: {line('info', first)}"
    if _sounds_like(first):
        out = [] if "--out" in argv else ["--out", "embeddings.parquet"]
        return f"no command: {line('embed', *argv, *out)}"
    return None


def model_and_files(
    words: Sequence[str], command: str, argv: Sequence[str], packaged: bool = True
) -> tuple[str, tuple[str, ...]]:
    """The model that is named first, or the one in the package; and the other words.

    Args:
        words: the words given.
        command: "embed", "predict" …, for the corrected command line.
        argv: the arguments typed after it.
        packaged: whether a model in the package can be used.

    Raises:
        AaspError: the model follows a sound, two are named, there is none, it is the only word, or the only word names
            nothing that exists.
    """
    from aasp.model.folder import default_model, on_hub

    models = [word for number, word in enumerate(words) if is_model(word) and (number == 0 or not _holds_sounds(word))]
    check_order(words, command, argv)
    if len(models) > 1:
        text = f"two models are named, {models[0]} and {models[1]}; name one, then sound files or folders"
        raise AaspError(text)
    first = words[0] if words else ""
    if models or (first and not _sounds_like(first)):
        model, files = first, tuple(words[1:])
    elif not packaged:
        what = f"{first} is not a classifier" if first else "no classifier named"
        raise AaspError(f"{what}: {line(command, 'runs/clips', *(argv if first else ['new.wav', *argv]))}")
    else:
        model, files = default_model(), tuple(words)
    if not files:
        if not (models or Path(first).exists() or on_hub(first) or "://" in first):
            raise AaspError(f"{first}: neither a model nor a file or folder of that name exists; check the path")
        raise AaspError(f"no files after {model}: {line(command, model, 'dog.wav', *argv[1:])}")
    return model, files


def check_order(words: Sequence[str], command: str, argv: Sequence[str]) -> None:
    """Check that no existing model follows a word that is not one.

    Args:
        words, command, argv: as in `model_and_files`.

    Raises:
        AaspError: one does.
    """
    first = next((word for word in words if is_model(word) and not _holds_sounds(word)), None)
    if first is not None and words[0] != first and Path(words[0]).exists():
        rest = list(argv)
        rest.remove(first)
        raise AaspError(f"the model comes first: {line(*command.split(), first, *rest)}")


def check_models(models: Sequence[str], command: str, argv: Sequence[str]) -> None:
    """Check that the words in place of models are not labelled clips.

    Args:
        models: the words given as models.
        command: "linear" or "finetune".
        argv: the arguments typed after it.

    Raises:
        AaspError: a folder of sounds, a table or a sound file is named as a model.
    """
    from aasp.datasets.index import is_sound

    for word in models:
        table = Path(word).suffix.lower() in TABLES
        folder = Path(word).is_dir() and not is_model(word) and any(path.is_dir() for path in Path(word).iterdir())
        if is_model(word) or not (table or folder or is_sound(word)):
            continue
        rest = [one for one in argv if one != word]
        rest = rest if len(models) > 1 else ["runs/tiny", *rest]
        if is_sound(word):
            raise AaspError(f"{word} is not a model; name the folder of a model or of a run")
        index = ["--index", word, "--label", "label", "--split", "split"]
        requested = index if table else ["--benchmark", "folder", "--root", word]
        requested = [] if {"--index", "--root"} & set(argv) else requested
        raise AaspError(f"{word} is not a model: {line(command, *rest, *requested)}")


def check_files(files: Sequence[str], typed: Sequence[str]) -> None:
    """Check that no folder is given in place of sound files.

    Args:
        files: the words given as files.
        typed: the whole command, without `aasp`.

    Raises:
        AaspError: one is.
    """
    for name in files:
        if Path(name).is_dir():
            inside = next((path for path in sorted(Path(name).rglob("*")) if path.is_file()), Path(name) / "dog.wav")
            better = [str(inside) if word == name else word for word in typed]
            raise AaspError(f"a folder where a file is expected: {name}; name files in it: {line(*better)}")


def _holds_sounds(word: str) -> bool:
    """Whether a folder contains sound files, perhaps next to a model, such as the working directory."""
    from aasp.datasets.index import is_sound

    return Path(word).is_dir() and any(is_sound(path.name) for path in Path(word).iterdir())


def _sounds_like(word: str) -> bool:
    """Whether a word names sounds: by its extension, or because it is an existing folder."""
    from aasp.datasets.index import is_sound
    from aasp.datasets.sources import is_packed

    path = Path(word)
    meant_for_a_model = any((path / name).exists() for name in ("model.safetensors", "recipe.json"))
    if is_sound(word) or path.suffix.lower() in TABLES or (path.is_dir() and not meant_for_a_model):
        return True
    return not path.is_dir() and is_packed(word)


@dataclass
class Found:
    """Sounds to read.

    Attributes:
        sounds: the sounds of all words, in order.
        named: rows of sounds that were named directly, not found in a folder or manifest.
        skipped: unusable files of folders and manifests, as far as known.
        chosen: whether channels are chosen individually, so that a path does not identify a sound.
    """

    sounds: list[Sound] = field(default_factory=list)
    named: set[int] = field(default_factory=set)
    skipped: list[Skipped] = field(default_factory=list)
    chosen: bool = False


def find_sounds(files: Sequence[str], channels: Channels, path_column: str | None = None, ending: bool = True) -> Found:
    """All sounds named: files directly, those in folders in sorted order, those in manifests.

    Hidden and repeated files are reported on stderr.

    Args:
        files: the words given.
        channels: the choice for multi-channel files.
        path_column: the manifests' column of paths.
        ending: whether a named file that can't be used ends everything; otherwise it is skipped.

    Raises:
        AaspError: a file does not exist, or can't be used if each channel is requested; a folder or a manifest has no
            sounds.
    """
    from aasp.audio.sounds import channels_of
    from aasp.datasets.sources import is_packed

    found = Found(chosen=channels == "each")
    if path_column is not None and not any(Path(name).suffix.lower() in TABLES for name in files):
        raise AaspError(f"--path-column {path_column}: it is for manifests, and none is given; leave it out")
    for name in files:
        if Path(name).suffix.lower() in TABLES and not Path(name).is_dir():
            _in_manifest(name, channels, path_column, found)
        elif is_packed(name):
            _in_manifest(name, channels, None, found)
        elif Path(name).is_dir():
            _in_folder(name, channels, found)
        else:
            _itself(name, channels, found, ending)
    found.chosen |= len({channels_of(sound) for sound in found.sounds}) > 1
    return found


def _itself(name: str, channels: Channels, found: Found, ending: bool) -> None:
    from aasp.audio.io import AudioError, checked_name
    from aasp.audio.packed import is_file
    from aasp.audio.sounds import chosen
    from aasp.datasets.index import Skipped

    try:
        checked_name(name)
        if ending and is_file(name) and not Path(name).exists():
            raise AudioError(name, "no such file", "check the path")
        sounds = chosen(name, channels)
    except AudioError as error:
        if ending:
            raise
        found.skipped.append(Skipped(error.path, error.reason))
        return
    found.named.update(range(len(found.sounds), len(found.sounds) + len(sounds)))
    found.sounds += sounds


def _in_folder(name: str, channels: Channels, found: Found) -> None:
    from aasp.audio.io import EXTENSIONS, AudioError
    from aasp.audio.sounds import chosen
    from aasp.datasets.index import Skipped, hidden_note, walk

    hidden: list[str] = []
    before, bad, empty = len(found.skipped), found.skipped, True
    for path in walk(name, bad, hidden):
        empty = False
        try:
            found.sounds += chosen(path, channels)
        except AudioError as error:
            bad.append(Skipped(error.path, error.reason))
    if empty:
        seen = f" that can be read, {len(bad) - before} that can't" if len(bad) > before else ""
        known = ", ".join(sorted(EXTENSIONS))
        raise AaspError(f"no audio{seen}: {name}; name a folder of WAV, FLAC … files ({known})")
    _say(hidden_note(hidden))


def _in_manifest(name: str, channels: Channels, path_column: str | None, found: Found) -> None:
    from aasp.datasets.manifest import Manifest

    manifest, skipped = Manifest.open(name, path_column=path_column, channels=channels)
    found.skipped += skipped
    found.sounds += (manifest.sound(row) for row in range(len(manifest)))
    _say(manifest.notes)


def _say(notes: Sequence[str]) -> None:
    for note in notes:
        print(one_line(note), file=sys.stderr)
