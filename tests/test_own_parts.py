"""User-defined parts: a stem and a front end from a file outside the package; files that name arbitrary parts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import aasp
from aasp.cli.main import main
from aasp.compare.layout import identity
from aasp.config import from_dict, to_dict, with_fields
from aasp.errors import AaspError
from aasp.features import FRONTENDS
from aasp.model.attention import ATTENTIONS
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.parts import load_plugin, own_code
from aasp.pretrain import recipes
from aasp.pretrain.masking import SCHEMES
from aasp.pretrain.recipe import Recipe
from aasp.stems import STEMS, Stem, StemConfig
from aasp.stems.conv import ConvConfig
from aasp.weights import model_hash
from plain import plain_tiny

EXAMPLE = str(Path(__file__).parents[1] / "examples" / "own_stem.py")
SMALL = [
    *(
        "model.encoder.width=16",
        "model.encoder.depth=1",
        "model.vector=none",
        "model.encoder.heads=2",
        "predictor.width=16",
    ),
    *("predictor.depth=1", "predictor.heads=2", "losses.projector=16,8", "data.batch=4", "data.crop_seconds=0.4"),
    *("masking.views=2", "teacher.layers=1"),
]
ATTENTION = '''
from dataclasses import dataclass
import torch
from torch import nn
from aasp.model.attention import Attention, AttentionConfig

@dataclass(frozen=True)
class NearConfig(AttentionConfig):
    reach: int = 1
    def build(self, width, heads):
        return Near(width, heads, self.reach)

class Near(nn.Module):
    """Each token is mixed with the class token and with the mean of those at most `reach` time patches away."""
    def __init__(self, width, heads, reach):
        super().__init__()
        self.reach, self.out = reach, nn.Linear(width, width)
    def forward(self, x, valid, places):
        times, _ = places.coordinates(x.device)
        times = times.expand(len(x), -1)
        near = (times[:, :, None] - times[:, None]).abs() <= self.reach
        near = torch.nn.functional.pad(near, (1, 0, 1, 0), value=True)
        if valid is not None:
            near = near & valid[:, None]
        shares = near.to(x.dtype)
        return self.out(shares @ x / shares.sum(-1, keepdim=True).clamp_min(1))
'''


@pytest.fixture
def unloaded() -> Iterator[None]:
    """No module of a test's stays behind."""
    yield
    for name in ("own_stem", "near"):
        sys.modules.pop(name, None)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Two classes of tones, ten clips each."""
    random = np.random.default_rng(0)
    for k in range(20):
        tone = np.sin(2 * np.pi * (300, 2_000)[k % 2] * np.arange(16_000) / 16_000)
        folder = tmp_path / "sounds" / ("low", "high")[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{k:02}.wav", 0.3 * tone + 0.05 * random.standard_normal(16_000), 16_000)
    rows = [f"{('low', 'high')[k % 2]}/{k:02}.wav,{('low', 'high')[k % 2]},{part(k)}" for k in range(20)]
    (tmp_path / "sounds/index.csv").write_text("\n".join(["path,label,split", *rows]))
    return tmp_path / "sounds"


def part(k: int) -> str:
    return "train" if k < 10 else "valid" if k < 14 else "test"


def pretrain(sounds: Path, run: Path) -> None:
    given = ["--data", str(sounds), "--steps", "4", "--log-every=1", "--checkpoint-every=2", "--threads=1"]
    assert main(["pretrain", f"{EXAMPLE}:own_tiny", *given, "--out", str(run), "--set", *SMALL]) == 0


def test_user_defined_stem_and_front_end_are_trained_saved_and_embed(
    sounds: Path, tmp_path: Path, unloaded: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run, plugin = str(tmp_path / "run"), ["--plugin", EXAMPLE]
    pretrain(sounds, tmp_path / "run")
    model = json.loads((tmp_path / "run/model/config.json").read_text())
    assert model["stem"] == {"kind": "own_stem:MomentsConfig", "patch": [16, 16]}
    assert model["frontend"]["kind"] == "own_stem:LinearConfig" and model["frontend"]["bins"] == 128

    monkeypatch.delitem(sys.modules, "own_stem")
    capsys.readouterr()
    file = str(sounds / "low" / "00.wav")
    assert main(["embed", run, file, "--out", "x.npz"]) == 2
    message = capsys.readouterr().err
    assert (
        "front end 'own_stem:LinearConfig'" in message and "--plugin own_stem" in message and message.count("\n") == 1
    )
    assert "own_stem" not in sys.modules and not (tmp_path / "x.npz").exists()

    assert main(["embed", run, file, "--out", "x.npz", *plugin]) == 0
    encoder = aasp.load(run)
    wave = torch.from_numpy(soundfile.read(file, dtype="float32")[0])[None]
    with torch.no_grad():
        expected = encoder(wave).clip[0].numpy()
    with np.load("x.npz") as found:
        np.testing.assert_allclose(found["embedding"][0], expected, atol=1e-5)
    assert encoder.frontend(wave)[0].shape == (1, 98, 128)


@pytest.mark.slow
def test_user_defined_stem_and_front_end_are_probed_tuned_and_examined(
    sounds: Path, tmp_path: Path, unloaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, plugin, file = str(tmp_path / "run"), ["--plugin", EXAMPLE], str(sounds / "low" / "00.wav")
    pretrain(sounds, tmp_path / "run")
    task = ["--index", str(sounds / "index.csv"), "--label", "label", "--split", "split", *plugin]
    assert main(["linear", run, *task, "--protocol", "knn", "--no-cache", "--out", "linear.json"]) == 0
    tuned = ["--out", "tuned", "--steps", "2", "--workers", "1", "--precision", "fp32"]
    assert main(["finetune", run, *task, *tuned, "--set", "crop_seconds=0.4", "batch=4", "validations=1"]) == 0
    assert main(["predict", "tuned", file, *plugin]) == 0
    few = ["--frequencies", "2", "--stage", "stem"]
    assert main(["alias", "response", run, f"{EXAMPLE}:MomentsConfig", *few, "--out", "lab", *plugin]) == 0
    document = json.loads(Path("lab/response.json").read_text())
    assert [one["stage"] for model in document["models"] for one in model["stages"]] == ["stem", "stem"]
    assert main(["alias", "kernels", run, file, "--out", "lab", *plugin]) == 0
    short = ["--data", str(sounds), "--clips", "8", "--seconds", "0.55"]
    assert main(["alias", "stability", run, *short, "--out", "lab", *plugin]) == 0


def test_a_user_defined_front_end_pads_counts_and_keeps_its_precision(unloaded: None) -> None:
    own = load_plugin(EXAMPLE)
    front, wave = own.LinearConfig().build(), 0.1 * torch.randn(2, 4_000)
    x, frames = front(wave, torch.tensor([4_000, 1_500]))
    alone, _ = front(wave[1:, :1_500])
    assert frames.tolist() == [23, 7] and x.shape == (2, 23, 128) and not x[1, 7:].any()
    torch.testing.assert_close(x[1:, :7], alone)
    assert front(wave.double())[0].dtype == torch.float64
    assert [front.config.samples(frames) for frames in (1, 2, 23)] == [400, 560, 3_920], "found without a formula"
    with pytest.raises(AaspError, match=r"shorter than one analysis window of 25 ms"):
        front(wave[:, :399])


def test_a_user_defined_attention_gets_token_positions(
    tmp_path: Path, unloaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "near.py").write_text(ATTENTION)
    monkeypatch.chdir(tmp_path)
    small = {
        "model.encoder.width": 16,
        "model.encoder.depth": 1,
        "model.vector": "none",
        "model.encoder.heads": 2,
        "model.stem": "conv",
    }
    recipe = with_fields(plain_tiny(), small | {"model.encoder.attention": "near.py:NearConfig"})
    torch.manual_seed(0)
    model = AudioEncoder(recipe.model).eval()
    model.save(tmp_path / "model")
    saved = json.loads((tmp_path / "model/config.json").read_text())
    assert saved["encoder"]["attention"] == {"kind": "near:NearConfig", "reach": 1}
    mel = torch.randn(1, 96, 128)
    changed = mel.clone()
    changed[:, 80:] += 1.0  # the last of six time patches
    with torch.no_grad():
        before, after = (aasp.load(tmp_path / "model").embed(one).timestamps for one in (mel, changed))
    moved = (before - after).abs().amax(-1)[0] > 0
    assert moved.tolist() == [False, False, False, False, True, True], "one time patch away, and no further"


def test_changed_code_of_a_part_is_another_model_and_another_recipe(
    tmp_path: Path, unloaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept vectors and resumed comparisons would otherwise mix two programs."""
    monkeypatch.chdir(tmp_path)
    found = []
    for code in (ATTENTION, ATTENTION, ATTENTION.replace("clamp_min(1)", "clamp_min(2)")):
        sys.modules.pop("near", None)
        (tmp_path / "near.py").write_text(code)
        recipe = with_fields(plain_tiny(), {"model.encoder.attention": "near.py:NearConfig"})
        torch.manual_seed(0)
        found.append((model_hash(AudioEncoder(recipe.model)), identity(recipe)))
    assert found[0] == found[1]
    assert found[0][0] != found[2][0] and found[0][1] != found[2][1]
    assert own_code(recipe) and not own_code(plain_tiny())


@pytest.mark.parametrize("part", ["stem", "frontend", "encoder.attention"])
@pytest.mark.parametrize(
    "kind",
    ["os:system", "subprocess:Popen", "builtins:eval", "evil_module:Thing", "evil_module.py:Thing", "aasp.parts:Parts"],
)
def test_a_file_cannot_cause_an_import(
    part: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=1, heads=2))
    AudioEncoder(config).save(tmp_path / "model")
    evil = f"open({str(tmp_path / 'was here')!r}, 'w').close()\nfrom aasp.stems.conv import ConvConfig as Thing\n"
    for folder in (tmp_path, tmp_path / "model"):
        (folder / "evil_module.py").write_text(evil)
    file = tmp_path / "model/config.json"
    document = json.loads(file.read_text())
    owner = document["encoder"] if "." in part else document
    owner[part.rpartition(".")[2]] = {"kind": kind, "command": "touch here", "args": ["touch", "here"]}
    file.write_text(json.dumps(document))
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)
    with pytest.raises(AaspError) as error:
        aasp.load(tmp_path / "model")
    message = str(error.value)
    assert kind in message and str(file) in message and "\n" not in message
    assert main(["embed", str(tmp_path / "model"), "x.wav", "--out", "x.npz"]) == 2
    recipe = to_dict(recipes.get("aasp_tiny")) | {"model": document}
    with pytest.raises(AaspError, match=r"recipe\.json"):
        from_dict(Recipe, recipe, "recipe.json")
    assert not (tmp_path / "was here").exists() and "evil_module" not in sys.modules
    assert not {name for name in set(sys.modules) - known if "evil" in name}


@pytest.mark.parametrize(
    ("name", "parts", "message"),
    [
        (
            "model.frontend",
            FRONTENDS,
            "'stff' is not one of logmel, pcen, stft, cqt, leaf, multires, sblu, ranged; did you mean 'stft'?",
        ),
        (
            "model.encoder.attention",
            ATTENTIONS,
            "'ful' is not one of full, differential, relative; did you mean 'full'?",
        ),
        (
            "model.stem",
            STEMS,
            "'aapee' is not one of conv, lowpass, aape, ast, polyphase, s4d, mamba; did you mean 'aape'?",
        ),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, parts: object, message: str) -> None:
    with pytest.raises(AaspError) as error:
        with_fields(recipes.get("aasp_tiny"), {name: message.split("'")[1]})
    assert message in str(error.value) and "package.module:Name" in str(error.value)
    with pytest.raises(AaspError, match="set the part itself"):
        with_fields(recipes.get("aasp_tiny"), {f"{name}.kind": "other"})


def test_older_documents_and_hashes_are_unchanged() -> None:
    torch.manual_seed(0)
    model = AudioEncoder(AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(8, 1, 2)))
    document = to_dict(model.config)
    assert "kind" not in document["frontend"] and "attention" not in document["encoder"]
    assert document["frontend"]["mels"] == 128 and document["stem"]["kind"] == "conv"
    assert from_dict(AudioEncoderConfig, document, "here") == model.config
    named = document | {
        "frontend": {"kind": "logmel"} | document["frontend"],
        "encoder": document["encoder"] | {"attention": {"kind": "full"}},
    }
    assert from_dict(AudioEncoderConfig, named, "here") == model.config
    assert plain_tiny().fingerprint == "4951215e678bee12"
    for parameter in model.parameters():
        parameter.data.fill_(0.5)
    assert model_hash(model).startswith("8951f10071872772")


class Elsewhere(torch.nn.Module):
    pass


@dataclass(frozen=True)
class WrongStemConfig(StemConfig):
    patch: tuple[int, int] = (16, 16)
    wrong: str = "class"

    def build(self, width: int, mels: int) -> Stem:
        if self.wrong == "class":
            return Elsewhere()  # type: ignore[return-value]
        return WrongStem(width, mels, self.patch)


class WrongStem(Stem):
    def forward(self, mel_BTM: torch.Tensor, valid_BN: torch.Tensor | None = None) -> torch.Tensor:
        return mel_BTM.new_zeros(len(mel_BTM), 1, self.width)

    @property
    def receptive_field(self) -> int:
        return 48


@pytest.mark.parametrize(
    ("stem", "message"),
    [
        (WrongStemConfig(), "WrongStemConfig.build gives Elsewhere, which does not derive from aasp.stems"),
        (WrongStemConfig((0, 16), "tokens"), "stem: patch is 0,16; give at least 1 frame"),
        (WrongStemConfig((16, 48), "tokens"), "128 mel bins cannot be cut in patches of 48"),
        (WrongStemConfig((16, 16), "tokens"), "encoder: tokens of shape (1, 1, 8) for 56 places and width 8"),
        (WrongStemConfig((16, 16), "views"), "WrongStem sees 48 frames of patches of 16, so that masked ones would"),
    ],
)
def test_a_part_with_a_wrong_interface_is_one_line(stem: WrongStemConfig, message: str) -> None:
    with pytest.raises(AaspError) as error:
        model = AudioEncoder(AudioEncoderConfig(stem=stem, encoder=EncoderConfig(width=8, depth=1, heads=2)))
        if stem.wrong == "views":
            model.stem.views(torch.zeros(1, 96, 128), torch.tensor([[[0, 3]]]))
        model(torch.zeros(1, 16_000))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_front_end_that_gives_no_frames_is_refused(unloaded: None) -> None:
    front = load_plugin(EXAMPLE).LinearConfig().build()
    front.transform = lambda wave, frames: torch.zeros(len(wave), 128, frames)
    with pytest.raises(
        AaspError, match=r"LinearSpectrogram gives \(1, 128, 98\), not \(1, 98, 128\); `transform` must"
    ):
        front(torch.zeros(1, 16_000))


SCRIPT = """
from dataclasses import dataclass

import aasp
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig


@dataclass(frozen=True)
class ThinConfig(ConvConfig):
    pass


def small():
    return AudioEncoder(AudioEncoderConfig(stem=ThinConfig(), encoder=EncoderConfig(width=8, depth=1, heads=2)))


if __name__ == "__main__":
    small().save("saved")
    assert type(aasp.load("saved").config.stem) is ThinConfig
"""


def test_a_model_of_a_script_is_loaded_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("of_a_script.py").write_text(SCRIPT)
    subprocess.run([sys.executable, "of_a_script.py"], check=True)
    assert json.loads(Path("saved/config.json").read_text())["stem"]["kind"] == "of_a_script:ThinConfig"
    with pytest.raises(AaspError, match="add --plugin of_a_script"):
        aasp.load("saved")
    load_plugin("of_a_script.py")
    assert type(aasp.load("saved").config.stem).__name__ == "ThinConfig"
    monkeypatch.delitem(sys.modules, "of_a_script")


def test_a_part_that_no_process_can_import_is_not_saved(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class LocalConfig(ConvConfig):
        pass

    with pytest.raises(AaspError, match=r"LocalConfig is defined in a notebook, a function or a class, .*; move it"):
        AudioEncoder(AudioEncoderConfig(stem=LocalConfig(), encoder=EncoderConfig(width=8, depth=1, heads=2))).save(
            tmp_path / "model"
        )
    assert not (tmp_path / "model").exists()


def test_the_code_of_a_mask_scheme_is_part_of_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = plain_tiny()
    assert own_code(recipe) == ""
    file = tmp_path / "own_scheme.py"
    file.write_text("def low(rng, columns, subbands, config):\n    return None\n")
    monkeypatch.setitem(SCHEMES, "low", load_plugin(str(file)).low)
    masked = with_fields(recipe, {"masking.scheme": "low"})
    before = identity(masked)
    assert own_code(masked)
    file.write_text(file.read_text() + "# edited\n")
    assert (
        identity(masked) != before and masked.fingerprint == with_fields(recipe, {"masking.scheme": "low"}).fingerprint
    )
    monkeypatch.delitem(sys.modules, "own_scheme")


def test_a_front_end_without_frames_on_tensors_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load_plugin(EXAMPLE)
    front = sys.modules["own_stem"]
    config = AudioEncoderConfig(
        frontend=front.LinearConfig(), stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=1, heads=2)
    )
    AudioEncoder(config).save(tmp_path / "model")
    monkeypatch.delattr(front.LinearSpectrogram, "frames")
    assert main(["export", str(tmp_path / "model"), "--to", "onnx", "--out", str(tmp_path / "m.onnx")]) == 2
    line = capsys.readouterr().err
    assert "front end LinearSpectrogram counts frames in Python" in line and line.count("\n") == 1


def test_an_imported_module_comes_before_the_script_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "twice.py").write_text(SCRIPT)
    module = load_plugin(str(tmp_path / "twice.py"))
    monkeypatch.setattr("aasp.parts._script", lambda: "twice")
    assert STEMS.known("twice:ThinConfig") is module.ThinConfig
    monkeypatch.delitem(sys.modules, "twice")
