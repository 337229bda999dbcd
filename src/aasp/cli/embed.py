"""`aasp embed`: audio files in, one file of vectors out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import tyro

from aasp.cli.arguments import parse
from aasp.cli.progress import bar
from aasp.errors import AaspError
from aasp.files import atomic_write, check_output

if TYPE_CHECKING:
    import numpy as np

    from aasp.evaluate.features import Timestamps
    from aasp.model.audio_encoder import AudioEncoder
    from aasp.model.pooling import Pooling


@dataclass(frozen=True)
class Embed:
    """Embed audio files whole, whatever their length, rate and channel count.

    Written are `path` (n,) and `embedding` (n, D), in the order given; with --channels each also `channel` (n,). With
    --frames also vectors over time: as lists `frames` and `seconds` a file in Parquet; in npz those of all files one
    after the other, those of file i from `offsets[i]` to `offsets[i + 1]`.
    """

    model: tyro.conf.Positional[str]
    """Folder of a model or of a run, or a model on the hub."""
    files: tyro.conf.Positional[tuple[str, ...]]
    """Sound files. One that can't be used ends the command, and nothing is written."""
    out: Path
    """File to write: .npz or .parquet."""
    frames: bool = False
    """Also write a vector for each time patch, and its centre in seconds."""
    pooling: str | None = None
    """How a file's tokens become its vector: cls, mean, flat, mean+std or flat+std; the model's own way by default."""
    channels: str = "mean"
    """Of files of several: their mean, first, loudest, a channel's number from 1 on, or each, a vector a channel."""
    engine: Literal["torch", "onnx"] = "torch"
    """What runs the model; for onnx, MODEL is a file that `aasp export` wrote."""
    overwrite: bool = False
    """Replace an existing file."""


def run(argv: list[str]) -> int:
    arguments = parse(Embed, argv, prog="aasp embed")
    out = arguments.out
    if out.suffix not in (".npz", ".parquet"):
        raise AaspError(f"no such format: {out}; end it in .npz or .parquet")
    if not arguments.files:
        raise AaspError("no files to embed; name one or more after the model")
    check_output(out, overwrite=arguments.overwrite)

    import numpy as np

    from aasp.audio.channels import checked
    from aasp.audio.sounds import chosen, files
    from aasp.deploy.runtime import onnx_encoder
    from aasp.evaluate.features import embedded, timestamps
    from aasp.model.audio_encoder import load

    channels = checked(arguments.channels)
    encoder = cast("AudioEncoder", (onnx_encoder if arguments.engine == "onnx" else load)(arguments.model))
    sounds = [one for path in arguments.files for one in chosen(path, channels)]
    pooling = cast("Pooling | None", arguments.pooling)  # the encoder checks it
    clips: dict[int, np.ndarray] = {}
    frames: dict[int, Timestamps] = {}
    with bar("embedding") as show:
        for rows, found in embedded(encoder, sounds, pooling=pooling, progress=show):
            clips |= zip(rows, found.clip.cpu().numpy(), strict=True)
            if arguments.frames:
                frames |= zip(rows, timestamps(found), strict=True)
    embedding = np.stack([clips[row] for row in range(len(sounds))])
    ordered = [frames[row] for row in range(len(sounds))] if arguments.frames else None
    columns: dict[str, list] = {"path": [path for sound in sounds for path in files(sound)]}
    if channels == "each":
        columns["channel"] = [sound.channels for sound in sounds]  # type: ignore[union-attr]
    with atomic_write(out) as beside:
        (_write_npz if out.suffix == ".npz" else _write_parquet)(beside, columns, embedding, ordered)
    many = f"{len(sounds)} channels of {len(arguments.files)}" if channels == "each" else f"{len(sounds)}"
    print(f"{out}: {many} file(s), {embedding.shape[1]} dimensions" + (", with frames" if ordered else ""))
    return 0


def _write_npz(out: Path, columns: dict[str, list], embedding: np.ndarray, frames: list[Timestamps] | None) -> None:
    import numpy as np

    arrays = {name: np.array(values) for name, values in columns.items()} | {"embedding": embedding}
    if frames is not None:
        arrays["frames"] = np.concatenate([one.vectors for one in frames])
        arrays["seconds"] = np.concatenate([one.seconds for one in frames])
        arrays["offsets"] = np.cumsum([0, *(len(one.seconds) for one in frames)])
    with out.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _write_parquet(out: Path, named: dict[str, list], embedding: np.ndarray, frames: list[Timestamps] | None) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    vectors = lambda x: pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])
    columns = {name: pa.array(values) for name, values in named.items()} | {"embedding": vectors(embedding)}
    if frames is not None:
        offsets = pa.array(np.cumsum([0, *(len(one.seconds) for one in frames)]), pa.int32())
        columns["frames"] = pa.ListArray.from_arrays(offsets, vectors(np.concatenate([one.vectors for one in frames])))
        columns["seconds"] = pa.ListArray.from_arrays(offsets, np.concatenate([one.seconds for one in frames]))
    pq.write_table(pa.table(columns), out)
