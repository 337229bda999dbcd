"""Reading untrusted numpy .npz files: nothing in them is unpickled, and sizes are checked."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from aasp.errors import AaspError


def read_arrays(file: Path, remedy: str) -> dict[str, np.ndarray]:
    """The arrays of a file that `numpy.savez` wrote, by name.

    Args:
        file: the file.
        remedy: what to do if it is damaged, for the message.

    Raises:
        AaspError: it is not an .npz file, is compressed, contains objects, or an array whose stated size is wrong.
        FileNotFoundError: it does not exist.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                _check(archive, member)
        with np.load(file, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except FileNotFoundError:
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, LookupError, EOFError, NotImplementedError) as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise AaspError(f"{file}: not readable as .npz ({text}); {remedy}") from None


def _check(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Check, before reading it, that an array occupies as many bytes in the file as its header states."""
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise ValueError(f"{member.filename} is compressed")
    with archive.open(member) as stream:
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(stream)]
        shape, _, dtype = read(stream)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != member.file_size - stream.tell():
            raise ValueError(f"{member.filename} states {shape} of {dtype}, which it does not hold")
