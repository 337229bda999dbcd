"""AST converted: equal to transformers' own on log-mels and from waveforms, classes too, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

from aasp.convert.layouts import convert
from aasp.convert.published import read_published
from aasp.errors import AaspError
from aasp.model.audio_classifier import AudioClassifier, load_classifier
from aasp.model.audio_encoder import AudioEncoder

COLUMNS = 10
FRAMES = 10 * COLUMNS
# AST's last kernel reaches six frames beyond its stride, where ours sees what is beyond every clip's end: zeros.
REACH = 6
OWN = "audio_spectrogram_transformer."


@pytest.fixture(scope="module")
def theirs() -> ASTForAudioClassification:
    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=48, max_length=FRAMES + REACH,
        id2label={0: "dog", 1: "rain", 2: "siren"}, label2id={"dog": 0, "rain": 1, "siren": 2}, layer_norm_eps=1e-6,
    )  # fmt: skip
    model = ASTForAudioClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # all that starts at 0, or at 1, is distinguished too
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def folder(theirs: ASTForAudioClassification, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    theirs.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ours(folder: Path) -> AudioClassifier:
    model = convert(folder, "ast")
    assert isinstance(model, AudioClassifier)
    return model


def reference(model: ASTForAudioClassification, mel_BTM: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Their patch tokens (B, G, F, D), pooled class tokens and logits."""
    with torch.no_grad():
        base = model.audio_spectrogram_transformer(mel_BTM)
        tokens = base.last_hidden_state[:, 2:].unflatten(1, (12, -1)).transpose(1, 2)
        return tokens, base.pooler_output, model(mel_BTM).logits


@torch.no_grad()
def test_log_mels_are_encoded_as_transformers_does(theirs: ASTForAudioClassification, ours: AudioClassifier) -> None:
    mel = torch.randn(2, FRAMES, 128)
    tokens, cls, logits = reference(theirs, torch.nn.functional.pad(mel, (0, 0, 0, REACH)))
    found = ours.encoder.embed(mel)
    torch.testing.assert_close(found.tokens.unflatten(1, (-1, 12)), tokens, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.cls, cls, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.clip, cls, rtol=0, atol=1e-4)
    torch.testing.assert_close(ours.classify(found.stages, found.valid), logits, rtol=0, atol=1e-4)
    assert tokens.std() > 0.1 and logits.std() > 0.01


@torch.no_grad()
def test_waveforms_go_through_ast_s_own_front_end(theirs: ASTForAudioClassification, ours: AudioClassifier) -> None:
    wave = (0.2 * np.random.default_rng(0).standard_normal(400 + 160 * (FRAMES - 1))).astype(np.float32)
    extractor = ASTFeatureExtractor(max_length=FRAMES + REACH)
    mel = torch.as_tensor(extractor(wave, sampling_rate=16_000, return_tensors="np")["input_values"])
    mel[:, FRAMES:] = 0.0  # theirs is padded before it is normalised
    _, cls, logits = reference(theirs, mel)
    torch.testing.assert_close(ours.encoder(torch.from_numpy(wave)[None]).clip, cls, rtol=0, atol=1e-4)
    torch.testing.assert_close(ours(torch.from_numpy(wave)[None]), logits, rtol=0, atol=1e-4)
    assert ours.config.classes == ("dog", "rain", "siren")


@torch.no_grad()
def test_shorter_clips_take_the_first_positions(theirs: ASTForAudioClassification, ours: AudioClassifier) -> None:
    mel = torch.randn(2, FRAMES, 128)
    alone = ours.encoder.embed(mel[:1, :40]).clip
    mel[0, 40:] = 0.0
    batched = ours.encoder.embed(mel, torch.tensor([40, FRAMES])).clip
    torch.testing.assert_close(batched[:1], alone, rtol=0, atol=1e-5)
    assert not torch.allclose(alone, ours.encoder.embed(mel[:1]).clip, atol=1e-2)


@torch.no_grad()
def test_the_authors_own_names_and_an_encoder_alone(folder: Path, ours: AudioClassifier, tmp_path: Path) -> None:
    given = load_file(folder / "model.safetensors")
    encoder = {name.removeprefix(OWN): tensor for name, tensor in given.items() if name.startswith(OWN)}
    torch.save({"state_dict": encoder}, tmp_path / "encoder.bin")
    found = convert(tmp_path / "encoder.bin", "ast", heads=3)
    assert isinstance(found, AudioEncoder)
    assert all(torch.equal(tensor, ours.encoder.state_dict()[name]) for name, tensor in found.state_dict().items())

    named = {
        "embeddings.cls_token": "v.cls_token", "embeddings.distillation_token": "v.dist_token",
        "embeddings.position_embeddings": "v.pos_embed", "embeddings.patch_embeddings.projection": "v.patch_embed.proj",
        "layernorm_before": "norm1", "layernorm_after": "norm2", "attention.output.dense": "attn.proj",
        "intermediate.dense": "mlp.fc1", "output.dense": "mlp.fc2", "encoder.layer.": "v.blocks.",
        "classifier.layernorm": "mlp_head.0", "classifier.dense": "mlp_head.1", "layernorm.": "v.norm.", OWN: "",
    }  # fmt: skip
    authors = {"module.v.head.weight": torch.zeros(1000, 24), "module.v.head_dist.bias": torch.zeros(1000)}
    for name, tensor in given.items():
        if ".attention.attention." in name:
            continue
        for theirs, here in named.items():
            name = name.replace(theirs, here)
        authors[f"module.{name}"] = tensor
    for n in range(3):
        for kind in ("weight", "bias"):
            layer = f"{OWN}encoder.layer.{n}.attention.attention."
            qkv = torch.cat([given[f"{layer}{part}.{kind}"] for part in ("query", "key", "value")])
            authors[f"module.v.blocks.{n}.attn.qkv.{kind}"] = qkv
    torch.save(authors, tmp_path / "audioset.pth")
    found = convert(tmp_path / "audioset.pth", "ast", heads=3)
    assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in found.state_dict().items())


def test_a_converted_model_is_saved_loaded_and_read_in_windows(ours: AudioClassifier, tmp_path: Path) -> None:
    ours.save(tmp_path / "model")
    again = load_classifier(tmp_path / "model")
    wave = 0.1 * torch.randn(1, 16_000 * 3)
    with torch.no_grad():
        found = again.encoder(wave, layers=True)
        torch.testing.assert_close(again(wave), ours(wave))
    assert found.tokens.shape == (1, 30 * 12, 24) and found.valid.all()
    assert len(found.layers) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classifier.dense.weight": torch.zeros(3, 25)}, r"classifier.dense.weight is \(3, 25\), not \(3, 24\)"),
        ({"decoder.weight": torch.zeros(3)}, r"has decoder.weight \(1 such\), which this layout does not have"),
        ({f"{OWN}layernorm.bias": None}, f"has no {OWN}layernorm.bias"),
        ({"classifier.dense.bias": torch.full((3,), torch.nan)}, "classifier.dense.bias holds no finite numbers"),
        (
            {f"{OWN}embeddings.position_embeddings": torch.zeros(1, 100, 24)},
            "98 patches, not two or more columns of 12; give its time_stride and frequency_stride in a config.json",
        ),
    ],
)
def test_another_layout_is_refused_by_the_name_of_a_tensor(
    change: dict[str, Tensor | None], message: str, folder: Path, tmp_path: Path
) -> None:
    tensors = load_file(folder / "model.safetensors") | change
    torch.save({name: tensor for name, tensor in tensors.items() if tensor is not None}, tmp_path / "changed.pt")
    with pytest.raises(AaspError, match=message) as refused:
        convert(tmp_path / "changed.pt", "ast", heads=3)
    assert "\n" not in str(refused.value) and "changed.pt" in str(refused.value)


@pytest.mark.parametrize(("stride", "rows", "columns"), [(10, 12, 101), (12, 10, 85), (14, 9, 73), (16, 8, 64)])
def test_strides_of_the_authors_audioset_models_follow_from_their_positions(
    stride: int, rows: int, columns: int, folder: Path, tmp_path: Path
) -> None:
    positions = torch.randn(1, 2 + rows * columns, 24)
    held = load_file(folder / "model.safetensors") | {f"{OWN}embeddings.position_embeddings": positions}
    torch.save(held, tmp_path / "audioset.pth")
    model = convert(tmp_path / "audioset.pth", "ast", heads=3)
    assert isinstance(model, AudioClassifier)
    config = model.config.encoder
    assert config.stem.patch == (stride, stride) and config.encoder.learned == (columns, rows)
    table = positions[0, 2:].unflatten(0, (rows, columns)).transpose(0, 1)
    assert torch.equal(model.encoder.encoder.positions, table)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", '{"id2label": {"0": "dog"}, "num_attention_heads": 3}', "3 classes, which id2label"),
        ("config.json", '{"num_attention_heads": "many"}', "width 24 is not a multiple of many heads"),
        ("config.json", '{"num_attention_heads": 3, "time_stride": 0}', "time_stride=0; give a whole number"),
        ("config.json", "{", "config.json: not readable as JSON"),
        ("preprocessor_config.json", '{"mean": "low"}', "mean='low'"),
        (
            "preprocessor_config.json",
            '{"sampling_rate": 8000}',
            "has sampling_rate = 8000, where the published AST",
        ),
        (
            "config.json",
            '{"num_attention_heads": 3, "hidden_act": "relu"}',
            "has hidden_act = relu, where the published AST",
        ),
        (
            "config.json",
            '{"num_attention_heads": 3, "problem_type": "regression", "id2label": {"0": "a", "1": "b", "2": "c"}}',
            "a regression of 3 numbers, and a classifier here predicts one",
        ),
    ],
)
def test_settings_beside_the_file_are_checked(
    file: str, content: str, message: str, folder: Path, tmp_path: Path
) -> None:
    torch.save(load_file(folder / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    assert isinstance(convert(tmp_path, "ast"), AudioClassifier)
    (tmp_path / file).write_text(content)
    with pytest.raises(AaspError, match=message) as refused:
        convert(tmp_path, "ast")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("task", ["regression", "single_label_classification", None])
@torch.no_grad()
def test_a_head_of_one_output_gives_a_number_or_a_probability(task: str | None, folder: Path, tmp_path: Path) -> None:
    held = load_file(folder / "model.safetensors")
    held |= {f"classifier.dense.{kind}": held[f"classifier.dense.{kind}"][:1] for kind in ("weight", "bias")}
    torch.save(held, tmp_path / "pytorch_model.bin")
    config = json.loads((folder / "config.json").read_text()) | {"id2label": {"0": "x"}, "problem_type": task}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = convert(tmp_path, "ast")
    assert isinstance(model, AudioClassifier)
    logits = torch.tensor([[-1.5], [0.5]])
    expected = logits if task == "regression" else logits.sigmoid()
    torch.testing.assert_close(model.probabilities(logits), expected)


def test_the_number_of_heads_is_required_without_a_config(folder: Path, tmp_path: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), tmp_path / "alone.pt")
    with pytest.raises(AaspError, match="give --heads"):
        convert(tmp_path / "alone.pt", "ast")
    assert read_published(folder).settings["num_attention_heads"] == 3
