"""The short stability metric of an ablation equals the full examination's, clip by clip."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.aliasing.ablation import stability_metric
from aasp.aliasing.ablation.stability_metric import LOOKED_AT, open_stability_metrics
from aasp.aliasing.stability.document import examine
from aasp.aliasing.stability.excerpts import gather
from aasp.compare.differences import mean
from aasp.compare.measures import Listener
from aasp.config import with_fields
from aasp.datasets.manifest import Manifest
from aasp.encoders import AudioEncoderAdapter
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain import recipes
from aasp.stems.conv import ConvConfig


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight clips of noise of rising level, of four speakers."""
    folder, random = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    with (folder / "index.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "speaker"])
        for n in range(8):
            wave = random.standard_normal(54_400) * (0.02 + 0.1 * np.abs(np.sin(np.arange(54_400) * (n + 1) / 9_000)))
            soundfile.write(folder / f"{n}.wav", np.cumsum(wave) * 0.02 + wave, 16_000)
            rows.writerow([f"{n}.wav", f"speaker {n // 2}"])
    return folder / "index.csv"


@pytest.fixture(scope="module")
def encoder() -> AudioEncoder:
    torch.manual_seed(0)
    small = {
        "model.stem.patch": "16,32",
        "model.encoder.width": "16",
        "model.encoder.depth": "1",
        "model.vector": "none",
        "model.encoder.heads": "2",
    }
    return AudioEncoder(with_fields(recipes.get("aasp_tiny"), small).model).eval()


def octaves(one: dict[str, list[float | None]]) -> np.ndarray:
    known = lambda values: np.array([np.nan if value is None else value for value in values])
    control, own = known(one["control_distance"]), known(one["distance"])
    return np.log2((control + 1e-3) / (own + 1e-3))


@pytest.mark.slow
def test_metrics_equal_those_of_the_stability_report(index: Path, encoder: AudioEncoder) -> None:
    listener = Listener(encoder)
    measured = {measure.name: measure(listener) for measure in open_stability_metrics(f"{index}:speaker")[0]}
    clips = gather(Manifest.open(index)[0], clips=8, seconds=2.5).excerpts
    found = examine([AudioEncoderAdapter("it", encoder)], clips)
    each = found["models"][0]["clipwise"]
    for name, keys in LOOKED_AT.items():
        ahead = [octaves(each[key]) for key in keys]
        expected = np.mean(ahead, axis=0)
        known = np.isfinite(expected)
        np.testing.assert_allclose(measured[name].values, expected[known], rtol=2e-3, atol=2e-3)
        assert measured[name].clusters == [f"speaker {n // 2}" for n in np.flatnonzero(known)]
        assert measured[name].details["clips left out"] == (~known).sum()


@pytest.mark.slow
def test_encoders_of_all_token_rates_are_compared_on_the_same_sounds(
    index: Path, encoder: AudioEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Controls of each encoder's own rate would compare a fine grid with faster, that is easier, controls."""
    rates, observed = [], stability_metric.observe

    def watched(adapters, clips, table, seed):  # type: ignore[no-untyped-def]
        rates.append([(row.key, str(row.perturbation)) for row in table])
        return observed(adapters, clips, table, seed)

    monkeypatch.setattr(stability_metric, "observe", watched)
    fine = AudioEncoder(replace(encoder.config, stem=ConvConfig(patch=(4, 32))))
    assert AudioEncoderAdapter("fine", fine).token_rate != AudioEncoderAdapter("it", encoder).token_rate
    for one in (encoder, fine):
        open_stability_metrics(str(index)).measures[0](Listener(one))
    assert rates[0] == rates[1]


@pytest.mark.slow
def test_a_constant_encoder_is_not_ahead_of_its_control(index: Path, encoder: AudioEncoder) -> None:
    """A constant encoder scores no advantage: it does not move under the control either."""

    class Deaf(AudioEncoder):
        def embed(self, mel_BTM, frames_B, **options):  # type: ignore[no-untyped-def]
            found = super().embed(mel_BTM, frames_B, **options)
            found.clip = torch.eye(8)[: len(found.clip)]
            return found

    deaf = Deaf(encoder.config)
    for measure in open_stability_metrics(str(index))[0]:
        scores = measure(Listener(deaf))
        assert scores.values and np.allclose(scores.values, 0.0) and scores.clusters is None


@pytest.mark.slow
def test_clips_of_one_group_are_drawn_one_by_one(index: Path, encoder: AudioEncoder) -> None:
    """A single group can't be drawn; it was found out after all trainings."""
    lines = index.read_text().splitlines()
    one = index.with_name("one.csv")
    one.write_text("\n".join([lines[0], *(line.partition(",")[0] + ",same" for line in lines[1:])]))
    scores = open_stability_metrics(f"{one}:speaker").measures[0](Listener(encoder))
    assert set(scores.clusters or ()) == {"same"} and mean({0: scores})[0].clusters == len(scores.values)


def test_short_clips_are_refused_with_a_remedy_that_exists(tmp_path: Path) -> None:
    for n in range(8):
        soundfile.write(tmp_path / f"{n}.wav", np.ones(1600), 16_000)
    with pytest.raises(AaspError, match=r"0 usable .* 2\.82 s are needed .*; give --stability 8 or more clips"):
        open_stability_metrics(str(tmp_path))


def test_a_column_that_is_not_there_is_named(index: Path) -> None:
    with pytest.raises(AaspError, match="speakr"):
        open_stability_metrics(f"{index}:speakr")
