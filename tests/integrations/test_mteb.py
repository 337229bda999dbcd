"""MTEB: its encoder's interface, MTEB itself where it is installed, and a miniature of its tasks."""

from __future__ import annotations

import io
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader

from aasp.errors import AaspError
from aasp.integrations.mteb import AaspEncoder
from aasp.model.audio_encoder import AudioEncoder
from tones import RATE, tone


def collate(items: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """As MTEB does of sounds, which have lengths of their own: a list."""
    return {name: [item[name] for item in items] for name in items[0]}


def loader(clips: list[Any], batch: int = 5) -> DataLoader:
    return DataLoader([{"audio": clip} for clip in clips], batch_size=batch, collate_fn=collate)  # type: ignore[arg-type]


def clip(wave: np.ndarray, rate: int = RATE) -> dict[str, Any]:
    return {"array": wave, "sampling_rate": rate}


def own(encoder: AudioEncoder, wave: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return encoder(torch.from_numpy(wave)[None]).clip.numpy()[0]


def test_vectors_are_the_models_own_in_the_order_given(encoder: AudioEncoder) -> None:
    waves = [tone(300 + 50 * i, 0.3 + 0.37 * (7 * i % 12), seed=i) for i in range(12)]
    found = AaspEncoder(encoder).encode(
        loader([clip(wave) for wave in waves]), task_metadata=None, hf_split="test", hf_subset="default", batch_size=5
    )
    assert found.dtype == np.float32 and found.shape == (12, 24)
    np.testing.assert_allclose(found, [own(encoder, wave) for wave in waves], rtol=0, atol=2e-5)


def test_any_rate_and_any_number_of_channels(encoder: AudioEncoder) -> None:
    wide = tone(700, 1.0, 44_100)
    stereo = np.stack([wide, np.zeros_like(wide)])
    forms = [wide, wide.astype(np.float64), stereo, wide.tolist()]
    found = AaspEncoder(encoder).encode(loader([clip(form, 44_100) for form in forms]))
    expected = own(encoder, soxr.resample(wide, 44_100, RATE))
    for row in (0, 1, 3):
        np.testing.assert_allclose(found[row], expected, rtol=0, atol=2e-5)
    np.testing.assert_allclose(found[2], own(encoder, soxr.resample(wide / 2, 44_100, RATE)), rtol=0, atol=2e-4)


def test_16_bit_samples_are_scaled(encoder: AudioEncoder) -> None:
    wave = np.round(tone(700, 1.0) * 32767).astype(np.int16)
    found = AaspEncoder(encoder).encode(loader([clip(wave)]))
    np.testing.assert_allclose(found[0], own(encoder, wave / np.float32(32768)), rtol=0, atol=2e-5)


def test_clips_that_are_files_still(encoder: AudioEncoder, tmp_path: Path) -> None:
    """What `datasets.Audio(decode=False)` gives, so that torchcodec need not be there."""
    wave = tone(700, 1.0)
    content = io.BytesIO()
    soundfile.write(content, wave, RATE, format="WAV", subtype="FLOAT")
    (tmp_path / "a.wav").write_bytes(content.getvalue())
    clips = [
        {"path": None, "bytes": content.getvalue()},
        {"path": "a.wav", "bytes": content.getvalue()},
        {"path": str(tmp_path / "a.wav"), "bytes": None},
        {"path": str(tmp_path / "a.wav")},
        str(tmp_path / "a.wav"),
        content.getvalue(),
    ]
    found = AaspEncoder(encoder).encode(loader(clips))
    np.testing.assert_allclose(found, np.tile(own(encoder, wave), (6, 1)), rtol=0, atol=2e-5)


def test_a_decoder_object_of_datasets(encoder: AudioEncoder) -> None:
    """With torchcodec a clip is an object indexed for its array as a dictionary is."""

    class Decoder:
        def __getitem__(self, name: str) -> Any:
            return {"array": tone(700, 1.0), "sampling_rate": RATE}[name]

    np.testing.assert_allclose(
        AaspEncoder(encoder).encode(loader([Decoder()]))[0], own(encoder, tone(700, 1.0)), rtol=0, atol=2e-5
    )


def test_similarity_is_the_cosine(encoder: AudioEncoder) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 8)).astype(np.float32), rng.normal(size=(5, 8)).astype(np.float32)
    expected = [[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in b] for x in a]
    model = AaspEncoder(encoder)
    np.testing.assert_allclose(model.similarity(a, torch.from_numpy(b)), expected, atol=1e-6)
    np.testing.assert_allclose(model.similarity_pairwise(a, b[:3]), np.diag(expected), atol=1e-6)
    assert model.similarity(a[0], b).shape == (1, 5)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (clip(tone(300, 0.01)), r"birds: clip 1: too short: 10 ms, under one analysis window of 25 ms; leave"),
        (clip(np.full(RATE, np.nan, np.float32)), "birds: clip 1: NaN or infinite samples; repair"),
        (clip(np.full(RATE, 3e4, np.float32)), "birds: clip 1: samples reach 30000, not a waveform"),
        (clip(np.zeros((RATE, 2), np.float32)), r"clip 1 has shape \(16000, 2\); give"),
        (clip(np.zeros((2, 2, RATE), np.float32)), r"clip 1 has shape \(2, 2, 16000\); give"),
        (clip(np.ones(RATE, np.int32)), "clip 1 is of int32, whose scale is unknown"),
        (clip(tone(300, 1.0), 0), "clip 1 has a sampling_rate of 0; give"),
        (clip(np.sin(2.6 * np.arange(48_000)), 48_000), "birds: clip 1: its sound lies above 8,000 Hz, of which"),
        ({"array": tone(300, 1.0)}, "clip 1 is dict, not a clip with an array and its sampling_rate"),
        (["a"], "clip 1 is list, not a clip"),
        ("nowhere.wav", "nowhere.wav: "),
        ({"path": None, "bytes": None}, "clip 1 has neither array, bytes nor path"),
        ({"path": "nowhere.wav", "bytes": None}, "nowhere.wav: "),
        ({"path": "a.wav", "bytes": b"no sound"}, "a.wav: "),
    ],
)
def test_a_clip_that_cannot_be_used_is_named(encoder: AudioEncoder, item: Any, message: str) -> None:
    task = types.SimpleNamespace(name="birds")
    with pytest.raises(AaspError, match=message) as error:
        AaspEncoder(encoder).encode(loader([clip(tone(300, 1.0)), item], batch=1), task_metadata=task)
    assert "\n" not in str(error.value)


def test_a_task_without_sound_is_refused(encoder: AudioEncoder) -> None:
    task = types.SimpleNamespace(name="STS12")
    with pytest.raises(AaspError, match="STS12: gives text, and AaSP takes audio only; choose"):
        AaspEncoder(encoder).encode([{"text": ["a"]}], task_metadata=task)
    with pytest.raises(AaspError, match="STS12: gives no clip"):
        AaspEncoder(encoder).encode([], task_metadata=task)
    with pytest.raises(AaspError, match="STS12: gives no clip"):
        AaspEncoder(encoder).encode([{"audio": []}], task_metadata=task)
    with pytest.raises(AaspError, match="STS12: a batch is str; give batches of clips"):
        AaspEncoder(encoder).encode({"audio": []}, task_metadata=task)


def test_an_empty_batch_among_others_gives_nothing(encoder: AudioEncoder) -> None:
    one = {"audio": [clip(tone(300, 0.3))]}
    assert AaspEncoder(encoder).encode([one, {"audio": []}, one]).shape == (2, 24)


def test_a_model_by_its_folder(folder: Path, encoder: AudioEncoder) -> None:
    model = AaspEncoder(folder, device="cpu")
    assert model.name == "aasp/small" and len(model.revision) == 12
    assert AaspEncoder(str(folder), "3", name="you/birds").revision == "3"
    np.testing.assert_array_equal(
        model.encode(loader([clip(tone(500, 1.0))])), AaspEncoder(encoder).encode(loader([clip(tone(500, 1.0))]))
    )
    with pytest.raises(AaspError, match="no such directory"):
        AaspEncoder(folder / "nowhere")


def test_a_miniature_task(encoder: AudioEncoder, two_tones: tuple[list[np.ndarray], list[int]]) -> None:
    """As its classification does: logistic regression on what `encode` gives, the test part apart."""
    waves, labels = two_tones
    model = AaspEncoder(encoder)
    train, test = (model.encode(loader([clip(wave) for wave in part])) for part in (waves[:16], waves[16:]))
    head = LogisticRegression(max_iter=100).fit(train, labels[:16])
    assert head.score(test, labels[16:]) == 1.0
    nearest = model.similarity(test, train).argmax(1)
    assert [labels[i] for i in nearest] == labels[16:]


def test_mteb_itself(
    folder: Path,
    two_tones: tuple[list[np.ndarray], list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    mteb = pytest.importorskip("mteb", reason="needs mteb")
    datasets = pytest.importorskip("datasets", reason="needs mteb")
    from mteb.abstasks import AbsTaskClassification

    waves, labels = two_tones

    class Tones(AbsTaskClassification):
        metadata = mteb.TaskMetadata(
            name="Tones", description="low or high", type="AudioClassification", modalities=["audio"],
            dataset={"path": "you/tones", "revision": "1"}, eval_splits=["test"], eval_langs=["eng-Latn"],
            main_score="accuracy", reference=None, date=None, domains=None, license=None, task_subtypes=None,
            annotations_creators=None, dialect=None, sample_creation=None, bibtex_citation=None, category="a2c",
        )  # fmt: skip
        input_column_name = "audio"
        n_experiments = 2

        def load_data(self, **_: Any) -> None:
            rows = lambda part: {
                "audio": [clip(waves[i].tolist()) for i in part],
                "label": [labels[i] for i in part],
            }
            parts = {"train": range(16), "test": range(16, 24)}
            self.dataset = datasets.DatasetDict(
                {name: datasets.Dataset.from_dict(rows(part)) for name, part in parts.items()}
            )
            self.data_loaded = True

    model = AaspEncoder(folder, name="you/small")
    assert isinstance(model, mteb.models.EncoderProtocol)
    meta = model.mteb_model_meta
    assert (meta.name, meta.embed_dim, meta.modalities) == ("you/small", 24, ["audio"])
    result = mteb.evaluate(model, [Tones()], cache=None, co2_tracker=False, show_progress_bar=False)
    (score,) = result.task_results
    assert score.get_score() == 1.0
    assert not {"torchaudio", "torchcodec"} & sys.modules.keys()
