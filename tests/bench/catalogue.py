"""All files of the bench: what ffmpeg, sox and lame can write, and what can become of it."""

from __future__ import annotations

from collections.abc import Iterator

from bench import containers, mp3, names, ogg_flac, uncompressed
from bench.case import Case

SHELVES = {
    module.__name__.rpartition(".")[2]: module.cases for module in (uncompressed, mp3, ogg_flac, containers, names)
}


def cases() -> Iterator[Case]:
    for shelf in SHELVES.values():
        yield from shelf()
