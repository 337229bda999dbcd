"""All files of the bench: what ffmpeg, sox and lame can write, and ways in which it is damaged."""

from __future__ import annotations

from collections.abc import Iterator

from bench import containers, mp3, names, neighbours, ogg_flac, uncompressed
from bench.case import Case

_MODULES = (uncompressed, mp3, ogg_flac, containers, neighbours, names)
SHELVES = {module.__name__.rpartition(".")[2]: module.cases for module in _MODULES}


def cases() -> Iterator[Case]:
    for shelf in SHELVES.values():
        yield from shelf()
