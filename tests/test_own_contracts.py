"""Parts of a user's own that keep or break their contract: they work everywhere, or are refused in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import aasp
from aasp.cli.main import main
from aasp.config import fingerprint, from_dict, to_dict
from aasp.encoders import EncoderAdapter, open_adapter
from aasp.encoders.contract import EncoderEmbeddings
from aasp.encoders.vectors import clip_vectors
from aasp.errors import AaspError
from aasp.evaluate.finetune.data import Finetuning
from aasp.evaluate.finetune.recipes import tiny
from aasp.features.logmel import LogMel
from aasp.hf import AaspModel
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain import recipes
from aasp.pretrain.masking import SCHEMES, MaskingConfig, draw_masks
from aasp.pretrain.methods.eat import EATConfig
from aasp.pretrain.run import schedules_of
from aasp.stems.conv import ConvConfig
from aasp.training import environment
from aasp.training.objective import checked
from aasp.weights import write_directory
from learned_front import LearnedConfig

SMALL = EncoderConfig(width=8, depth=1, heads=2)
METHOD = """
from dataclasses import dataclass, replace
from aasp.pretrain import recipes
from aasp.pretrain.methods.eat import EATConfig

@dataclass(frozen=True)
class Mine(EATConfig):
    pass  # first

def recipe():
    return replace(recipes.get("eat_tiny"), name="mine", method=Mine())
"""


@dataclass(frozen=True)
class DerivedConfig(ConvConfig):
    """One of ours with another name."""


@dataclass(frozen=True)
class KindConfig(ConvConfig):
    kind: str = "mine"


class Choice(Enum):
    A = "a"


@dataclass(frozen=True)
class EnumConfig(ConvConfig):
    choice: Choice = Choice.A


def encoder(**parts: Any) -> AudioEncoder:
    torch.manual_seed(0)
    return AudioEncoder(AudioEncoderConfig(encoder=SMALL, **parts)).eval()


@pytest.fixture
def sounds(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    paths = [str(tmp_path / f"{number}.wav") for number in range(4)]
    for path in paths:
        soundfile.write(path, 0.1 * rng.standard_normal(8_000), 16_000)
    return paths


def test_a_front_end_with_plain_weights_embeds_in_fp32(tmp_path: Path) -> None:
    model = encoder(frontend=LearnedConfig(), stem=ConvConfig(patch=(8, 32)))
    model.save(tmp_path / "model")
    embedded = aasp.load(tmp_path / "model")(torch.ones(1, 8_000) / 3).clip
    torch.testing.assert_close(embedded, model(torch.ones(1, 8_000, dtype=torch.float64) / 3).clip)


class Derived(LogMel):
    def transform(self, wave_BS: Tensor, frames: int) -> Tensor:
        return super().transform(wave_BS.float(), frames)


def test_a_front_end_that_derives_from_ours_does_not_inherit_float64() -> None:
    wave = torch.zeros(1, 8_000, dtype=torch.float64)
    assert LogMel()(wave)[0].dtype == torch.float64 and Derived()(wave)[0].dtype == torch.float32


def test_unsaved_buffers_of_own_parts_are_filled_by_transformers(tmp_path: Path) -> None:
    model, wave = encoder(frontend=LearnedConfig(), stem=ConvConfig(patch=(8, 32))), torch.randn(1, 8_000) / 10
    model.save(tmp_path / "model")
    other = AaspModel.from_pretrained(tmp_path / "model").eval()
    assert torch.equal(other.model.frontend.taper, torch.hann_window(32))
    torch.testing.assert_close(other.model(wave).clip, model(wave).clip)


def test_tied_weights_are_saved_under_both_names(tmp_path: Path) -> None:
    one = torch.arange(6.0).view(2, 3)
    write_directory(tmp_path / "model", {"config.json": {}}, {"a": one, "b": one, "row": one[1], "c": one.T})
    found = load_file(tmp_path / "model" / "model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in dict(a=one, b=one, row=one[1], c=one.T).items())


class Fixed(EncoderAdapter):
    name, rate, token_rate = "fixed", 16_000, 0.0

    def __init__(self, clip: Any) -> None:
        self.clip = clip

    def embed_waveform(self, wave_BS: Tensor) -> EncoderEmbeddings:
        assert torch.is_inference_mode_enabled()
        return EncoderEmbeddings(self.clip, torch.zeros(len(wave_BS), 1, 3), torch.zeros(1))


@pytest.mark.parametrize("clip", [torch.ones(1, 3), torch.ones(4, 3, 2), torch.full((4, 3), torch.nan), "text"])
def test_what_an_own_encoder_returns_is_checked(clip: Any, sounds: list[str]) -> None:
    with pytest.raises(AaspError, match=r"0\.wav: fixed: returns .*; (return \(B, D\)|correct it)"):
        clip_vectors(Fixed(clip), sounds, [])


def test_an_own_encoder_may_return_arrays_and_is_in_evaluation_mode(
    sounds: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert clip_vectors(Fixed(np.ones((4, 3))), sounds, [])["own"].tolist() == [[1.0] * 3] * 4
    (tmp_path / "wrapped.py").write_text(
        "from types import SimpleNamespace\nfrom torch import nn\n"
        "class Wrapped:\n    def __init__(self):\n        self.net = nn.Sequential(nn.Linear(400, 9), nn.Dropout())\n"
        "    def __call__(self, wave):\n        return self.net(wave.unfold(1, 400, 160)).mean(1)\n"
    )
    monkeypatch.chdir(tmp_path)
    try:
        adapter = open_adapter("wrapped.py:Wrapped")
        found = [clip_vectors(adapter, sounds, [])["own"] for _ in range(2)]
        assert np.ptp(found[0]) > 0 and np.array_equal(*found)
    finally:
        sys.modules.pop("wrapped", None)


def test_scores_of_an_own_mask_scheme_may_be_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    scheme = lambda config, shape, columns: -torch.arange(shape[2]).float()[None, None, :, None].expand(shape)
    monkeypatch.setitem(SCHEMES, "first", scheme)
    masks = draw_masks(MaskingConfig(views=1, keep_ratio=0.75, scheme="first"), (12, 2), torch.tensor([12, 4]))
    assert sorted(masks.visible[1, 0][masks.visible_valid[1, 0]].tolist()) == [*range(6)]
    assert sorted(masks.hidden[1, 0][masks.hidden_valid[1, 0]].tolist()) == [6, 7]


def test_a_configuration_derived_from_ours_keeps_its_own_name() -> None:
    config = AudioEncoderConfig(stem=DerivedConfig(patch=(16, 32)), encoder=SMALL)
    values = json.loads(json.dumps(to_dict(config)))
    assert values["stem"] == {"kind": f"{__name__}:DerivedConfig", "patch": [16, 32]} | values["stem"]
    assert from_dict(AudioEncoderConfig, values, "config.json") == config


def test_configurations_that_cannot_be_saved_are_refused() -> None:
    values = to_dict(AudioEncoderConfig(encoder=SMALL))
    with pytest.raises(AaspError, match="KindConfig' has a field kind, which names parts in files; rename it"):
        from_dict(AudioEncoderConfig, values | {"stem": {"kind": f"{__name__}:KindConfig"}}, "config.json")
    with pytest.raises(AaspError, match="has a field kind, which names parts in files; rename it"):
        to_dict(AudioEncoderConfig(stem=KindConfig(), encoder=SMALL))
    with pytest.raises(AaspError, match=r"EnumConfig\.choice is of type Choice, which can't be saved; a configuration"):
        to_dict(AudioEncoderConfig(stem=EnumConfig(), encoder=SMALL))


def test_a_front_end_and_a_stem_of_another_shape_are_refused() -> None:
    front = LearnedConfig().build()
    front.transform = lambda wave, frames: torch.zeros(1, frames, 32)
    with pytest.raises(AaspError, match=r"Learned gives \(1, 98, 32\), not \(3, 98, 32\); `transform` must return"):
        front(torch.zeros(3, 16_000))
    other = ConvConfig(patch=(8, 32)).build(8, 128)
    with pytest.raises(AaspError, match=r"has patch \(16, 16\), and the stem that it builds \(8, 32\)"):
        AudioEncoder(AudioEncoderConfig(stem=_Building(other), encoder=SMALL))


@dataclass(frozen=True)
class _Building(ConvConfig):
    stem: Any = None

    def __init__(self, stem: nn.Module) -> None:
        object.__setattr__(self, "patch", (16, 16))
        object.__setattr__(self, "stem", stem)

    def build(self, width: int, mels: int) -> Any:
        return self.stem


LOSS = torch.ones((), requires_grad=True) * 1


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (LOSS, "forward returns a tensor of shape (); return a dict"),
        ({"losses": {}}, "forward returns a dict without loss; return a dict"),
        ({"loss": LOSS[None]}, "loss is a tensor of shape (1,); return a 0-d tensor"),
        ({"loss": LOSS.detach()}, "loss has no gradient"),
        ({"loss": LOSS, "losses": {"a": 0.5}}, "losses a is of type float; return a 0-d tensor"),
        ({"loss": LOSS, "losses": LOSS}, "losses is a tensor of shape (); return a dict"),
        ({"loss": LOSS, "diagnostics": {"b": LOSS[None]}}, "diagnostics b is a tensor of shape (1,)"),
    ],
)
def test_what_a_method_returns_is_checked(output: Any, message: str) -> None:
    with pytest.raises(AaspError) as error:
        checked(output, "Mine")
    assert str(error.value).startswith(f"Mine: {message}")


def test_a_method_may_leave_out_diagnostics_and_no_schedule_of_the_optimizers() -> None:
    assert checked({"loss": LOSS}, "Mine") == {"loss": LOSS, "losses": {}, "diagnostics": {}}
    with pytest.raises(AaspError, match="a schedule learning_rate, which is the optimizer's; rename it"):
        schedules_of(replace(recipes.get("eat_tiny"), method=_Clashing()))


@dataclass(frozen=True)
class _Clashing(EATConfig):
    def schedules(self, steps: int, more: int = 0) -> dict[str, np.ndarray]:
        return {"learning_rate": np.zeros(steps + more)}


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Path]:
    """A file with a method and a recipe; its module does not stay behind."""
    file = tmp_path / "mine_method.py"
    file.write_text(METHOD)
    yield file
    sys.modules.pop("mine_method", None)


def test_changed_files_of_own_parts_are_noticed(
    mine: Path,
    sounds: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = ["width=32", "depth=1", "heads=2"]
    fields = ["data.batch=2", "model.vector=none", *(f"model.encoder.{one}" for one in small)]
    data = ["--data", str(tmp_path), "--threads", "1", "--workers", "0", "--set", *fields]
    argv = ["pretrain", f"{mine}:recipe", *data, "--out", str(tmp_path / "run"), "--steps", "2"]
    monkeypatch.setattr(sys, "argv", ["aasp", *argv])
    assert main(argv) == 0
    start = json.loads((tmp_path / "run/environment.json").read_text())[0]
    assert len(start["own_code"]) == 16
    mine.write_text(METHOD.replace("first", "second"))
    sys.modules.pop("mine_method")
    capsys.readouterr()
    assert main(["reproduce", str(tmp_path / "run"), "--plugin", str(mine), "--out", str(tmp_path / "again")]) == 0
    out = capsys.readouterr().out
    assert "own_code" in out and "your own parts" in out

    changed = "files of your own parts have changed since the last start"
    for times in (1, 0):  # the second time it is finished, with the same files
        assert main([*argv, "--extend", "2"]) == 0
        assert capsys.readouterr().out.count(changed) == times


def test_a_record_without_own_code_is_no_change(tmp_path: Path) -> None:
    then = dict.fromkeys(environment.DECISIVE, 1)
    for found, changed in (({}, []), ({"own_code": "a"}, []), ({"own_code": "b"}, ["own_code"]), ({}, ["own_code"])):
        assert environment.record(tmp_path / "environment.json", 0, then | found) == changed


def test_a_record_runs_no_code_that_it_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "marking.py").write_text("open(__file__ + '.ran', 'w').close()")
    command = ["aasp", "finetune", f"{tmp_path}/marking.py:recipe", "--scratch", "--index", "x.csv", "--out", "run"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.json").write_text(json.dumps(to_dict(tiny())))
    (tmp_path / "run/environment.json").write_text(json.dumps([{"command": command, "folder": str(tmp_path)}]))
    assert main(["reproduce", str(tmp_path / "run"), "--out", str(tmp_path / "again")]) == 2
    assert "nothing is imported because a file names it; run its `aasp finetune` command" in capsys.readouterr().err
    assert not (tmp_path / "marking.py.ran").exists()


def test_the_identity_of_a_fine_tuning_from_scratch_has_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    given = SimpleNamespace(encoder=encoder(frontend=LearnedConfig(), stem=ConvConfig(patch=(8, 32))), scratch=True)
    first = Finetuning.encoder_hash.func(given)
    monkeypatch.setattr("aasp.parts.source_hash", lambda module: "another")
    assert Finetuning.encoder_hash.func(given) != first
    ours = SimpleNamespace(encoder=encoder(), scratch=True)
    assert Finetuning.encoder_hash.func(ours) == fingerprint(ours.encoder.config)


def test_a_recipe_of_a_users_own_is_fine_tuned_from_scratch(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from aasp.cli.finetune import _untrained

    found = _untrained(f"{mine}:recipe")
    assert found is not None and found.config.encoder.width == 192
