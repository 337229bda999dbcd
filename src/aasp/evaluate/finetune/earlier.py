"""Earlier fine-tunings in the same folder: what can be resumed by this version and with these sounds. Source: ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aasp.config import flat, from_dict, to_dict
from aasp.datasets.fingerprint import contents
from aasp.datasets.labelled import LabelledSet
from aasp.documents import read_json
from aasp.errors import AaspError
from aasp.evaluate.finetune.results import PREDICTIONS
from aasp.model.audio_classifier import AudioClassifierConfig
from aasp.model.folder import read_config
from aasp.training.run import Run
from aasp.training.tracking import read_starts


def check_version(folder: Path, document: dict[str, Any]) -> None:
    """Check that a fine-tuning in a folder has a recipe with our fields: else only its own version can resume it.

    Raises:
        AaspError: another version made it.
    """
    run = Run(folder)
    try:
        found = read_json(run.recipe, "choose another --out")
    except (OSError, ValueError):
        return  # no run, or a damaged one, which `check_run` reports
    if isinstance(found, dict) and "finetuned" in found and (other := flat(found).keys() ^ flat(document).keys()):
        text = f"{folder}: fine-tuned by {_version(run)}, whose recipes differ in {', '.join(sorted(other))}"
        raise AaspError(f"{text}; resume with that version, or choose another --out")


def check_sounds(folders: Sequence[Path], labelled: LabelledSet) -> None:
    """Check that the rounds begun in these folders have heard the same sounds, not only sounds of the same names.

    Raises:
        AaspError: they have heard others.
    """
    starts = {folder: start for folder in folders for start in read_starts(Run(folder).environment)[-1:]}
    if not starts:
        return
    here = contents(len(labelled), labelled.sounds.__getitem__)
    for folder, start in starts.items():
        if start.get("contents", here) != here:
            text = f"{folder}: fine-tuned on other sounds than {labelled.source} names now"
            raise AaspError(f"{text}; choose another --out, or restore the sounds")


def check_classifiers(folders: Sequence[Path], configs: Sequence[AudioClassifierConfig]) -> None:
    """Check that an unfinished fine-tuning has chosen no model of another form than that of this version.

    Args:
        folders: of its rounds.
        configs: the classifier that this version would train in each.

    Raises:
        AaspError: another version chose one.
    """
    if all((folder / PREDICTIONS).exists() for folder in folders):
        return
    for folder, config in zip(folders, configs, strict=True):
        run = Run(folder)
        if not (file := run.model / "config.json").is_file():
            continue
        found, here = (
            flat(to_dict(one)) for one in (from_dict(AudioClassifierConfig, read_config(file), str(file)), config)
        )
        if other := [name for name in found | here if found.get(name) != here.get(name)]:
            text = f"{folder}: fine-tuned by {_version(run)}, whose model differs in {', '.join(sorted(other))}"
            raise AaspError(f"{text}; resume with that version, or choose another --out")


def _version(run: Run) -> str:
    """The version of aasp that a run was last started with: aasp 0.1.0+g2c30377."""
    try:
        last = read_json(run.environment, "choose another --out")[-1]
        return f"aasp {last['aasp']}" + (f"+g{last['commit'][:7]}" if last["commit"] else "")
    except (OSError, ValueError, LookupError, TypeError):
        return "another version of aasp"
