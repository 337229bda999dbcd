"""Pages looked at in a real browser: headless Chromium opens a copy that reports on itself.

Each check is a function of the page as it stands in the browser. The copy is set in a frame of a phone's width, since a
headless window may not be that narrow, and the page's report on itself is read from the DOM that Chromium prints.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any, Literal

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
Scheme = Literal["light", "dark"]
PHONE, DESK = 360, 1200
SMALLEST_TEXT = 8.95
"""CSS pixels."""
LEAST_CONTRAST = 4.5
"""Of text on paper, as WCAG 2.1 asks."""

# Runs before anything else of the page, to catch its errors, and again when all is loaded.
PROBE = """<script>
const complaints = [];
const outline = element => element.outerHTML.slice(0, 80);
addEventListener("error", event => complaints.push(event.message || "not loaded: " + outline(event.target)), true);
const say = console.error;
console.error = (...words) => { complaints.push(words.join(" ")); say(...words); };
addEventListener("load", async () => {
  await Promise.all([...document.querySelectorAll("audio")].map(audio => new Promise(done => {
    if (audio.readyState >= 1 || audio.error || !audio.currentSrc && !audio.src) return done();
    for (const event of ["loadedmetadata", "error"]) audio.addEventListener(event, done, { once: true });
    audio.preload = "auto"; audio.load();
  })));
  document.querySelectorAll("details").forEach(details => details.open = true);
  const box = element => { const { width, height } = element.getBoundingClientRect(); return [width, height]; };
  const style = getComputedStyle(document.body);
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || parent.closest("script, style, caption")) continue;
    const svg = parent.closest("svg");
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    const size = parseFloat(getComputedStyle(parent).fontSize) * scale;
    texts.push([size, walker.currentNode.textContent.trim().slice(0, 40)]);
  }
  const found = {
    width: innerWidth, scrolls: document.documentElement.scrollWidth,
    images: [...document.images].map(image => [outline(image), image.naturalWidth]),
    drawings: [...document.querySelectorAll("svg")].map(svg => [outline(svg), ...box(svg)]),
    sounds: [...document.querySelectorAll("audio")].map(audio => [outline(audio), audio.readyState, !!audio.error]),
    texts: texts.filter(([size]) => size < SMALLEST), characters: document.body.innerText.length,
    ink: style.color, paper: style.backgroundColor, complaints,
  };
  parent.postMessage(JSON.stringify(found), "*");
});
</script>"""
FRAME = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe style="border:0;width:{width}px;height:{height}px" srcdoc="{page}"></iframe><script>
addEventListener("message", event => {{ const result = document.createElement("pre"); result.id = "result";
  result.textContent = btoa(unescape(encodeURIComponent(event.data))); document.body.append(result); }});
</script></body>"""


@dataclass(frozen=True)
class Seen:
    """What a browser reports on a page.

    Attributes:
        faults: what is wrong, a line each.
        ink, paper: colours (red, green, blue) of its text and background.
        found: every value that was requested.
    """

    faults: list[str]
    ink: tuple[int, int, int]
    paper: tuple[int, int, int]
    found: dict[str, Any]


def chromium() -> str:
    """The browser's command; without one the test is skipped, visibly."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    return found


def look(page: Path, folder: Path, *, width: int = PHONE, scheme: Scheme = "light") -> Seen:
    """Open a page and list its faults: sideways scrolling, broken pictures and sounds, tiny text, console messages.

    Any message is a fault: our pages have no scripts that print messages.

    Args:
        page: the HTML file; it is not changed.
        folder: an existing one, for the copy and the browser's own files.
        width: of the page in CSS pixels.
        scheme: that the reader prefers.
    """
    html = page.read_text(encoding="utf-8")
    probed = re.sub(r"(?i)<head>", lambda head: head[0] + PROBE.replace("SMALLEST", str(SMALLEST_TEXT)), html, count=1)
    assert probed != html, "a page without a head"
    copy = _framed(probed, folder / f"{page.stem}-{width}-{scheme}.html", width, 800)
    shown = _run(copy, folder, scheme, "--virtual-time-budget=10000", "--dump-dom")
    result = re.search(r'<pre id="result">([^<]+)</pre>', shown.stdout)
    assert result, f"the page never finished loading: {shown.stderr[-500:]}"
    found = json.loads(base64.b64decode(unescape(result[1])))
    console = [line for line in shown.stderr.splitlines() if "CONSOLE" in line and "about:srcdoc" in line]
    return Seen(_faults(found, console), _colour(found["ink"]), _colour(found["paper"]), found)


def photograph(page: Path, picture: Path, *, width: int = DESK, height: int = 3000, scheme: Scheme = "light") -> None:
    """Write a picture of the page as a PNG, for people to look at."""
    copy = _framed(page.read_text(encoding="utf-8"), picture.with_suffix(".html"), width, height)
    _run(copy, picture.parent, scheme, f"--window-size={max(width, 500)},{height}", f"--screenshot={picture}")


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """Contrast ratio of two colours, 1 to 21. Source: WCAG 2.1."""

    def luminance(colour: tuple[int, int, int]) -> float:
        linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _framed(html: str, copy: Path, width: int, height: int) -> Path:
    quoted = html.replace("&", "&amp;").replace('"', "&quot;")
    copy.write_text(FRAME.format(width=width, height=height, page=quoted), encoding="utf-8")
    return copy


def _run(page: Path, folder: Path, scheme: Scheme, *options: str) -> subprocess.CompletedProcess[str]:
    preferred = {"dark": 0, "light": 1}[scheme]
    command = [
        chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--hide-scrollbars", "--enable-logging=stderr",
        f"--user-data-dir={folder / 'chromium'}",
        f"--blink-settings=preferredColorScheme={preferred}", *options, page.resolve().as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def _faults(found: dict[str, Any], console: list[str]) -> list[str]:
    faults = []
    if found["scrolls"] > found["width"]:
        faults.append(f"scrolls sideways: {found['scrolls']} px wide in {found['width']}")
    faults += [f"broken picture: {name}" for name, width in found["images"] if not width]
    faults += [f"empty drawing: {name}" for name, *box in found["drawings"] if min(box) <= 0]
    faults += [f"broken sound: {name}" for name, ready, error in found["sounds"] if error or not ready]
    faults += [f"text of {size:.1f} px: {text}" for size, text in found["texts"]]
    if not found["characters"]:
        faults.append("nothing to read")
    if (ratio := contrast(_colour(found["ink"]), _colour(found["paper"]))) < LEAST_CONTRAST:
        faults.append(f"ink on paper has a contrast of {ratio:.1f}")
    return faults + [f"console: {line}" for line in (*found["complaints"], *console)]


def _colour(css: str) -> tuple[int, int, int]:
    red, green, blue, *_ = map(int, re.findall(r"\d+", css))
    return red, green, blue
