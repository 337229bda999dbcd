"""The feature extractor: waveforms in a batch, and a mask on their samples; nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor

from aasp.errors import AaspError
from aasp.hf import AaspFeatureExtractor


def test_waveforms_of_several_lengths() -> None:
    waves = [np.full(500, 0.5, np.float32), np.full(900, -0.25, np.float64), torch.full((700,), 0.125)]
    found = AaspFeatureExtractor()(waves, sampling_rate=16_000, return_tensors="pt")
    assert set(found) == {"input_values", "attention_mask"}
    assert found.input_values.shape == (3, 900) and found.input_values.dtype == torch.float32
    assert found.attention_mask.sum(1).tolist() == [500, 900, 700]
    for row, (wave, count) in enumerate(zip(waves, (500, 900, 700), strict=True)):
        assert (found.input_values[row, :count].numpy() == np.asarray(wave)).all()
        assert (found.input_values[row, count:] == 0).all()
    assert (found.attention_mask[0, :500] == 1).all() and (found.attention_mask[0, 500:] == 0).all()


@pytest.mark.parametrize(
    "one", [np.zeros(800, np.float32), torch.zeros(800), [0.0] * 800, np.zeros((1, 800)), [np.zeros(800)]], ids=str
)
def test_one_waveform_is_a_batch_of_one(one: object) -> None:
    found = AaspFeatureExtractor()(one, return_tensors="np")  # type: ignore[arg-type]
    assert found["input_values"].shape == found["attention_mask"].shape == (1, 800)


def test_16_bit_samples_are_scaled() -> None:
    found = AaspFeatureExtractor()(np.full(500, -16_384, np.int16), return_tensors="np")
    assert (found["input_values"] == -0.5).all()


def test_requested_lengths_pad_and_truncate() -> None:
    extract = AaspFeatureExtractor()
    long = extract(np.zeros(500), padding="max_length", max_length=800, return_tensors="np")
    assert long["input_values"].shape == (1, 800) and long["attention_mask"].sum() == 500
    cut = extract([np.zeros(500), np.zeros(900)], max_length=600, truncation=True, return_tensors="np")
    assert cut["input_values"].shape == (2, 600)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (np.zeros(800), {"sampling_rate": 44_100}, "waveforms of 44100 Hz, and the model takes 16000 Hz; resample"),
        (np.zeros(100), {}, r"waveform 0 is 6\.25 ms, under one analysis window of 25 ms; leave it out"),
        ([np.zeros(800), np.zeros((2, 800))], {}, r"waveform 1 has shape \(2, 800\); give mono"),
        ([], {}, "no waveform; give one"),
        ([np.zeros(0)], {}, "waveform 0 is 0 ms"),
        (np.zeros(800, np.int32), {}, "waveform 0 is of int32, whose scale is unknown; give floats"),
        ([np.zeros(800), np.zeros(800, complex)], {}, "waveform 1 is of complex128, whose scale is unknown"),
        (np.zeros(800, bool), {}, "waveform 0 is of bool"),
        ([[0, 1] * 400], {}, "waveform 0 is of int64"),
        (["dog.wav"], {}, "waveform 0 is of <U7"),
    ],
)
def test_bad_input_is_refused(given: object, options: dict[str, int], message: str) -> None:
    with pytest.raises(AaspError, match=message) as error:
        AaspFeatureExtractor()(given, **options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_padding_is_on_the_right() -> None:
    with pytest.raises(AaspError, match="padding_side is 'left'"):
        AaspFeatureExtractor(padding_side="left")


def test_it_is_saved_and_found(tmp_path: Path) -> None:
    AaspFeatureExtractor(sampling_rate=32_000, shortest=800).save_pretrained(tmp_path)
    found = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(found) is AaspFeatureExtractor and (found.sampling_rate, found.shortest) == (32_000, 800)


def test_of_a_model_of_ours(encoder_folder: Path) -> None:
    found = AaspFeatureExtractor.from_pretrained(encoder_folder)
    assert (found.sampling_rate, found.shortest) == (16_000, 400)
