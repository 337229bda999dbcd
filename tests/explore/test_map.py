"""The map's page: its content, and that every name stays text."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from aasp.cli.main import main
from aasp.errors import AaspError
from aasp.explore import map as module
from aasp.explore.columns import columns
from aasp.explore.map import write_map
from aasp.explore.plane import clusters, density, on_plane
from aasp.index import Index
from aasp.index.layout import COLUMNS
from hostile import NAME

HOSTILE = NAME.replace("/", "_") + ".wav"
CLASSES = ("dog bark", "rain", NAME)


def parts(page: Path) -> tuple[str, dict[str, Any], dict[int, bytes]]:
    """A page's text, its data and its sounds."""
    html = page.read_text(encoding="utf-8")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1])  # type: ignore[index]
    found = re.findall(r'<script type="text/plain" id="sound-(\d+)">(.*?)</script>', html)
    return html, data, {int(at): base64.b64decode(text) for at, text in found}


def unpacked(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


@pytest.fixture(scope="module")
def page(small: Index, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "map.html"
    made = write_map(small, out, groups=3, most_bytes=1e6)
    assert (made.rows, made.points, made.inside, made.unread) == (60, 60, 60, {})
    return out


def test_a_row_has_its_name_its_labels_and_its_sound(page: Path) -> None:
    _, data, sounds = parts(page)
    assert data["names"][:3] == ["clip 000000.wav", HOSTILE, "clip 000002.wav"]
    by_name = {column["name"]: column for column in data["columns"]}
    assert list(by_name) == ["label", "score", "cluster"], "times and durations that are all the same are left out"
    label = by_name["label"]
    assert [label["values"][code] for code in unpacked(label["codes"], "<u2")] == [CLASSES[i % 3] for i in range(60)]
    np.testing.assert_allclose(unpacked(by_name["score"]["numbers"], "<f8"), np.linspace(0, 1, 60))
    assert unpacked(data["places"], "<f4").shape == (120,)
    for at in (0, 1, 2):
        wave, rate = soundfile.read(io.BytesIO(sounds[at]))
        assert np.abs(np.fft.rfft(wave, rate)).argmax() == 300 + 200 * (at % 3), "the tone of its file"


def test_decimals_of_a_csv_are_numbers_and_whole_numbers_names() -> None:
    texts = {"score": ["0.5", "", "2"], "fold": ["1", "2", "1"], "site": ["1.5", "x", ""]}
    own = {name: pa.array([None] * 3, kind) for name, kind in COLUMNS.items()}
    found = {column["name"]: column for column in columns(pa.table({**own, **texts}), np.array([0, 1, 0]))}
    assert found["score"]["kind"] == "number"
    np.testing.assert_array_equal(unpacked(found["score"]["numbers"], "<f8"), [0.5, np.nan, 2])
    assert found["fold"]["values"] == ["1", "2"] and found["site"]["values"] == ["1.5", "x"]


def test_nothing_but_our_scripts_and_styles_runs(page: Path) -> None:
    html, _, _ = parts(page)
    policy = unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1])  # type: ignore[index]
    hashed = lambda text: f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    scripts, style = re.findall(r"<script>(.*?)</script>", html, re.S), re.findall(r"<style>(.*?)</style>", html, re.S)
    assert len(scripts) == 4 and len(style) == 1
    assert f"script-src {' '.join(map(hashed, scripts))}; style-src {hashed(style[0])};" in policy
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert "<img" not in html and "javascript:alert" in html, "the hostile name is there, as data"
    assert html.count("<script") == 4 + 1 + 60


def test_beyond_its_size_sounds_are_played_from_their_files(page: Path, small: Index, tmp_path: Path) -> None:
    out, sound = tmp_path / "pages" / "map.html", len(base64.b64encode(parts(page)[2][0]))
    most = page.stat().st_size - 30 * sound
    made = write_map(small, out, groups=3, most_bytes=most)
    assert most - 2 * sound < out.stat().st_size <= most and abs(made.inside - 30) <= 1
    _, data, sounds = parts(out)
    assert len(sounds) == made.inside and Path(out.parent, unquote(data["root"])).resolve() == Path(small.root)


def test_a_sound_that_is_gone_is_named(indexed: Callable[..., Index], tmp_path: Path) -> None:
    index = indexed(count=6, files=6)
    Path(index.root, "clip 000004.wav").unlink()
    made = write_map(index, tmp_path / "map.html", groups=3, most_bytes=1e6)
    assert made.inside == 5 and list(made.unread) == [4] and "clip 000004.wav" in made.unread[4]
    assert "clip 000004.wav" in parts(tmp_path / "map.html")[1]["unread"]["4"]


def test_of_very_many_rows_some_are_points_over_the_density_of_all(
    small: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_POINTS", 20)
    made = write_map(small, tmp_path / "map.html", groups=3, most_bytes=1e6)
    _, data, sounds = parts(tmp_path / "map.html")
    assert (made.points, len(sounds), data["total"], len(data["names"])) == (20, 20, 60, 20)
    assert [data["names"][at] for at in range(20)] == small.rows["path"].take(data["rows"]).to_pylist()
    assert base64.b64decode(data["density"]).startswith(b"\x89PNG")


def test_similar_rows_lie_together_also_beyond_the_fitted_ones(
    indexed: Callable[..., Index], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aasp.explore.plane.FITTED", 120)
    index = indexed(count=240, files=0, spread=0.1)
    places = on_plane(index.vectors)
    assert np.abs(places).max() == pytest.approx(1, abs=1e-6)
    away = np.linalg.norm(places[:, None] - places, axis=-1) + 9 * np.eye(240)
    assert (away.argmin(1) % 3 == np.arange(240) % 3).all()
    assert (clusters(index.vectors, 3) == clusters(index.vectors, 3)[:3][np.arange(240) % 3]).all()


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_rows_that_do_not_differ_are_spread(count: int) -> None:
    places = on_plane(np.ones((count, 4), np.float16) / 2)
    assert np.isfinite(places).all() and len(np.unique(places, axis=0)) == count
    assert (clusters(np.ones((count, 4), np.float16) / 2, 3) == 0).all() or count > 1


def test_density_lies_where_the_points_lie() -> None:
    from matplotlib.image import imread

    alpha = imread(io.BytesIO(density(np.array([[-0.99, 0.99], [-0.99, 0.99], [0.99, -0.99]]))))[..., 3]
    assert alpha[1:4, 1:4].max() == 1 and 0 < alpha[-4:, -4:].max() < 1 and (alpha > 0).sum() == 2


def test_an_index_without_rows_is_refused(small: Index, tmp_path: Path) -> None:
    empty = replace(small, state=replace(small.state, rows=0))
    with pytest.raises(AaspError, match="no rows to show; add sounds"):
        write_map(empty, tmp_path / "map.html", groups=3, most_bytes=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--out is missing:"),
        (["--out", "map.png"], "no such format: map.png; end it in .html"),
        (["--out", "map.html", "--clusters", "1"], "--clusters 1: give a number from 2 to 1000"),
        (["--out", "map.html", "--page-size", "-1"], "--page-size -1: give megabytes"),
        (["--out", "map.html"], "nowhere: no such folder; make one by `aasp index"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", "nowhere", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
