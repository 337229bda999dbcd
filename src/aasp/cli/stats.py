"""`aasp stats`: mean and deviation of a set's log-mel, and the options to pass them to a recipe."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from aasp.cli.arguments import parse
from aasp.cli.facts import facts
from aasp.cli.progress import bar
from aasp.errors import AaspError
from aasp.formats import duration_text

if TYPE_CHECKING:
    from aasp.features.logmel import LogMelConfig


@dataclass(frozen=True)
class Stats:
    """Measure the mean and deviation of the log-mel over all audio at a path; prints the options to add to `aasp
    pretrain`."""

    path: tyro.conf.Positional[Path]
    """Folder, .csv, .tsv or .parquet manifest of audio, tar shards or Parquet files of sounds, a glob pattern of them,
    or a URL of one of these."""
    preset: Literal["kaldi", "slaney80"] = "kaldi"
    """Front end: 128 Kaldi bins, or 80 Slaney bins."""
    rate: Literal[8000, 16000, 32000, 48000] = 16000
    """Sampling rate of the front end in Hz, equal to that of the model to train."""
    path_column: str | None = None
    """Column of an index that holds the paths."""
    channels: str = "mean"
    """Channel of multi-channel files: mean, first, loudest, a number (1, 2, …), or each."""


def run(argv: list[str]) -> int:
    arguments = parse(Stats, argv, prog="aasp stats")

    import torch

    from aasp.audio.io import AudioError
    from aasp.audio.reading import check_loud
    from aasp.audio.sounds import describe, read_sound
    from aasp.datasets.index import Skipped
    from aasp.datasets.manifest import Manifest
    from aasp.features.logmel import LogMelConfig
    from aasp.features.stats import Moments, measure, unnormalised

    if arguments.preset == "slaney80" and arguments.rate != 16_000:
        raise AaspError(f"--rate {arguments.rate} with --preset slaney80, which is for 16,000 Hz; leave one out")
    config = LogMelConfig.at(arguments.rate) if arguments.preset == "kaldi" else LogMelConfig.slaney80()
    front = unnormalised(config)
    manifest, skipped = Manifest.open(arguments.path, path_column=arguments.path_column, channels=arguments.channels)
    total, samples, measured = Moments(), 0, 0
    with bar("measuring") as show:
        for row in range(len(manifest)):
            sound = manifest.sound(row)
            try:
                wave = read_sound(sound, rate=config.rate)
                if len(wave) < config.window:
                    reason = f"shorter than one analysis window of {config.window_ms:g} ms"
                    raise AudioError(describe(sound), reason, "leave it out")
                check_loud(describe(sound), wave)
                total += measure(front, torch.from_numpy(wave))
                samples += len(wave)
                measured += 1
            except AudioError as error:
                skipped.append(Skipped(error.path, error.reason))
            show(row + 1, len(manifest))
    if not measured:
        why = f"all {len(skipped)} skipped, the first {skipped[0].path}: {skipped[0].reason}"
        raise AaspError(f"no usable audio in {arguments.path}: {why}; repair or replace the files")
    # EAT divides by twice the deviation, M2D by the deviation: each preset's `std` is computed accordingly.
    factor = 2 if arguments.preset == "kaldi" else 1
    facts(
        f"log-mel of {arguments.path} ({arguments.preset}, {config.rate:,} Hz)",
        {
            "files": f"{measured:,}",
            "duration": f"{duration_text(samples / config.rate)}, {total.count // config.mels:,} frames",
            "mean": f"{total.mean:.4f}",
            "deviation": f"{total.std:.4f}",
            "skipped": f"{len(skipped):,}" if skipped else None,
            "note": "\n".join(manifest.notes) or None,
        },
    )
    for file in skipped:
        print(f"skipped {file.path}: {file.reason}", file=sys.stderr)
    changed = _changed(dataclasses.replace(config, mean=round(total.mean, 4), std=round(factor * total.std, 4)))
    twice = " (std: twice the deviation, as EAT divides)" if factor == 2 else ""
    print(f"for `aasp pretrain`{twice}:\n  --set {changed}")
    return 0


def _changed(config: LogMelConfig) -> str:
    """The fields of a front end that differ from a recipe's defaults, and its statistics, as for `--set`."""
    default = type(config)()
    return " ".join(
        f"model.frontend.{field.name}={value}"
        for field in dataclasses.fields(config)
        if (value := getattr(config, field.name)) != getattr(default, field.name) or field.name in ("mean", "std")
    )
