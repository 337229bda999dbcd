"""A server's answers equal those of `aasp embed` and `aasp predict` for the same file, alone or in a batch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import aasp
from aasp.audio.sounds import Recording, Samples, duration
from aasp.cli.main import main
from aasp.evaluate.finetune.over_time import step_probabilities
from aasp.evaluate.finetune.predict import load_classifiers, predictions
from aasp.index import Index
from aasp.index.query import embed, model_of

pytest.importorskip("fastapi")
from aasp.serve.batches import Batcher

Asking = Callable[..., Any]


def test_a_vector_is_that_of_embed_whatever_the_batch(asking: Asking, models: Path, sounds: Path) -> None:
    client = asking()
    names = 2 * [path.name for path in sorted(sounds.iterdir())]
    with ThreadPoolExecutor(len(names)) as pool:
        answers = list(pool.map(lambda name: client.post("/embed", content=(sounds / name).read_bytes()), names))
    expected = {name: aasp.embed(sounds / name, model=models / "encoder") for name in set(names)}
    for name, answer in zip(names, answers, strict=True):
        assert answer.status_code == 200 and answer.json()["seconds"] == pytest.approx(duration(str(sounds / name)))
        np.testing.assert_allclose(answer.json()["embedding"], expected[name], atol=1e-5)
    assert "aasp_batch_sounds_count" in client.get("/metrics").text


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("layer=0&layer=2&pooling=mean", {"layer": [0, 2], "pooling": "mean"}),
        ("channels=2&pooling=flat%2Bstd", {"channels": 2, "pooling": "flat+std"}),
    ],
)
def test_the_options_are_those_of_embed(
    asking: Asking, models: Path, sounds: Path, query: str, options: dict[str, Any]
) -> None:
    answer = asking().post(f"/embed?{query}", content=(sounds / "b.flac").read_bytes())
    expected = aasp.embed(sounds / "b.flac", model=models / "encoder", **options)
    np.testing.assert_allclose(answer.json()["embedding"], expected, atol=1e-5)


def test_vectors_over_time_have_their_times(asking: Asking, models: Path, sounds: Path) -> None:
    answer = asking().post("/embed?frames=true", content=(sounds / "c.ogg").read_bytes()).json()
    frames, seconds = aasp.embed(sounds / "c.ogg", model=models / "encoder", frames=True)
    np.testing.assert_allclose(answer["frames"], frames, atol=1e-5)
    np.testing.assert_allclose(answer["times"], seconds, atol=1e-6)
    finer = asking().post("/embed?frames=true&hop=0.08", content=(sounds / "b.flac").read_bytes()).json()
    assert np.diff(finer["times"])[:-1] == pytest.approx(0.08) and len(finer["frames"]) == len(finer["times"]) == 40


@pytest.mark.parametrize("model", ["clips", "run"])
def test_classes_are_those_of_predict(asking: Asking, models: Path, sounds: Path, model: str) -> None:
    client, path = asking(model), str(sounds / "b.flac")
    answer = client.post("/predict?frames=1&window=0.5", content=Path(path).read_bytes()).json()
    classifiers = list(load_classifiers(models / model).values())
    (one,) = predictions(classifiers, [path], window=0.5, skipped=[])
    names = classifiers[0].config.classes
    expected = dict(zip(names, one.probabilities.tolist(), strict=True))
    assert answer["classes"] == pytest.approx(expected, abs=1e-5) and answer["multilabel"] is False
    assert list(answer["classes"].values()) == sorted(answer["classes"].values(), reverse=True)
    assert [[frame["start"], frame["end"]] for frame in answer["frames"]] == one.windows.round(6).tolist()
    found = [[frame["classes"][name] for name in names] for frame in answer["frames"]]
    np.testing.assert_allclose(found, one.over_time, atol=1e-4)  # a window is cut before it is resampled, or after
    top = client.post("/predict?top=1", content=Path(path).read_bytes()).json()
    assert list(top["classes"]) == [max(expected, key=lambda name: expected[name])] and "frames" not in top


def test_an_event_model_answers_step_by_step(asking: Asking, models: Path, sounds: Path) -> None:
    path = sounds / "b.flac"
    answer = asking("events").post("/predict?frames=true", content=path.read_bytes()).json()
    (steps,) = step_probabilities(list(load_classifiers(models / "events").values()), [str(path)], skipped=[])
    assert steps is not None and answer["multilabel"] is True
    found = [[frame["classes"][name] for name in ("cat", "dog", "Vögel")] for frame in answer["frames"]]
    np.testing.assert_allclose(found, steps.probabilities, atol=1e-5)
    assert [frame["end"] for frame in answer["frames"]] == pytest.approx(steps.edges[1:].round(6).tolist())


def test_which_routes_a_model_has(asking: Asking) -> None:
    routes = {"encoder": {"/embed"}, "clips": {"/embed", "/predict"}, "run": {"/predict"}}
    for model, expected in routes.items():
        client = asking(model)
        api = client.get("/openapi.json").json()
        assert {path for path, methods in api["paths"].items() if "post" in methods} == expected
        assert client.get("/health").json() == {
            "status": "ok",
            "model": model,
            "version": aasp.__version__,
            "requests": 0,
        }
    assert client.get("/docs").status_code == 404, "a page that would be fetched from elsewhere"


def test_every_request_in_the_docs_is_answered(asking: Asking, index: Path, sounds: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    lines = re.findall(r"^curl (--data-binary @dog.wav )?'?http://localhost:8642(/[^'\s]+)'?$", text, re.MULTILINE)
    assert len(lines) == text.count("curl ") >= 8
    for body, path in lines:
        content = (sounds / "a.wav").read_bytes() if body else None
        model = str(index) if path.startswith("/search") else "clips"
        answer = asking(model).request("POST" if body else "GET", path, content=content)
        assert answer.status_code == 200, path


def test_a_classifier_answers_for_the_channels_it_was_trained_on(asking: Asking, sounds: Path) -> None:
    client, content = asking("second"), (sounds / "a.wav").read_bytes()
    found = [client.post(f"/predict{query}", content=content).json()["classes"] for query in ("", "?channels=2")]
    assert found[0] == found[1] != client.post("/predict?channels=mean", content=content).json()["classes"]


def test_channels_that_cancel_are_a_warning(asking: Asking, tmp_path: Path) -> None:
    wave = 0.3 * np.random.default_rng(0).standard_normal(16_000)
    soundfile.write(tmp_path / "x.wav", np.stack([wave, -0.99 * wave], axis=1), 16_000)
    answer = asking().post("/embed", content=(tmp_path / "x.wav").read_bytes()).json()
    assert answer["warning"].startswith("its channels cancel in their mean; give channels=first")


def test_requests_are_counted_in_metrics(asking: Asking, sounds: Path) -> None:
    client = asking(queue=5)
    for content in ((sounds / "a.wav").read_bytes(), b"no sound"):
        client.post("/embed", content=content)
    client.get("/no/such/route")
    counted = client.get("/metrics").text
    for line in (
        'aasp_requests_total{route="/embed",status="200"} 1.0',
        'aasp_requests_total{route="/embed",status="422"} 1.0',
        'aasp_requests_total{route="other",status="404"} 1.0',
        "aasp_sound_seconds_total 1.3",
        "process_resident_memory_bytes",
    ):
        assert line in counted


def test_waiting_sounds_are_batched_by_kind_and_a_failure_costs_one() -> None:
    calls: list[tuple[object, int]] = []

    def compute(wanted: object, some: list[Samples]) -> list[int]:
        calls.append((wanted, len(some)))
        if any(one.name == "bad" for one in some):
            raise RuntimeError("no memory")
        return [len(one.wave) for one in some]

    batcher = Batcher(4, 200.0)
    sound = lambda name, count: Samples(name, np.zeros(count, np.float32), 16_000)
    kinds = [("x", "good"), ("y", "good"), ("y", "bad"), ("x", "good"), ("x", "good")]
    futures = [batcher.submit(compute, kind, sound(name, n)) for n, (kind, name) in enumerate(kinds, start=1)]
    found = [future.exception(5) or future.result() for future in futures]
    assert found[:2] == [1, 2] and found[3:] == [4, 5] and str(found[2]) == "no memory"
    assert calls == [("x", 2), ("y", 2), ("y", 1), ("y", 1), ("x", 1)]
    batcher.close(5)
    assert not batcher.alive


@pytest.mark.parametrize(
    "words", [["--channels", "2"], ["--channels", "each"], ["--precision", "bf16"]], ids=lambda words: words[1]
)
def test_a_query_is_embedded_with_the_settings_of_the_index(
    asking: Asking, models: Path, sounds: Path, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", str(models / "encoder"), str(sounds), "--out", str(tmp_path / "i"), *words]) == 0
    client, query = asking(str(tmp_path / "i")), (sounds / "b.flac").read_bytes()
    each = words[1] == "each"
    if each:
        refused = client.post("/search", content=query)
        assert refused.status_code == 422 and "the sound has 2; give channels=mean, first" in refused.json()["error"]
        soundfile.write(tmp_path / "mono.wav", soundfile.read(sounds / "a.wav")[0][:, 0], 32_000)
        assert client.post("/search", content=(tmp_path / "mono.wav").read_bytes()).status_code == 200
    found = client.post("/search" + "?channels=2" * each, content=query).json()["results"]
    assert found[0]["path"] == "b.flac" and found[0].get("channel", "2") == "2"
    index = Index.open(tmp_path / "i")
    channels = "mean" if words[0] == "--precision" else 2
    own = embed(index, model_of(index), [Recording(str(sounds / "b.flac"), channels)])
    expected = index.vectors[[one["row"] for one in found]].astype(np.float32) @ own[0]
    assert expected[0] == pytest.approx(1, abs=1e-3)
    assert [one["similarity"] for one in found] == pytest.approx(expected.tolist(), abs=2e-6)  # bf16 differs by more
    (default,) = (
        option["schema"]["default"]
        for option in client.get("/openapi.json").json()["paths"]["/search"]["post"]["parameters"]
        if option["name"] == "channels"
    )
    assert default == index.settings.channels


def test_the_rows_of_an_index_that_are_nearest(
    asking: Asking, index: Path, sounds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `aasp search` finds; the query is of the index's own settings."""
    client, query = asking(str(index)), (sounds / "b.flac").read_bytes()
    found = client.post("/search?count=3", content=query).json()["results"]
    capsys.readouterr()
    assert main(["search", str(index), str(sounds / "b.flac"), "--count", "3", "--format", "json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert [(one["row"], one["start"], one["seconds"]) for one in found] == [
        (one["row"], one["start"], one["seconds"]) for one in expected
    ]
    assert found[0]["path"] == "b.flac" and found[0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert [one["similarity"] for one in found] == pytest.approx([one["similarity"] for one in expected], abs=1e-5)
    moved = client.post(f"/search?count=9&like={found[2]['row']}&unlike={found[0]['row']}", content=query).json()
    assert {one["row"] for one in moved["results"]} == {0, 1, 2, 3, 4} - {found[2]["row"], found[0]["row"]}
    assert len(client.post("/embed", content=query).json()["embedding"]) == 24
    refused = client.post("/search?like=77", content=query)
    assert refused.status_code == 422 and "no row 77; there are 5" in refused.json()["error"]
    assert client.post("/search?count=0", content=query).status_code == 422
