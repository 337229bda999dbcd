"""The map of an index as one page: positions, names, columns, and as many sounds as its size allows."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from aasp.errors import AaspError
from aasp.explore.columns import columns
from aasp.explore.listening import preview
from aasp.explore.page import in_script, render_page
from aasp.explore.plane import clusters, density, on_plane
from aasp.files import atomic_write
from aasp.index import Index

MAX_POINTS = 100_000
PREVIEW_SECONDS = 10.0
STYLES, SCRIPTS = ("colours.css", "map.css"), ("twgl-7.0.0.min.js", "points.js", "plot.js", "map.js")
MEDIA = "data: 'self' file:"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Made:
    """Counts of a map: rows in all, points, sounds inside, and why sounds could not be read, by point."""

    rows: int
    points: int
    inside: int
    unread: dict[int, str]


def write_map(index: Index, out: Path, *, groups: int, most_bytes: float, progress: Progress | None = None) -> Made:
    """Write the map of an index as one HTML file.

    Args:
        index: N rows. If there are more than 100,000, that many are drawn, chosen at random, over a picture of the
            density of all.
        out: the page.
        groups: number of k-means clusters.
        most_bytes: size limit of the page for adding sounds: rows in random order, until it is reached.
        progress: called with (points done, all points); the first is estimated by bytes.

    Raises:
        AaspError: the index has no rows.
    """
    if not len(index):
        raise AaspError(f"{index.folder}: no rows to show; add sounds by `aasp index recordings --out {index.folder}`")
    places = on_plane(index.vectors)
    shown = np.sort(np.random.default_rng(0).permutation(len(index))[:MAX_POINTS])
    rows = index.rows.take(shown)
    folder = out.absolute().parent
    data = {
        "total": len(index),
        "places": base64.b64encode(places[shown].astype("<f4").tobytes()).decode(),
        "rows": None if len(shown) == len(index) else shown.tolist(),
        "names": rows["path"].to_pylist(),
        "moments": np.round(np.nan_to_num([rows["start"].to_numpy(), rows["seconds"].to_numpy()]), 3).T.tolist(),
        "windowed": index.settings.window is not None,
        "columns": columns(rows, clusters(index.vectors, groups)[shown]),
        "density": None if len(shown) == len(index) else base64.b64encode(density(places)).decode(),
        "root": _address(index.root, folder) + "/",
        "elsewhere": {
            at: _address(name, folder) for at, name in enumerate(rows["path"].to_pylist()) if os.path.isabs(name)
        },
        "seconds": PREVIEW_SECONDS,
    }
    unread: dict[int, str] = {}
    silent = len(_page(index, data | {"unread": {}}, []).encode())
    sounds = _sounds(index, shown, most_bytes - silent, unread, progress)
    page = _page(index, data | {"unread": unread}, [element for _, element in sounds])
    with atomic_write(out) as beside:
        beside.write_text(page, encoding="utf-8")
    return Made(len(index), len(shown), len(sounds), unread)


def _page(index: Index, data: dict[str, Any], sounds: list[str]) -> str:
    title, model = index.folder.absolute().name, Path(index.model.name).name
    parts = {"sounds_html": "\n".join(sounds), "data_html": in_script(data)}
    return render_page("map.html", STYLES, SCRIPTS, MEDIA, title=title, model=model, **parts)


def _address(path: str, folder: Path) -> str:
    """The URL of a file or folder in a page in `folder`: relative, so that both can be moved together."""
    return quote(os.path.relpath(path, folder))


def _sounds(
    index: Index, shown: np.ndarray, most: float, unread: dict[int, str], progress: Progress | None
) -> list[tuple[int, str]]:
    """Point numbers and the elements with their sounds, in random order until the next one does not fit."""
    made: list[tuple[int, str]] = []
    used = 0
    for at in np.random.default_rng(1).permutation(len(shown)).tolist():
        if used >= most:
            break
        try:
            text = base64.b64encode(preview(index, int(shown[at]), PREVIEW_SECONDS)).decode()
        except AaspError as error:
            unread[at] = str(error)
            continue
        element = f'<script type="text/plain" id="sound-{at}">{text}</script>'
        used += len(element) + 1
        if used > most:
            break
        made.append((at, element))
        if progress is not None:
            progress(max(len(made), int(used / most * len(shown))), len(shown))
    return sorted(made)
