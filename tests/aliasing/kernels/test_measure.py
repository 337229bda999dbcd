"""From a model and sound files to JSON and from there to the page; what can't be examined is refused in one line."""

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
from aasp.aliasing.kernels.departure import Origin, origin
from aasp.aliasing.kernels.document import measure
from aasp.aliasing.kernels.page import answer, section
from aasp.encoders import EncoderAdapter, EncoderEmbeddings, open_adapter
from aasp.errors import AaspError
from pages import parts

UNKNOWN = Origin()


@pytest.fixture(scope="module")
def found(aape_model, sounds):
    return json.loads(json.dumps(measure(open_adapter(aape_model), sounds, Origin(0))))


def test_json_lists_every_clip(found, sounds):
    assert [clip["file"] for clip in found["clips"]] == sounds
    assert [clip["patches"] for clip in found["clips"]] == [4 * 8, 4 * 8, 6 * 8] and found["band_hz"] == [3.125, 50]
    p = found["parameters"]
    assert np.sum(p["density"]) == sum(clip["patches"] for clip in found["clips"]) * 4
    for name in ("alpha", "beta"):
        assert [np.sum(p[name]["shares"][when]) for when in ("start", "now")] == pytest.approx([1, 1])


def test_an_untrained_model_has_not_moved(found):
    for one in (found["parameters"]["alpha"], found["parameters"]["beta"]):
        assert one["moved"]["estimate"] == 0 and one["shares"]["start"] == one["shares"]["now"]
    texts = " ".join(one.text for one in parts(section(found, Path())))
    assert "Neither decays nor frequencies have clearly left their start" in texts


@pytest.mark.parametrize(("stem", "adapts"), [("stem=aape", True), ("stem=conv", False)])
def test_one_clip_says_whether_kernels_depend_on_the_sound(stem, adapts, sounds):
    found = json.loads(json.dumps(measure(open_adapter(stem), sounds[:1], UNKNOWN)))
    assert found["linear"]["adapts"] is adapts
    texts = " ".join(one.text for one in parts(section(found, Path())))
    assert ("the same for every clip: the stem is linear" in texts) != adapts


def test_progress_counts_to_its_end(aape_model, sounds):
    seen = []
    measure(open_adapter(aape_model), sounds, UNKNOWN, lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1)) and seen[-1][0] == seen[-1][1]


def test_the_answer_is_a_sentence_with_its_uncertainty(found, aape_model, sounds):
    """Six clips have intervals, three have none."""
    more = json.loads(json.dumps(measure(open_adapter(aape_model), sounds * 2, Origin(0))))
    for document, clips in ((found, 3), (more, 6)):
        text = answer(document)
        assert text.count(". ") == 0 and text.endswith(".") and f"{clips} clips" in text and "small" in text
        assert bool(re.search(r"\d %? ?\(\d[\d.]* to \d[\d.]*\)", text)) == (clips == 6)


def test_sections_show_everything(found):
    titles = [one.title for one in parts(section(found, Path()))]
    assert titles == [
        "Where decays and frequencies go",
        "Which patches respond to which modulation rate",
        "Is it worth estimating them?",
        "The stem's temporal kernels",
        "The gradient of a frequency at a distance",
        "Do learned parameters leave their initialisation?",
    ]
    panels = [len(one.panels) for one in parts(section(found, Path()))]
    assert panels == [4, 3, 2, 2, 4, 2]
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
    assert len(parts(section(found, Path()))) == 6


@pytest.mark.parametrize(
    ("token_rate", "remedy"),
    [(50.0, "`aasp alias stability` and `aasp alias response` can examine it"), (0.0, "`aasp alias stability` can")],
)
def test_an_encoder_of_waveforms_is_refused(sounds, token_rate, remedy):
    class Waves(EncoderAdapter):
        name, rate = "waves", 16_000

        def embed_waveform(self, wave_BS: torch.Tensor) -> EncoderEmbeddings:
            raise AssertionError("nothing is embedded")

    Waves.token_rate = token_rate
    with pytest.raises(AaspError, match=f"waves: reads no log-mel, so that its stem has no kernels; {remedy}"):
        measure(Waves(), sounds, UNKNOWN)


def test_old_results_of_a_waveform_encoder_are_refused(found, tmp_path):
    kept = ("subject", "frame_rate", "band_hz", "clips", "linear", "pull")  # it had no patches
    older = {name: found[name] for name in kept} | {"evolution": {}, "command": "aasp alias", "software": "aasp 1"}
    (tmp_path / "kernels.json").write_text(json.dumps(older))
    with pytest.raises(AaspError, match=r"kernels.json: not as this version of aasp writes it.*measure it again"):
        report.build(tmp_path)


def test_a_clip_shorter_than_a_patch(aape_model, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "click.wav", np.zeros(1600, np.float32), 16_000)
    with pytest.raises(AaspError, match=r"clip too short: .*click.wav has 0.1 s, less than one patch of 0.175 s"):
        measure(open_adapter(aape_model), [str(tmp_path / "click.wav")], UNKNOWN)


def test_origin_is_read_from_the_run(tmp_path):
    (tmp_path / "recipe.json").write_text('{"seed": 5}')
    (tmp_path / "model").mkdir()
    for path in (tmp_path, tmp_path / "model"):
        assert origin(path) == Origin(5)
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
        with contextlib.suppress(AaspError):  # a field is missing
            hostile.shown(report.build(tmp_path))
