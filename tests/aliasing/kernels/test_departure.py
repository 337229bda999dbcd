"""Do learned parameters leave their initialisation: the distance in plain numpy, rebuilt starts, the conclusion."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from aasp.aliasing.kernels.departure import Origin, conclusion, departure, origin
from aasp.aliasing.kernels.document import measure
from aasp.aliasing.kernels.page import section
from aasp.encoders import AudioEncoderAdapter, EncoderAdapter, open_adapter
from aasp.features import FRONTENDS
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems import STEMS
from pages import parts

SMALL = {"leaf": {"filters": 32, "stride": 8}, "sblu": {"filters": 32}, "pcen": {"bands": 32}, "logmel": {"mels": 32}}


def model(frontend: str = "logmel", stem: str = "conv", **fields: object) -> AudioEncoder:
    torch.manual_seed(3)
    front = LogMelConfig() if frontend == "logmel" else FRONTENDS.find(frontend)()
    config = AudioEncoderConfig(replace(front, **SMALL[frontend]), STEMS.find(stem)(**fields), EncoderConfig(16, 1, 2))
    return AudioEncoder(config)


def rows_of(encoder: AudioEncoder, seed: int | None = 3) -> dict[str, dict]:
    found = departure(AudioEncoderAdapter("m", encoder), Origin(seed))
    return {f"{row['part']}: {row['name']}": row for row in json.loads(json.dumps(found))}


@pytest.mark.parametrize(
    ("frontend", "stem", "fields", "names"),
    [
        (
            "leaf",
            "conv",
            {},
            ["centre (Hz)", "deviation (samples)", "low-pass (of half its length)", "s", "alpha", "delta"],
        ),
        ("pcen", "conv", {}, ["s", "alpha", "delta", "r"]),
        ("sblu", "conv", {}, ["centre (Hz)", "decay (per sample)"]),
        ("logmel", "lowpass", {"trained": True}, ["filters", "project"]),
        ("logmel", "polyphase", {"taps": 64, "trained": True}, ["filters", "project"]),
        ("logmel", "s4d", {}, ["decay (per frame)", "frequency (rad per frame)", "step", "input_matrix", "fuse"]),
        ("logmel", "mamba", {}, ["step, of silence", "decay (per step)", "select", "skip"]),
        ("logmel", "aape", {}, ["decay (per frame)", "frequency (rad per frame)", "lambda_encoder", "output_matrix"]),
        ("logmel", "aape", {"parameters": "learned"}, ["decay (per frame)", "frequency (rad per frame)"]),
    ],
)
def test_distance_from_initialisation_is_zero_until_a_parameter_moves(frontend, stem, fields, names) -> None:
    encoder = model(frontend, stem, **fields)
    found = rows_of(encoder)
    part = f"front end {frontend}" if frontend != "logmel" else f"stem {stem}"
    assert {f"{part}: {name}" for name in names} <= found.keys()
    assert all(row["distance"]["estimate"] == row["farthest"] == 0 for row in found.values())
    assert "No learned parameter has left its initialisation" in conclusion(list(found.values()))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter).abs() * parameter.abs().mean())
    moved = rows_of(encoder)
    assert all(row["distance"]["estimate"] > 0 for name, row in moved.items() if not name.endswith("norm"))
    unknown = rows_of(encoder, seed=None)
    assert {f"{part}: {name}" for name in names[:2] if name != "project"} <= unknown.keys()
    assert not {name for name in unknown if name.endswith(("project", "select", "lambda_encoder"))}


def test_the_distance_is_in_deviations_of_the_starts_or_relative_to_equal_starts() -> None:
    encoder = model("leaf")
    with torch.no_grad():
        encoder.frontend.eta.add_(torch.linspace(-0.1, 0.2, 32))
        encoder.frontend.normalise.delta_raw.add_(torch.linspace(0, 0.5, 32))
    found = rows_of(encoder)
    start = encoder.config.frontend.centres()
    moved = 2 * np.pi * start / 16_000 + np.linspace(-0.1, 0.2, 32)
    now = (np.pi - np.abs(np.pi - np.abs(moved))) * 16_000 / 2 / np.pi  # what leaves 0 to π is folded back
    centre, delta = found["front end leaf: centre (Hz)"], found["front end leaf: delta"]
    assert centre["distance"]["estimate"] == pytest.approx(np.abs(now - start).mean() / start.std(), rel=1e-4)
    assert centre["spread"] == pytest.approx(start.std(), rel=1e-5) and not centre["alike"] and centre["count"] == 32
    assert delta["alike"] and delta["distance"]["estimate"] == pytest.approx(np.expm1(np.linspace(0, 0.5, 32)).mean())
    assert centre["distance"]["low"] < centre["distance"]["estimate"] < centre["distance"]["high"]
    text = conclusion(list(found.values()))
    assert text.startswith("2 of 8 learned parameters left") and "delta of front end leaf (0.3)" in text
    assert text.endswith("; the other 6 stayed within 0.1 of it.") and text.count(". ") == 0


def test_a_run_that_started_from_a_model_is_held_against_it(tmp_path: Path) -> None:
    first = model("pcen")
    with torch.no_grad():
        first.frontend.normalise.r_raw.add_(1.0)
    first.save(tmp_path / "first")
    (tmp_path / "run").mkdir()
    recipe = {"seed": 5, "started_from": {"model": str(tmp_path / "first")}}
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(recipe))
    began = origin(tmp_path / "run")
    assert began.seed is None and began.started_from == str(tmp_path / "first")
    rows = departure(AudioEncoderAdapter("m", first), began)
    assert {row["name"] for row in rows} >= {"r", "project"} and all(row["farthest"] == 0 for row in rows)
    assert departure(SimpleNamespace(spec=EncoderAdapter), began) == []


def test_the_page_shows_a_picture_a_table_and_the_conclusion(tmp_path: Path, sounds: list[str]) -> None:
    encoder = model("sblu", "s4d")
    encoder.save(tmp_path / "m")
    found = json.loads(json.dumps(measure(open_adapter(tmp_path / "m"), sounds[:1], Origin(3))))
    last = parts(section(found, tmp_path))[-1]
    assert last.title == "Do learned parameters leave their initialisation?" and "No learned parameter" in last.text
    assert ["<svg" in panel for panel in last.panels] == [True, False]
    assert "decay (per frame), stem s4d" in last.panels[1] and "decay" in last.panels[0]
    found["departure"] = []
    assert "leave their initialisation" not in section(found, tmp_path)
