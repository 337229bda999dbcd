"""From a model and sound files to JSON and from there to the page; what can't be examined is told in a line."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import hostile
from aasp.aliasing import report
from aasp.aliasing.kernels.channels import locked_kernels
from aasp.aliasing.kernels.departure import Origin, origin
from aasp.aliasing.kernels.document import measure
from aasp.aliasing.kernels.page import answer, section
from aasp.encoders import EncoderAdapter, EncoderEmbeddings, open_adapter
from aasp.errors import AaspError
from pages import parts

UNKNOWN = Origin(None, {})


@pytest.fixture(scope="module")
def found(aape_model, sounds):
    course = {"alpha_mean": [(1, 0.2), (2, 0.3)], "sblu_gradient_norm": [(1, 2.0), (2, 1.0)]}
    return json.loads(json.dumps(measure(open_adapter(aape_model), sounds, Origin(0, course))))


def test_json_tells_of_every_clip(found, sounds):
    assert [clip["file"] for clip in found["clips"]] == sounds
    assert [clip["patches"] for clip in found["clips"]] == [4 * 8, 4 * 8, 6 * 8] and found["band_hz"] == [3.125, 50]
    p = found["parameters"]
    assert np.sum(p["density"]) == sum(clip["patches"] for clip in found["clips"]) * 4
    for name in ("alpha", "beta"):
        assert [np.sum(p[name]["shares"][when]) for when in ("start", "now")] == pytest.approx([1, 1])


def test_a_model_that_is_as_it_was_made_has_not_moved(found):
    for one in (found["parameters"]["alpha"], found["parameters"]["beta"]):
        assert one["moved"]["estimate"] == 0 and one["shares"]["start"] == one["shares"]["now"]
    texts = " ".join(one.text for one in parts(section(found, Path())))
    assert "Neither decays nor frequencies have clearly left their start" in texts


def test_progress_counts_to_its_end(aape_model, sounds):
    seen = []
    measure(open_adapter(aape_model), sounds, UNKNOWN, lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1)) and seen[-1][0] == seen[-1][1]


def test_the_answer_is_a_sentence_with_its_uncertainty(found):
    told = answer(found)
    assert told.count(". ") == 0 and told.endswith(".") and "3 clips" in told and "small" in told
    assert re.search(r"\d %? ?\(\d[\d.]* to \d[\d.]*\)", told)


def test_sections_show_everything(found):
    titles = [one.title for one in parts(section(found, Path()))]
    assert titles == [
        "Where decays and frequencies go",
        "Which patches respond to which modulation rate",
        "Is it worth estimating them?",
        "How they got there",
        "The stem's temporal kernels",
        "The gradient of a frequency at a distance",
    ]
    panels = [len(one.panels) for one in parts(section(found, Path()))]
    assert panels == [4, 3, 2, 2, 3, 4]
    assert "5-hertz.wav" in parts(section(found, Path()))[1].panels[0]


def test_a_convolution_has_kernels_too(conv_model, sounds):
    found = json.loads(json.dumps(measure(open_adapter(conv_model), sounds, UNKNOWN)))
    assert "parameters" not in found and found["linear"]["adapts"] is False
    assert found["linear"]["channels"] == 8 * 16 and np.sum(found["linear"]["peaks"]) == pytest.approx(1)
    assert 0.5 < found["linear"]["beyond"]["estimate"] < 1  # random weights are white: the band is 15/16 of all rates
    assert "whatever the clip" in answer(found)
    assert parts(section(found, Path()))[0].title == "The stem's temporal kernels"


def test_one_clip_is_enough_but_has_no_interval(aape_model, sounds):
    found = json.loads(json.dumps(measure(open_adapter(aape_model), sounds[:1], UNKNOWN)))
    assert found["parameters"]["beta"]["distance"]["low"] is None and "to" not in answer(found).split("lie")[1][:12]
    assert len(parts(section(found, Path()))) == 5


class Waves(EncoderAdapter):
    """Log-energy 50 times a second: as it is, less what it was 40 ms ago, and averaged over 160 ms."""

    name, rate, token_rate = "waves", 16_000, 50.0

    def embed_waveform(self, wave_BS: torch.Tensor) -> EncoderEmbeddings:
        whole = wave_BS[:, : wave_BS.shape[1] // 320 * 320].unflatten(1, (-1, 320))
        energy = whole.square().mean(2).clamp_min(1e-9).log()
        track = torch.nn.functional.pad(energy[:, None], (7, 0), mode="replicate")
        smooth = torch.nn.functional.avg_pool1d(track, 8, 1)[:, 0]
        change = energy - torch.nn.functional.pad(energy[:, None], (2, 0), mode="replicate")[:, 0, :-2]
        over_time = torch.stack([energy, change, smooth], dim=-1)
        return EncoderEmbeddings(over_time.mean(1), over_time, (torch.arange(energy.shape[1]) + 0.5) / 50)


def test_an_encoder_of_waveforms_is_heard_from_outside(sounds):
    found = json.loads(json.dumps(measure(Waves(), sounds, UNKNOWN)))
    assert found["linear"]["channels"] == 3 and found["band_hz"] == [25.0, 50.0]
    assert "that the vectors of waves follow" in answer(found)
    assert parts(section(found, Path()))[0].title == "Which modulations its channels follow"


def test_what_its_channels_follow_is_what_they_were_made_to_follow():
    noise = 0.1 * torch.randn(40_000, generator=torch.Generator().manual_seed(0))
    kernels = locked_kernels(Waves(), noise)
    rate = kernels.hertz
    box = np.sinc(rate / 50)  # of a vector's own 20 ms
    closed = np.abs(np.stack([box, 2 * box * np.sin(2 * np.pi * rate * 0.02), box * dirichlet(rate)]))
    gains = np.sqrt(kernels.power[0])
    np.testing.assert_allclose(gains[:2], closed[:2], atol=0.1)
    np.testing.assert_allclose(gains[2], closed[2], atol=0.15)  # its first seven vectors see less
    np.testing.assert_array_equal(kernels.peak_hz[0], rate[closed.argmax(1)])


def dirichlet(rate: np.ndarray) -> np.ndarray:
    """Of the mean of eight values 20 ms apart."""
    return np.sin(np.pi * rate * 0.16) / (8 * np.sin(np.pi * rate * 0.02))


def test_an_encoder_of_one_vector_a_clip_is_refused(sounds):
    class Once(Waves):
        name, token_rate = "once", 0.0

    with pytest.raises(AaspError, match=r"once: gives one vector a clip.*`aasp alias stability` can examine it"):
        measure(Once(), sounds, UNKNOWN)


def test_a_clip_shorter_than_a_patch(aape_model, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "click.wav", np.zeros(1600, np.float32), 16_000)
    with pytest.raises(AaspError, match=r"clip too short: .*click.wav has 0.1 s, less than one patch of 0.175 s"):
        measure(open_adapter(aape_model), [str(tmp_path / "click.wav")], UNKNOWN)


def test_origin_is_read_from_the_run(tmp_path):
    (tmp_path / "recipe.json").write_text('{"seed": 5}')
    lines = [{"step": s, "diagnostics/alpha_mean": 0.2 + s, "diagnostics/beta_mean": None} for s in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "model").mkdir()
    for path in (tmp_path, tmp_path / "model"):
        assert origin(path) == Origin(5, {"alpha_mean": [(1, 1.2), (2, 2.2)]})
    (tmp_path / "recipe.json").write_text('{"seed": 5, "finetuned": {}}')
    assert origin(tmp_path).seed is None
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(AaspError, match=r"not a run's recipe: .*recipe.json"):
        origin(tmp_path)
    assert origin(tmp_path / "elsewhere" / "model") == UNKNOWN


def test_real_clips(aape_model, data_root):
    from aasp.datasets.index import read_index

    files = [str(path) for path in read_index(str(data_root / "esc10" / "index.csv"))["path"].to_pylist()[:2]]
    found = measure(open_adapter(aape_model), files, UNKNOWN)
    assert len(found["overlays"]) == 2 and len(found["overlays"][0]["rate_hz"]) <= 32


@pytest.mark.slow
def test_no_text_of_the_document_becomes_anything_else(found, tmp_path):
    for was in sorted({*hostile.strings(found)}):
        changed = hostile.renamed(found, was, f"{hostile.NAME} {was}")
        (tmp_path / "kernels.json").write_text(json.dumps(changed | {"command": "aasp alias", "software": "aasp 1"}))
        with contextlib.suppress(AaspError):  # a field of another name lacks
            hostile.shown(report.build(tmp_path))
