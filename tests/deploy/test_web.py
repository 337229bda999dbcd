"""The browser demo in headless Chromium: its numbers against Python's, at a phone's width, with no network."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hard_signals import signals

from aasp.audio.io import read
from aasp.deploy.web import Picture, write_web
from aasp.errors import AaspError
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder
from browser import LEAST_CONTRAST, PHONE, chromium, contrast

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
RATE, TOLERANCE = 16_000, 1e-4

# Opens the page in a frame of a phone's width, drops a sound on it or lets it listen, and reports what it shows.
HARNESS = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe src="index.html" allow="microphone" style="border:0;width:WIDTHpx;height:900px"></iframe><script>
const frame = document.querySelector("iframe"), faults = [];
const report = (found) => fetch("/found", { method: "POST", body: JSON.stringify({ ...found, faults }) });
const until = async (test, what) => {
  for (let tries = 0; tries < 2000; tries++) {
    const found = test();
    if (found) return found;
    if (faults.length) throw new Error(what + " never came");
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(what + " never came: " + frame.contentDocument.getElementById("state").textContent);
};
frame.addEventListener("load", async () => {
  const page = frame.contentWindow, by = (id) => page.document.getElementById(id);
  page.addEventListener("error", (event) => faults.push(event.message || "not loaded"), true);
  page.addEventListener("unhandledrejection", (event) => faults.push(String(event.reason)));
  page.console.error = (...words) => faults.push(words.join(" "));
  try {
    await until(() => page.ready, "the model");
    if (TASK === "listen") {
      by("record").click();
      await until(() => page.result?.answers >= 2, "an answer to the microphone");
      by("record").click();
    } else {
      const file = new File([await (await fetch(TASK)).arrayBuffer()], TASK);
      const transfer = new page.DataTransfer();
      transfer.items.add(file);
      by("drop").dispatchEvent(new page.DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
      await until(() => page.result || by("state").classList.contains("error"), "an answer");
    }
    const texts = [...page.document.querySelectorAll("main *")].filter((one) => one.innerText && !one.children.length);
    const result = page.result || {}, style = page.getComputedStyle(page.document.body);
    const canvas = by("spectrogram");
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    report({
      state: by("state").textContent, vector: [...(result.vector || [])], tags: result.tags, answers: result.answers,
      took: result.took, seconds: result.seconds, frames: result.frames?.map((row) => [...row]),
      patches: result.patches?.map((row) => [...row]), width: page.innerWidth,
      scrolls: page.document.documentElement.scrollWidth, colours: new Set(pixels).size,
      smallest: Math.min(...texts.map((one) => parseFloat(page.getComputedStyle(one).fontSize))),
      shown: [...by("tags").children].map((item) => item.innerText), ink: style.color, paper: style.backgroundColor,
    });
  } catch (error) { report({ state: error.message }); faults.push(error.message); }
});
</script></body>"""


@pytest.fixture(scope="module")
def modules() -> Path:
    """ONNX Runtime for browsers as the lock file names it; without npm the tests are skipped, visibly."""
    there = WEB / "node_modules" / "onnxruntime-web"
    if not there.is_dir():
        if shutil.which("npm") is None:
            pytest.skip("needs npm: apt-get install npm, then make web")
        done = subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=WEB, capture_output=True, text=True, timeout=600)
        if done.returncode:
            pytest.skip(f"npm ci in web/ failed: {done.stderr.strip().splitlines()[-1]}")
    return there.parent


@pytest.fixture(scope="module")
def site(modules: Path, trained: AudioEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page beside a small model with neighbours, and sounds to drop."""
    folder = tmp_path_factory.mktemp("site")
    for file in WEB.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    (folder / "node_modules").symlink_to(modules)
    waves = signals(RATE)
    with torch.inference_mode():
        vectors = trained(torch.stack(list(waves.values()))).clip.numpy()
    write_web(trained, folder / "model", list(waves), vectors)
    for name, wave in {"tone.wav": 0.5 * waves["tone"], "chirp.wav": 0.5 * signals(40_000)["chirp"]}.items():
        soundfile.write(folder / name, wave.numpy(), RATE)
    soundfile.write(folder / "short.wav", np.zeros(300), RATE)
    (folder / "text.wav").write_text("no sound")
    return folder


def visit(folder: Path, task: str, profile: Path, *options: str) -> dict[str, Any]:
    """The page's results for a task; any request that is not to this machine fails."""
    results: list[dict[str, Any]] = []
    arrived = threading.Event()
    (folder / "harness.html").write_text(HARNESS.replace("WIDTH", str(PHONE)).replace("TASK", json.dumps(task)))

    class Handler(SimpleHTTPRequestHandler):
        def do_POST(self) -> None:
            results.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            arrived.set()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [
        chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={profile}", *options, f"http://127.0.0.1:{server.server_port}/harness.html",
    ]  # fmt: skip
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert arrived.wait(240), "the page never answered"
    finally:
        browser.terminate()
        browser.wait(30)
        server.shutdown()
    return results[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tone", "chirp"])
def test_a_dropped_sound_gives_pythons_numbers(name: str, site: Path, trained: AudioEncoder, tmp_path: Path) -> None:
    found = visit(site, f"{name}.wav", tmp_path)
    assert found["faults"] == []
    wave = torch.from_numpy(read(str(site / f"{name}.wav")))
    about = json.loads((site / "model" / "demo.json").read_text())
    padded = torch.nn.functional.pad(wave, (0, -len(wave) % about["window"])).unflatten(0, (-1, about["window"]))
    with torch.inference_mode():
        vector = trained(wave[None]).clip[0].numpy()
        spectrogram, modulations = Picture(trained)(padded)
    np.testing.assert_allclose(found["vector"], vector, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(found["frames"], spectrogram.flatten(0, 1).numpy(), rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(found["patches"], modulations.flatten(0, 1).numpy(), rtol=0, atol=TOLERANCE)
    centre = np.array(about["centre"])
    unit = lambda x: (x - centre) / np.linalg.norm(x - centre)
    cosine = {one["label"]: unit(np.array(one["vector"])) @ unit(vector) for one in about["neighbours"]}
    expected = sorted(cosine.items(), key=lambda item: -item[1])[:5]
    assert [tag["label"] for tag in found["tags"]] == [label for label, _ in expected]
    shares = [tag["share"] for tag in found["tags"]]
    np.testing.assert_allclose(shares, [share for _, share in expected], rtol=0, atol=TOLERANCE)
    assert found["shown"][0].startswith(expected[0][0])


@pytest.mark.slow
def test_the_page_fits_a_phone_and_can_be_read(site: Path, tmp_path: Path) -> None:
    found = visit(site, "chirp.wav", tmp_path)
    assert found["width"] == PHONE and found["scrolls"] <= PHONE
    assert found["smallest"] >= 12 and found["colours"] > 50
    ink, paper = (tuple(map(int, found[name][4:-1].split(","))) for name in ("ink", "paper"))
    assert contrast(ink, paper) >= LEAST_CONTRAST  # type: ignore[arg-type]
    assert found["state"].startswith("chirp.wav: 2.5 s, analysed in")


@pytest.mark.slow
def test_it_listens_to_a_microphone(site: Path, tmp_path: Path) -> None:
    fake = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    found = visit(site, "listen", tmp_path, *fake, f"--use-file-for-fake-audio-capture={site / 'tone.wav'}")
    assert found["faults"] == [] and found["answers"] >= 2 and np.isfinite(found["vector"]).all()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words"), [("short.wav", "too short: give at least 25 ms"), ("text.wav", "no sound")])
def test_an_unreadable_file_is_reported_on_the_page(name: str, words: str, site: Path, tmp_path: Path) -> None:
    found = visit(site, name, tmp_path)
    assert words in found["state"] and found["faults"] == []


@pytest.mark.slow
def test_a_classifier_shows_its_classes(site: Path, classifier: AudioClassifier, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    shutil.copytree(site, folder, symlinks=True)
    write_web(classifier, folder / "model")
    found = visit(folder, "tone.wav", tmp_path / "profile")
    wave = torch.from_numpy(read(str(site / "tone.wav")))[None]
    with torch.inference_mode():
        expected = classifier.probabilities(classifier(wave))[0].numpy()
    np.testing.assert_allclose(found["vector"], expected, rtol=0, atol=TOLERANCE)
    assert found["tags"][0]["label"] == classifier.config.classes[int(expected.argmax())]


def test_modulations_are_those_of_the_patch(trained: AudioEncoder) -> None:
    picture, frames = Picture(trained), trained.stem.patch[0]
    assert picture.rates == [100 / frames * period for period in range(1, frames // 2 + 1)]
    frame = torch.arange(frames, dtype=torch.float64)
    mel = (0.3 + 0.7 * torch.sin(2 * torch.pi * 3 * frame / frames))[None, :, None].expand(1, frames, 128).float()
    patch = mel.unflatten(1, (1, frames))
    cosine, sine = (patch.mT @ picture.waves).chunk(2, dim=-1)
    amplitude = (cosine.square() + sine.square()).mean(2).sqrt()[0, 0]
    torch.testing.assert_close(amplitude, torch.tensor([0, 0, 0.7, *[0.0] * (frames // 2 - 3)]), rtol=0, atol=1e-6)


def test_the_fastest_modulation_is_as_high_as_the_others_over_phases(trained: AudioEncoder) -> None:
    picture, frames = Picture(trained), trained.stem.patch[0]
    frame, phase = torch.arange(frames, dtype=torch.float64), 2 * torch.pi * torch.arange(32)[:, None] / 32
    for periods in (1, frames // 2):
        waves = 0.3 * torch.cos(2 * torch.pi * periods * frame / frames + phase)
        cosine, sine = (waves.float() @ picture.waves).chunk(2, dim=-1)
        rms = (cosine.square() + sine.square()).mean(0).sqrt()[periods - 1]
        assert float(rms) == pytest.approx(0.3, abs=1e-5)


def test_a_model_of_numbers_is_refused(trained: AudioEncoder, tmp_path: Path) -> None:
    numbers = AudioClassifier(AudioClassifierConfig(("tempo",), numbers=(120.0, 30.0), encoder=trained.config))
    with pytest.raises(AaspError, match="predicts a number, tempo, and the demo shows classes; export it"):
        write_web(numbers, tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_a_full_disk_leaves_the_old_folder(
    trained: AudioEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "demo.json").write_text("old")

    def full(proto: object, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    for name in ("onnx_model", "to_onnx", "session"):
        monkeypatch.setattr(f"aasp.deploy.onnx.{name}", lambda *_: None)
    monkeypatch.setattr("aasp.deploy.onnx.difference", lambda *_: off)
    monkeypatch.setattr("aasp.deploy.onnx.write", full)
    off = 0.1
    with pytest.raises(AaspError, match=r"not written: its numbers differ from the model's by 0\.1"):
        write_web(trained, folder, ["a"], np.zeros((1, 72)))
    off = 0.0
    with pytest.raises(OSError, match="No space left"):
        write_web(trained, folder, ["a"], np.zeros((1, 72)))
    assert (folder / "demo.json").read_text() == "old" and list(tmp_path.iterdir()) == [folder]


def test_an_encoder_needs_neighbours_and_a_folder_of_its_own(trained: AudioEncoder, tmp_path: Path) -> None:
    with pytest.raises(AaspError, match="an encoder has no tags of its own; add --neighbours FOLDER"):
        write_web(trained, tmp_path / "model")
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(AaspError, match="holds something else than the demo's files"):
        write_web(trained, tmp_path, ["a"], np.zeros((1, 72)))
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
