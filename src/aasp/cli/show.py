"""`aasp show`: a picture of a sound, and of a model's attention to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from aasp.cli.arguments import parse
from aasp.cli.facts import facts
from aasp.cli.running import DeviceOptions
from aasp.errors import AaspError
from aasp.files import check_output
from aasp.formats import duration_text

if TYPE_CHECKING:
    import numpy as np

    from aasp.features import FrontEndConfig
    from aasp.model.audio_encoder import AudioEncoder

SECONDS = 30.0
PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True, kw_only=True)
class Show(DeviceOptions):
    """Draw a sound's spectrogram: as MODEL receives it, or, without one, by 128 Kaldi bins up to 8 kHz.

    With --attention each patch is tinted by how much the model's class token attends to it, relative to the mean patch:
    red is more, blue is less. Of a sound longer than --seconds only a part is drawn, with a note.
    """

    names: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[MODEL] FILE")]
    """Folder of a model or of a run, or a model on the hub (default: none, only the spectrogram); and a sound file."""
    attention: bool = False
    """Overlay the attention of the class token."""
    layer: int | None = None
    """Block whose attention is drawn, from 1; the last by default."""
    head: int | None = None
    """Attention head, from 1; the mean of all by default."""
    start: float = 0.0
    """Start of the picture in seconds."""
    seconds: float = SECONDS
    """Longest part to draw, in seconds."""
    channels: str = "mean"
    """Channel of a multi-channel file: mean, first, loudest, or a number (1, 2, …)."""
    out: Path | None = None
    """Picture to write, .png, .svg or .pdf; by default the sound's name in the working folder."""
    overwrite: bool = False
    """Replace an existing picture."""


def run(argv: list[str]) -> int:
    arguments = parse(Show, argv, prog="aasp show")
    model, file = _named(arguments)
    out = arguments.out or Path(f"{Path(file).name}.{'attention' if arguments.attention else 'spectrogram'}.png")
    if out.suffix.lower() not in PICTURES:
        raise AaspError(f"no such picture: {out}; end it in {', '.join(PICTURES)}")
    check_output(out, overwrite=arguments.overwrite)

    import torch

    from aasp.audio.channels import checked
    from aasp.audio.io import probe
    from aasp.audio.sounds import Recording, read_sound
    from aasp.evaluate.prefetch import check
    from aasp.features.logmel import LogMelConfig
    from aasp.model.audio_encoder import load
    from aasp.report.spectrogram import Spectrogram, axis_hz, draw_sound

    channels = checked(arguments.channels)
    if channels == "each":
        raise AaspError("--channels each: a picture is of one channel; give mean, first, loudest or a number")
    encoder = None if model is None else load(model, arguments.place())
    front: FrontEndConfig = LogMelConfig() if encoder is None else encoder.config.frontend
    whole = probe(file).seconds
    sound = Recording(file, channels)
    wave = read_sound(sound, rate=front.rate, start=arguments.start, seconds=arguments.seconds)
    check(wave, sound, front)
    batch = torch.from_numpy(wave)[None]
    with torch.inference_mode():
        built = front.build() if encoder is None else encoder.frontend
        mel, _ = built(batch) if encoder is None else encoder.mel(batch.to(encoder.device))
    patch = (16, 16) if encoder is None else encoder.stem.patch
    shown = mel[0] if encoder is None else mel[0, : encoder.stem.grid(mel.shape[1])[0] * patch[0]]
    clip = Spectrogram(shown.float().cpu().numpy(), axis_hz(built), front.frame_rate, patch)
    found: Any = None
    text = None
    if encoder is not None and arguments.attention:
        found, text = _attention(arguments, encoder, mel[0])
    title = Path(file).name if text is None else f"{Path(file).name}: attention of {text}"
    draw_sound(out, clip, title=title, start=arguments.start, attention_GF=found)
    length = len(wave) / front.rate
    part = f"{arguments.start:g} to {arguments.start + length:g} s of {duration_text(whole)}"
    facts(str(out), {"sound": file, "part": part if length < whole - 1e-3 else None, "attention": text})
    return 0


def _named(arguments: Show) -> tuple[str | None, str]:
    """The model, if there is one, and the sound."""
    names = arguments.names
    if not names or len(names) > 2:
        text = f"{len(names)} names" if names else "no sound"
        raise AaspError(f"{text}; name a sound, or a model and a sound: aasp show MODEL FILE --attention")
    if len(names) == 2 and Path(names[1]).is_dir() and Path(names[0]).is_file():
        raise AaspError(f"{names[0]} is not a model; the model comes first: aasp show {names[1]} {names[0]}")
    model, file = (names[0], names[1]) if len(names) == 2 else (None, names[0])
    if Path(file).is_dir():
        raise AaspError(f"{file} is a folder; name a sound file")
    options = {"--attention": arguments.attention, "--layer": arguments.layer, "--head": arguments.head}
    given = next((name for name, value in options.items() if value), None)
    if given and model is None:
        raise AaspError(f"{given} needs a model; give it first: aasp show MODEL {file} --attention")
    if given and not arguments.attention:
        raise AaspError(f"{given} without --attention; add --attention")
    if not (0 <= arguments.start < float("inf") and 0 < arguments.seconds < float("inf")):
        raise AaspError(
            f"--start {arguments.start:g} --seconds {arguments.seconds:g}: the sound has no such part; change them"
        )
    return model, file


def _attention(arguments: Show, encoder: AudioEncoder, mel: Any) -> tuple[np.ndarray, str]:
    """Attention on each patch (G, F), and its description."""
    from aasp.model.attention_maps import attention_maps

    depth, heads = encoder.config.encoder.depth, encoder.config.encoder.heads
    for name, value, most in (("--layer", arguments.layer, depth), ("--head", arguments.head, heads)):
        if value is not None and not 1 <= value <= most:
            raise AaspError(f"{name} is {value}; this model has 1 to {most}")
    maps = attention_maps(encoder, mel)
    layer = arguments.layer or depth
    one = maps[layer - 1]
    found = one.mean(0) if arguments.head is None else one[arguments.head - 1]
    of = f"mean of {heads} heads" if arguments.head is None else f"head {arguments.head} of {heads}"
    return found.float().cpu().numpy(), f"block {layer} of {depth}, {of}"
