"""Sounds inside of larger files, as tests make them: numbered, so that samples identify which one is read."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

RATE = 8_000
AUDIO = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def wave_of(number: int) -> np.ndarray:
    return (1000 * number + np.arange(RATE // 4)).astype(np.int16)


def flac(number: int, rate: int = RATE) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, wave_of(number), rate, format="FLAC", subtype="PCM_16")
    return content.getvalue()


def tar(path: Path, *members: tuple[str, bytes], **options: Any) -> Path:
    with tarfile.open(path, "w", **options) as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def parquet(path: Path, numbers: list[int | None], group: int = 4, **columns: Any) -> Path:
    """A file of sounds, as `datasets` writes it, in groups of so many rows; None: a row without bytes."""
    sounds = [{"bytes": None if n is None else flac(n), "path": f"a/{n}.flac"} for n in numbers]
    features = {
        "audio": {"sampling_rate": RATE, "_type": "Audio"},
        "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
        "text": {"dtype": "string", "_type": "Value"},
    }
    data = {
        "text": pa.array([f"t{n}" for n in numbers]),
        "audio": pa.array(sounds, AUDIO),
        "label": pa.array([-1 if n is None else n % 2 for n in numbers], pa.int64()),
    } | {name: pa.array(values) for name, values in columns.items()}
    table = pa.table(data).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=group, compression="snappy")
    return path
