"""Our folder to transformers' and back: the same weights to the bit, the same numbers, whichever kind is loaded."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForAudioClassification, AutoModelForPreTraining

import aasp
from aasp.errors import AaspError
from aasp.hf import AaspConfig, AaspFeatureExtractor, AaspForAudioClassification, AaspForPreTraining, AaspModel, of
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig, load_classifier
from aasp.model.audio_encoder import AudioEncoder
from aasp.weights import model_hash


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_importing_aasp_does_not_import_transformers() -> None:
    code = "import sys, aasp, aasp.cli.main; aasp.AudioEncoder; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("stub", "message"),
    [
        ("None", "aasp.hf needs transformers 5.23 or later; pip install 'aasp-audio[hf]'"),
        ("types.SimpleNamespace(__version__='4.57.1')", "aasp.hf needs transformers 5.23 or later, not 4.57.1"),
    ],
)
def test_without_transformers_the_extra_is_named(stub: str, message: str) -> None:
    code = f"import sys, types; sys.modules['transformers'] = {stub}; import aasp.hf"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith(f"aasp.errors.AaspError: {message}")


def test_an_encoder_round_trip(encoder: AudioEncoder, encoder_folder: Path, tmp_path: Path, wave: Tensor) -> None:
    theirs = AaspModel.from_pretrained(encoder_folder)
    assert not theirs.training
    assert same(encoder.state_dict(), theirs.model.state_dict())
    theirs.save_pretrained(tmp_path / "theirs")
    back = aasp.load(tmp_path / "theirs")
    assert back.config == encoder.config and model_hash(back) == model_hash(encoder)
    theirs.model.save(tmp_path / "ours")
    assert same(load_file(tmp_path / "ours/model.safetensors"), load_file(encoder_folder / "model.safetensors"))
    assert (tmp_path / "ours/config.json").read_text() == (encoder_folder / "config.json").read_text()
    with torch.no_grad():
        own, found = encoder(wave), theirs(wave)
        assert torch.equal(found.pooler_output, own.clip) and torch.equal(back(wave).clip, own.clip)
        assert torch.equal(found.last_hidden_state, torch.cat([own.cls[:, None], own.tokens], 1))


def test_a_classifier_round_trip(
    classifier: AudioClassifier, classifier_folder: Path, tmp_path: Path, wave: Tensor
) -> None:
    theirs = AaspForAudioClassification.from_pretrained(classifier_folder)
    assert theirs.config.id2label == {0: "low", 1: "high", 2: "none"}
    assert theirs.config.label2id == {"low": 0, "high": 1, "none": 2}
    assert same(classifier.state_dict(), theirs.model.state_dict())
    theirs.save_pretrained(tmp_path / "theirs")
    back = load_classifier(tmp_path / "theirs")
    assert back.config == classifier.config and model_hash(back) == model_hash(classifier)
    with torch.no_grad():
        assert torch.equal(theirs(wave).logits, classifier(wave))
    again = AutoModelForAudioClassification.from_pretrained(tmp_path / "theirs")
    assert type(again) is AaspForAudioClassification and same(again.state_dict(), theirs.state_dict())
    assert model_hash(aasp.load(tmp_path / "theirs")) == model_hash(classifier.encoder)


@pytest.mark.parametrize("multilabel", [False, True])
def test_several_classes_a_clip_and_one_class_alone(multilabel: bool, encoder: AudioEncoder, tmp_path: Path) -> None:
    for classes in (("a",), ("b", "a"), tuple("zyxwvutsrqponm")):
        config = AudioClassifierConfig(classes, multilabel, norm="batch", encoder=encoder.config)
        AudioClassifier(config).save(tmp_path / "ours")
        theirs = AaspForAudioClassification.from_pretrained(tmp_path / "ours")
        assert (theirs.config.problem_type == "multi_label_classification") is multilabel
        theirs.save_pretrained(tmp_path / "theirs")
        assert load_classifier(tmp_path / "theirs").config == config


def test_auto_classes(encoder_folder: Path, tmp_path: Path) -> None:
    AaspModel.from_pretrained(encoder_folder).save_pretrained(tmp_path)
    assert type(AutoConfig.from_pretrained(tmp_path)) is AaspConfig
    model = AutoModel.from_pretrained(tmp_path)
    assert type(model) is AaspModel
    assert type(AutoModel.from_config(model.config)) is AaspModel
    assert type(AutoModelForAudioClassification.from_config(model.config)) is AaspForAudioClassification
    assert type(AutoModelForPreTraining.from_config(model.config)) is AaspForPreTraining


def test_a_run_is_loaded_by_its_folder(encoder: AudioEncoder, tmp_path: Path) -> None:
    encoder.save(tmp_path / "run/model")
    assert same(AaspModel.from_pretrained(tmp_path / "run").model.state_dict(), encoder.state_dict())


def test_of_makes_one_without_a_folder(encoder: AudioEncoder, classifier: AudioClassifier, wave: Tensor) -> None:
    with torch.no_grad():
        assert torch.equal(of(encoder)(wave).pooler_output, encoder(wave).clip)
        assert torch.equal(of(classifier)(wave).logits, classifier(wave))


@pytest.mark.parametrize("saved_by", ["us", "transformers"])
def test_an_encoder_out_of_a_classifier_and_a_classifier_on_an_encoder(
    saved_by: str, encoder: AudioEncoder, encoder_folder: Path, classifier: AudioClassifier, classifier_folder: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    places = {"encoder": encoder_folder, "classifier": classifier_folder}
    if saved_by == "transformers":
        places = {name: tmp_path / name for name in places}
        of(encoder).save_pretrained(places["encoder"])
        of(classifier).save_pretrained(places["classifier"])
    taken, info = AaspModel.from_pretrained(places["classifier"], output_loading_info=True)
    assert same(taken.model.state_dict(), classifier.encoder.state_dict())
    assert not info["missing_keys"] and not info["unexpected_keys"]

    torch.manual_seed(0)
    grown, info = AaspForAudioClassification.from_pretrained(places["encoder"], num_labels=7, output_loading_info=True)
    assert same(grown.model.encoder.state_dict(), encoder.state_dict())
    assert info["missing_keys"] == {"model.head.weight", "model.head.bias", "model.norm.weight", "model.norm.bias"}
    head = grown.model.head
    assert head.weight.shape == (7, 24) and (head.bias == 0).all()
    assert 0.01 < head.weight.std() < 0.03 and head.weight.abs().max() <= 2.0  # as our constructor makes it
    assert (grown.model.norm.weight == 1).all() and (grown.model.norm.bias == 0).all()
    for number, model in enumerate((taken, grown)):  # what was put together is saved under its own names
        model.save_pretrained(tmp_path / f"again{number}")
        assert same(type(model).from_pretrained(tmp_path / f"again{number}").state_dict(), model.state_dict())
        assert model_hash(aasp.load(tmp_path / f"again{number}"))


def test_missing_weights_are_initialised_by_our_constructors(encoder_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    weights = load_file(encoder_folder / "model.safetensors")
    dropped = ["encoder.blocks.0.mlp.0.weight", "encoder.class_token"]
    save_file({name: t for name, t in weights.items() if name not in dropped}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((encoder_folder / "config.json").read_text())
    model, info = AaspModel.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == {f"model.{name}" for name in dropped}
    found = model.model.state_dict()
    bound = (6 / (24 + 96)) ** 0.5  # Xavier's
    assert 0.8 * bound < found[dropped[0]].abs().max() <= bound
    assert 0 < found[dropped[1]].std() < 0.04
    assert all(torch.equal(found[name], weights[name]) for name in weights if name not in dropped)


def test_a_bad_folder_is_one_line(encoder_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AaspError, match="no such directory"):
        AaspModel.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AaspError, match=r"holds no config\.json"):
        AaspModel.from_pretrained(tmp_path / "empty")
    values = json.loads((encoder_folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {"widht": 3}))
    with pytest.raises(AaspError, match=r"config\.json: unknown field 'widht'"):
        AaspModel.from_pretrained(tmp_path)
    theirs = AaspModel.from_pretrained(encoder_folder)
    theirs.save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs/model.safetensors").write_bytes(b"")
    with pytest.raises(AaspError, match="not readable as safetensors"):
        aasp.load(tmp_path / "theirs")


def test_a_configuration_alone(
    encoder: AudioEncoder, classifier: AudioClassifier, encoder_folder: Path, classifier_folder: Path, tmp_path: Path
) -> None:
    encoder.save(tmp_path / "run/model")
    of(classifier).save_pretrained(tmp_path / "theirs")
    for place in (encoder_folder, tmp_path / "run"):
        assert AaspConfig.from_pretrained(place).audio_encoder == encoder.config
    for place in (classifier_folder, tmp_path / "theirs"):
        assert AaspConfig.from_pretrained(place).audio_classifier == classifier.config
    (tmp_path / "empty").mkdir()
    with pytest.raises(AaspError, match=r"empty: holds no config\.json"):  # for transformers it has all defaults
        AaspConfig.from_pretrained(tmp_path / "empty")


def test_a_model_is_not_saved_into_a_file(encoder: AudioEncoder, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    for place, message in ((file, "file: a file; name a folder"), (file / "below", "lies below a file")):
        with pytest.raises(AaspError, match=message):
            of(encoder).save_pretrained(place)
    assert file.read_text() == "kept" and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_labels": 0}, "id2label numbers its labels not at all; number them from 0 on"),
        ({"problem_type": "regresion"}, "problem_type is 'regresion'; give one of single_label_classification, multi"),
        ({"id2label": {0: "a", 5: "b"}}, "id2label numbers its labels 0, 5; number them from 0 on"),
    ],
)
def test_invalid_labels_are_refused(encoder_folder: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(AaspError, match=message):
        AaspForAudioClassification.from_pretrained(encoder_folder, **given)


def test_settings_of_ours_are_checked_in_a_configuration_of_theirs() -> None:
    with pytest.raises(AaspError, match="AaspConfig: encoder: unknown field 'depht'"):
        AaspConfig(encoder={"depht": 3})
    with pytest.raises(AaspError, match=r"hidden_size is encoder\.width here; give encoder="):
        AaspConfig(hidden_size=8)
    parts = {"encoder": {"width": 24, "depth": 2, "heads": 3}, "frontend": {"rate": 32_000, "fft": 1024}}
    config = AaspConfig(encoder=parts)
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (24, 2, 3)
    assert config.sampling_rate == 32_000
    assert AaspConfig.from_dict(config.to_dict()).encoder == config.encoder
    written = json.loads(AaspConfig().to_json_string())
    assert written["encoder"]["encoder"]["width"] == 192  # nothing is left to defaults


@pytest.fixture
def rounded(encoder: AudioEncoder, tmp_path: Path) -> Path:
    """A folder of ours whose file has fp16 tensors, like those of the packaged models."""
    copy.deepcopy(encoder).half().save(tmp_path / "rounded")
    stored = load_file(tmp_path / "rounded/model.safetensors")
    assert torch.float16 in {tensor.dtype for tensor in stored.values()}
    return tmp_path / "rounded"


def precisions(model: torch.nn.Module) -> set[torch.dtype]:
    return {parameter.dtype for parameter in model.parameters()}


def test_the_packaged_model_is_loaded_in_fp32_as_by_aasp(wave: Tensor) -> None:
    model, own = AaspModel.from_pretrained("aasp-tiny"), aasp.load("aasp-tiny")
    assert precisions(model) == {torch.float32} and same(model.model.state_dict(), own.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model(wave).pooler_output, own(wave).clip, rtol=0, atol=1e-5)
    assert precisions(AaspForAudioClassification.from_pretrained("aasp-tiny", num_labels=2)) == {torch.float32}


def test_a_folder_of_ours_is_loaded_in_fp32_unless_another_precision_is_given(rounded: Path) -> None:
    assert precisions(AaspModel.from_pretrained(rounded)) == {torch.float32}
    for model in (AaspModel, AaspForPreTraining):
        for name in ("dtype", "torch_dtype"):
            for given in (torch.bfloat16, "bfloat16"):
                assert precisions(model.from_pretrained(rounded, **{name: given})) == {torch.bfloat16}
    assert precisions(AaspModel.from_pretrained(rounded, dtype=None)) == {torch.float32}
    config = AaspConfig.from_pretrained(rounded)
    assert precisions(AaspModel.from_pretrained(rounded, config=config)) == {torch.float32}
    config.dtype = torch.bfloat16
    assert precisions(AaspModel.from_pretrained(rounded, config=config)) == {torch.bfloat16}


def test_auto_is_the_precision_of_the_file(rounded: Path) -> None:
    for name in ("dtype", "torch_dtype"):
        assert precisions(AaspModel.from_pretrained(rounded, **{name: "auto"})) == {torch.float16}
        started = AaspForPreTraining.from_pretrained(rounded, **{name: "auto"})  # from what aasp.load gives
        assert precisions(started) == {torch.float32}


def test_a_folder_of_transformers_is_loaded_in_the_precision_it_states(rounded: Path, tmp_path: Path) -> None:
    for given in (torch.float16, torch.float32):
        AaspModel.from_pretrained(rounded, dtype=given).save_pretrained(tmp_path / "theirs")
        assert precisions(AaspModel.from_pretrained(tmp_path / "theirs")) == {given}
        assert precisions(AutoModel.from_pretrained(tmp_path / "theirs", dtype=torch.float32)) == {torch.float32}
        assert precisions(aasp.load(tmp_path / "theirs")) == {torch.float32}


def test_our_folder_on_the_hub_is_read_at_its_revision(encoder: AudioEncoder, tmp_path: Path) -> None:
    """The hub's cache is all that is read: `main` has one class token, `v1` another."""
    repository = tmp_path / "models--you--tiny"
    for revision, value in (("main", 1.0), ("v1", 2.0)):
        other = copy.deepcopy(encoder)
        with torch.no_grad():
            other.encoder.class_token.fill_(value)  # type: ignore[union-attr, operator]
        other.save(repository / "snapshots" / revision)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / revision).write_text(revision)
    options = {"cache_dir": str(tmp_path), "local_files_only": True}
    assert AaspFeatureExtractor.from_pretrained("you/tiny", **options).sampling_rate == encoder.config.frontend.rate
    for revision, value in (("main", 1.0), ("v1", 2.0)):
        model = AaspModel.from_pretrained("you/tiny", revision=revision, **options).model
        pretraining = AaspForPreTraining.from_pretrained("you/tiny", revision=revision, **options)
        for own in (model, pretraining.encoder()):
            assert own.encoder.class_token.unique().tolist() == [value]  # type: ignore[union-attr]
