"""`aasp alias response` from end to end: models, a user-defined one, a waveform encoder; and its errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from aasp.aliasing.response.page import section
from aasp.cli.alias_response import run
from aasp.errors import AaspError

OWN = """
import torch
from aasp.stems.contract import Stem

class First(Stem):
    def __init__(self):
        super().__init__(1, 32, (16, 16))
    def forward(self, mel, valid=None):
        return self.cut(mel)[..., 0, :].mean(-1).flatten(1, 2)[..., None]

class Energy:
    token_rate = 10
    def __call__(self, wave):
        return wave.square().unfold(1, 1600, 1600).mean(2, keepdim=True)

class Fast(Energy):
    token_rate = 100
    def __call__(self, wave):
        return wave.square().unfold(1, 160, 160).mean(2, keepdim=True)

class Clip:
    def __call__(self, wave):
        return wave[:, :3]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_response.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    sys.modules.pop("own_response", None)
    return tmp_path


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the clips whose rates are read."""
    for name, number in (("TRAIN", 48), ("VALID", 16), ("TEST", 32)):
        monkeypatch.setattr(f"aasp.aliasing.response.document.{name}", number)


def small_model(path: Path) -> None:
    from aasp.features.logmel import LogMelConfig
    from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
    from aasp.model.encoder import EncoderConfig
    from aasp.stems.aape import AaPEConfig

    stem = AaPEConfig(states=2, encoder_width=16)
    AudioEncoder(AudioEncoderConfig(LogMelConfig(mels=32), stem=stem, encoder=EncoderConfig(16, 1, 2))).save(path)


def read(out: Path) -> dict:
    return json.loads((out / "response.json").read_text())


@pytest.mark.slow
def test_a_model_and_a_user_defined_stem(folder: Path, few: None, capsys: pytest.CaptureFixture) -> None:
    small_model(folder / "small")
    argv = ["small", "own_response:First", "--out", "found", "--frequencies", "5"]
    assert run(argv) == 0
    found = read(folder / "found")
    assert found["command"] == "aasp alias response " + " ".join(argv)
    assert found["settings"] == {"frequencies": 5, "depth": 0.5, "floor": 0.25, "seed": 0}
    small, own = found["models"]
    assert [one["stage"] for one in small["stages"]] == ["states", "stem", "encoder"]
    assert [one["stage"] for one in own["stages"]] == ["stem"]
    # The first frame of every patch: all comes through, and folds.
    assert own["stages"][0]["gain"] == pytest.approx([1.0] * 5, rel=1e-5)
    assert own["stages"][0]["theory"] == pytest.approx([1.0] * 5, rel=1e-5)
    assert own["stages"][0]["summary"]["shift_variance_above"] == pytest.approx(2)
    assert {row["stage"] for row in own["decoding"]["rows"] if row["lead"]} == {"frames", "stem"}
    output = capsys.readouterr().out
    for words in ("small, SBLU", "small, encoder", "own_response:First", "chance is 12.5 %", "2.00"):
        assert words in output
    assert section(found, folder).count("<section>") == 6
    with pytest.raises(AaspError, match="add --overwrite"):
        run(argv)


def test_a_waveform_encoder(folder: Path, few: None) -> None:
    assert run(["own_response:Energy", "own_response:Fast", "--out", "found", "--frequencies", "6"]) == 0
    energy, fast = read(folder / "found")["models"]
    (stage,) = energy["stages"]
    assert stage["stage"] == "encoder" and stage.get("theory") is None and energy["nyquist_hz"] == 5
    # The energy of 100 ms: slow modulations come through, fast ones are averaged and fold.
    assert stage["gain"][0] > 3 * stage["gain"][-1]
    assert energy["decoding"]["rows"][0]["accuracy"]["estimate"] > 0.5
    assert fast["decoding"] is None
    assert section(read(folder / "found"), folder)


def test_the_stem_alone(folder: Path, few: None) -> None:
    small_model(folder / "small")
    assert run(["small", "--out", "found", "--stage", "stem", "--frequencies", "2", "--floor", "0"]) == 0
    assert [one["stage"] for one in read(folder / "found")["models"][0]["stages"]] == ["states", "stem"]


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--out", "found"], "no model"),
        (["stem=conv"], "out"),
        (["stem=conv", "--out", "found", "--frequencies", "1"], "--frequencies is 1"),
        (["stem=conv", "--out", "found", "--depth", "0"], "--depth is 0"),
        (["stem=conv", "--out", "found", "--floor", "-1"], "--floor is -1"),
        (["stem=conv", "--out", "found", "--depth", "nan"], "--depth is nan"),
        (["stem=conv", "--out", "found", "--depth", "inf"], "--depth is inf"),
        (["stem=conv", "--out", "found", "--seed", "-1"], "--seed is -1; give 0 or a positive number"),
        (["stem=conv", "--out", "own_response.py"], "output lies below a file"),
        (["own_response:Clip", "--out", "found"], "own_response:Clip: gives one vector a clip"),
        (["stem=conv", "stem=conv", "--out", "found"], "stem=conv is named twice"),
        (["stem=conv", "--out", "found", "--stage", "encoder"], "stem=conv: has no encoder to look at"),
        (["own_response:Energy", "--out", "found", "--stage", "stem"], "own_response:Energy: has no stem to look at"),
        (["nowhere", "--out", "found"], "nowhere: no such directory"),
    ],
)
def test_mistakes_are_one_line(folder: Path, argv: list[str], complaint: str) -> None:
    with pytest.raises(AaspError, match=complaint) as error:
        run(argv)
    assert "\n" not in str(error.value)
    assert not (folder / "found").exists()
