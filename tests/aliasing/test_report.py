"""The report joins the parts that were measured; a broken or old file is named in one line."""

from __future__ import annotations

import json
import re
import sys
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from markupsafe import Markup

from aasp.aliasing import report
from aasp.errors import AaspError

MADE = {"command": "aasp alias x --out 'a b'", "software": "aasp 1, torch 2"}


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fakes of every part, which show what they are given."""
    for part in report.PARTS:
        module = ModuleType(f"fake_{part}")
        module.answer = lambda found: f"{found['text']} is so."  # type: ignore[attr-defined]
        module.section = lambda found, folder: Markup("<h2>{}</h2> {}").format(found["text"], folder.name)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(report.PARTS, part, module.__name__)


def write(folder: Path, part: str, **values: Any) -> Path:
    file = folder / f"{part}.json"
    file.write_text(json.dumps(MADE | values))
    return file


def test_every_part_in_its_order(parts: None, tmp_path: Path) -> None:
    for part in ("kernels", "ablation", "stability", "response"):
        write(tmp_path, part, text=f"what {part} <found>")
    html = report.build(tmp_path)
    order = ["stability", "response", "kernels", "ablation"]
    assert re.findall(r"<h2>what (\w+) &lt;found&gt;</h2>", html) == order
    assert re.findall(r'<p class="answer">what (\w+) &lt;found&gt; is so.</p>', html) == order
    assert "Does that matter for this encoder, and does its stem prevent it?" in " ".join(html.split())
    assert html.count(tmp_path.name) == 4


def test_some_parts_are_enough(parts: None, tmp_path: Path) -> None:
    write(tmp_path, "response", text="this")
    assert re.findall(r"<h2>(.*?)</h2>", report.build(tmp_path)) == ["this"]


def test_the_footer_has_commands_and_software(parts: None, tmp_path: Path) -> None:
    write(tmp_path, "response", text="this")
    write(tmp_path, "kernels", text="that", command="aasp alias kernels <m> " + 400 * "x")
    html = report.build(tmp_path)
    assert "<dt>Response</dt><dd><code>aasp alias x --out &#39;a b&#39;</code></dd>" in html
    assert html.count("aasp 1, torch 2") == 1 and "<dt>Software</dt>" in html
    assert "<summary>all of it</summary>aasp alias kernels &lt;m&gt; xxx" in html
    write(tmp_path, "kernels", text="that", software={"aasp": "1", "torch": "3"})
    html = report.build(tmp_path)
    assert "<dt>Kernels, software</dt><dd>aasp 1, torch 3</dd>" in html and "<dt>Response, software</dt>" in html


def test_a_folder_without_results(tmp_path: Path) -> None:
    with pytest.raises(AaspError, match=r"nothing to report: .* holds none of stability.json, response.json"):
        report.build(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"), [("{", "not readable as JSON"), ("[]", "not a JSON object"), ("{}", "measure it again")]
)
def test_a_broken_or_older_file_is_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "kernels.json").write_text(content)
    with pytest.raises(AaspError) as caught:
        report.build(tmp_path)
    assert str(tmp_path / "kernels.json") in str(caught.value) and message in str(caught.value)


def test_a_file_without_its_command_is_refused(parts: None, tmp_path: Path) -> None:
    file = tmp_path / "response.json"
    file.write_text('{"text": "this"}')
    with pytest.raises(AaspError, match=r"response.json: not as this version .* writes it \(KeyError: 'command'\)"):
        report.build(tmp_path)


def test_the_kernels_page(aape_model: Path, sounds: list[str], tmp_path: Path) -> None:
    from aasp.aliasing.kernels.departure import origin
    from aasp.aliasing.kernels.document import measure
    from aasp.encoders import open_adapter

    write(tmp_path, "kernels", **measure(open_adapter(aape_model), sounds, origin(aape_model)))
    html = report.build(tmp_path)
    assert html == report.build(tmp_path), "the same numbers, the same page"
    assert not re.search(r"<(script|link|img|iframe)|@import|https?:|url\((?!#)", html)
    ids = re.findall(r'<(?:path|clipPath|linearGradient) id="([^"]*)"', html)
    for reference in re.findall(r'(?:href="#|url\(#)([^")]*)', html):
        assert reference in ids
    assert "NaN" not in html and "nan" not in unescape(re.sub("<[^>]*>", " ", html)).split()
