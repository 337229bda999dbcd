"""What transformers' own tests check in a model; they are not in its wheel."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForAudioClassification, pipeline

from aasp.errors import AaspError
from aasp.hf import AaspConfig, AaspForAudioClassification, AaspModel, of
from aasp.hf.layers import AaspDifferentialAttention, with_one_class_token
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig, load_classifier
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.differential import DifferentialAttention, DifferentialConfig
from aasp.model.encoder import EncoderConfig
from aasp.weights import model_hash


@pytest.fixture
def model(encoder: AudioEncoder) -> AaspModel:
    return of(encoder)  # type: ignore[return-value]


def test_shapes_of_the_outputs(model: AaspModel, short: Tensor) -> None:
    found = model(short, output_hidden_states=True)
    tokens = 1 + 7 * 8
    assert found.last_hidden_state.shape == (2, tokens, 24) and found.pooler_output.shape == (2, 24)
    assert [x.shape for x in found.hidden_states] == [(2, tokens, 24)] * 3
    assert torch.equal(found.hidden_states[-1], found.last_hidden_state)
    assert found.attentions is None
    as_tuple = model(short, return_dict=False)
    assert len(as_tuple) == 2 and torch.equal(as_tuple[0], found.last_hidden_state)


def test_padding_changes_nothing(model: AaspModel, classifier: AudioClassifier, wave: Tensor) -> None:
    lengths = [9_000, 33_600]
    mask = torch.stack([(torch.arange(33_600) < n).long() for n in lengths])
    padded = wave.clone()
    padded[0, 9_000:] = 7.0  # values outside the mask are not read
    theirs = of(classifier)
    with torch.no_grad():
        together, logits = model(padded, attention_mask=mask), theirs(padded, attention_mask=mask).logits
        for row, count in enumerate(lengths):
            alone = model(wave[row : row + 1, :count])
            count_of = alone.last_hidden_state.shape[1]
            torch.testing.assert_close(together.pooler_output[row], alone.pooler_output[0], rtol=0, atol=2e-5)
            torch.testing.assert_close(
                together.last_hidden_state[row, :count_of], alone.last_hidden_state[0], rtol=0, atol=2e-5
            )
            assert (together.last_hidden_state[row, count_of:] == 0).all()
            torch.testing.assert_close(logits[row], theirs(wave[row : row + 1, :count]).logits[0], rtol=0, atol=2e-5)


def test_a_mask_that_makes_no_sense_is_refused(model: AaspModel, short: Tensor) -> None:
    left = torch.ones(2, 16_000, dtype=torch.long)
    left[0, :100] = 0
    with pytest.raises(AaspError, match="pad clips on the right"):
        model(short, attention_mask=left)
    with pytest.raises(AaspError, match=r"attention_mask of shape \(2, 98\) for \(2, 16000\) samples"):
        model(short, attention_mask=torch.ones(2, 98))
    with pytest.raises(AaspError, match="clip 1 is shorter than one analysis window"):
        model(short, attention_mask=torch.tensor([[1] * 16_000, [1] * 10 + [0] * 15_990]))


@pytest.mark.parametrize("padded", [False, True])
def test_eager_equals_sdpa_and_has_the_weights(encoder_folder: Path, short: Tensor, padded: bool) -> None:
    mask = torch.ones(2, 16_000, dtype=torch.long)
    mask[1, 6_000:] = 1 - int(padded)
    fused = AaspModel.from_pretrained(encoder_folder, attn_implementation="sdpa")
    eager = AaspModel.from_pretrained(encoder_folder, attn_implementation="eager")
    with torch.no_grad():
        expected, found = fused(short, attention_mask=mask), eager(short, attention_mask=mask, output_attentions=True)
    torch.testing.assert_close(found.last_hidden_state, expected.last_hidden_state, rtol=0, atol=1e-5)
    assert [x.shape for x in found.attentions] == [(2, 3, 57, 57)] * 2
    for weights in found.attentions:
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 57), rtol=0, atol=1e-5)
        own = 1 + 3 * 8  # 6,000 samples have 36 frames: three time patches
        assert bool((weights[1, :, :, own:] == 0).all()) is padded
    fused.set_attn_implementation("eager")
    with torch.no_grad():
        assert len(fused(short, output_attentions=True).attentions) == 2


@pytest.mark.parametrize(
    "form",
    [
        dict(distilled=True),
        dict(class_token=False, norm="deep"),
        dict(attention=DifferentialConfig()),
        dict(attention=DifferentialConfig(fixed=0.1)),
    ],
    ids=["two class tokens", "no class token", "differential", "differential, fixed"],
)
def test_attentions_of_other_forms(form: dict, saved: Callable[..., Path], short: Tensor) -> None:
    """Outputs have one class token per clip, attentions too; eager is equal to the fused kernel."""
    torch.manual_seed(0)
    model = AudioEncoder(
        AudioEncoderConfig(encoder=EncoderConfig(24, 2, 2 if "attention" in form else 3, **form), window_seconds=1.28)
    ).eval()
    folder = saved(model, f"form-{'-'.join(form)}")
    fused = AaspModel.from_pretrained(folder, attn_implementation="sdpa")
    eager = AaspModel.from_pretrained(folder, attn_implementation="eager")
    mask = torch.ones(2, 16_000, dtype=torch.long)
    mask[1, 6_000:] = 0
    with torch.no_grad():
        expected, found = fused(short, attention_mask=mask), eager(short, attention_mask=mask, output_attentions=True)
    torch.testing.assert_close(found.last_hidden_state, expected.last_hidden_state, rtol=0, atol=1e-5)
    heads = model.config.encoder.heads
    assert [x.shape for x in found.attentions] == [(2, heads, 57, 57)] * 2
    for block, weights in zip(model.encoder.blocks, found.attentions, strict=True):
        whole = 1 - block.attention.weight.item() if "attention" in form else 1.0
        torch.testing.assert_close(weights.sum(-1), torch.full((2, heads, 57), whole), rtol=0, atol=1e-5)
        assert (weights[1, :, :, 25:] == 0).all() and (weights[0, :, :, 25:] != 0).any()
        assert bool((weights[..., 0] == 0).all()) is not form.get("class_token", True)


def test_attentions_by_hand_of_a_difference_and_of_two_class_tokens() -> None:
    torch.manual_seed(0)
    part, x = DifferentialAttention(8, 2, 0.5), torch.randn(1, 3, 8)
    part.__class__, part.eager, part.kept = AaspDifferentialAttention, True, []
    part(x)
    q, k, _ = part.qkv(x[0]).chunk(3, dim=-1)
    maps = [(q[:, i : i + 2] @ k[:, i : i + 2].T / 2**0.5).softmax(-1) for i in range(0, 8, 2)]
    q1, k1, q2, k2 = part.difference
    weight = torch.exp(q1 @ k1) - torch.exp(q2 @ k2) + 0.5
    wanted = torch.stack([maps[0] - weight * maps[1], maps[2] - weight * maps[3]])
    torch.testing.assert_close(part.kept[0][0], wanted, rtol=0, atol=1e-6)
    two = torch.tensor([[0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.5, 0.25, 0.25]])[None, None]
    attention = with_one_class_token(two, EncoderConfig(24, 2, 3, distilled=True))[0, 0]
    torch.testing.assert_close(attention, torch.tensor([[0.5, 0.5], [0.75, 0.25]]))


def test_attentions_that_are_not_available(model: AaspModel, encoder_folder: Path, short: Tensor, wave: Tensor) -> None:
    with pytest.raises(AaspError, match="sdpa keeps no weights; load the model with attn_implementation='eager'"):
        model(short, output_attentions=True)
    eager = AaspModel.from_pretrained(encoder_folder, attn_implementation="eager")
    with pytest.raises(AaspError, match=r"clips longer than a window of 1\.28 s have several"):
        eager(wave, output_attentions=True)
    assert eager(short).attentions is None


def test_a_model_is_built_on_the_meta_device_and_filled(encoder_folder: Path, encoder: AudioEncoder) -> None:
    with torch.device("meta"):
        empty = AaspModel(AaspConfig.of(encoder.config))
    assert {tensor.device.type for tensor in empty.state_dict().values()} == {"meta"}
    filled = AaspModel.from_pretrained(encoder_folder)  # which builds it there
    tensors = [*filled.parameters(), *filled.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
    constants, own = dict(filled.model.named_buffers()), dict(encoder.named_buffers())
    assert constants.keys() == own.keys() and len(own) >= 2
    assert all(torch.equal(constants[name], own[name]) for name in own)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_the_weights_and_nothing_else(
    encoder_folder: Path, encoder: AudioEncoder, tmp_path: Path, wave: Tensor, dtype: torch.dtype
) -> None:
    half = AaspModel.from_pretrained(encoder_folder, dtype=dtype)
    assert half.dtype == dtype and {p.dtype for p in half.parameters()} == {dtype}
    constants = dict(half.model.named_buffers())
    assert all(torch.equal(constants[name], own) for name, own in encoder.named_buffers())  # fp32, to the bit
    with torch.no_grad():
        expected = copy.deepcopy(encoder).to(dtype)(wave).clip
        found = half(wave).pooler_output
        full = encoder(wave).clip
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert (torch.cosine_similarity(found, full) > 0.999).all()
    half.save_pretrained(tmp_path)
    assert AutoModel.from_pretrained(tmp_path, dtype="auto").dtype == dtype


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_whitening_is_not_rounded_with_the_weights(
    encoder: AudioEncoder, tmp_path: Path, wave: Tensor, dtype: torch.dtype
) -> None:
    made = AudioEncoder(replace(encoder.config, whitened=4))
    made.load_state_dict(encoder.state_dict(), strict=False)
    assert made.whitening is not None
    made.whitening.mean.normal_()
    made.whitening.directions.normal_(std=0.1)
    made.save(tmp_path / "whitened")
    half = AaspModel.from_pretrained(tmp_path / "whitened", dtype=dtype)
    for name, tensor in made.whitening.named_buffers():
        assert torch.equal(half.model.get_buffer(f"whitening.{name}"), tensor)
    with torch.no_grad():
        expected = copy.deepcopy(made).eval().to(dtype)(wave).clip
        torch.testing.assert_close(half(wave).pooler_output, expected, rtol=0, atol=0)


def test_gradients_are_the_same_under_checkpointing(classifier_folder: Path, wave: Tensor) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = AaspForAudioClassification.from_pretrained(classifier_folder).train()
        if checkpointing:
            model.activation_checkpointing_enable()
            assert model.is_activation_checkpointing
        recomputed = []
        block = model.model.encoder.encoder.blocks[0]
        block.norm1.register_forward_hook(lambda *_, seen=recomputed: seen.append(1))
        model(wave, labels=torch.tensor([0, 2])).loss.backward()
        assert len(recomputed) == 1 + checkpointing
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient is not None and gradient.abs().sum() >= 0, name
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-6)
    model.activation_checkpointing_disable()
    assert not model.is_activation_checkpointing


def test_losses_of_one_class_and_of_several(classifier: AudioClassifier, wave: Tensor) -> None:
    model, labels = of(classifier), torch.tensor([2, 0])
    found = model(wave, labels=labels)
    torch.testing.assert_close(found.loss, torch.nn.functional.cross_entropy(found.logits, labels))
    several = AaspForAudioClassification(
        AaspConfig.of(classifier.config.__class__(("a", "b", "c"), True, encoder=classifier.config.encoder))
    ).eval()
    wanted = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    found = several(wave, labels=wanted)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(found.logits, wanted)
    torch.testing.assert_close(found.loss, expected)


def test_numbers_are_predicted_and_scored_in_their_own_unit(
    encoder: AudioEncoder, tmp_path: Path, wave: Tensor
) -> None:
    """Tempi of 120 ± 30: what transformers' users take for a regression."""
    torch.manual_seed(3)
    ours = AudioClassifier(AudioClassifierConfig(("tempo",), numbers=(120.0, 30.0), encoder=encoder.config)).eval()
    torch.nn.init.normal_(ours.head.weight)
    theirs, labels = of(ours), torch.tensor([100, 140])
    assert theirs.config.problem_type == "regression" and theirs.config.num_labels == 1
    with torch.no_grad():
        expected = ours.probabilities(ours(wave))
        found = theirs(wave, labels=labels)
        assert torch.equal(found.logits, expected) and (expected[:, 0] - 120).abs().max() > 1
        torch.testing.assert_close(found.loss, ((expected[:, 0] - labels) ** 2).mean())
        torch.testing.assert_close(theirs(wave, labels=labels[:, None].float()).loss, found.loss)
    theirs.save_pretrained(tmp_path / "theirs")
    back = load_classifier(tmp_path / "theirs")
    assert back.config == ours.config and model_hash(back) == model_hash(ours)
    again = AutoModelForAudioClassification.from_pretrained(tmp_path / "theirs")
    weights = theirs.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in again.state_dict().items())
    with torch.no_grad():  # products round otherwise where the loaded weights lie otherwise in memory
        torch.testing.assert_close(again(wave).logits, expected, rtol=1e-6, atol=0)
    (answer,) = pipeline("audio-classification", model=str(tmp_path / "theirs"))(wave[0].numpy())
    assert answer["label"] == "tempo" and answer["score"] == pytest.approx(float(expected[0, 0]), rel=1e-5)


@pytest.mark.parametrize(
    ("count", "kind", "labels", "becomes"),
    [
        (1, None, torch.tensor([3.5, -2.0]), {"numbers": (0.0, 1.0), "multilabel": False}),
        (1, "regression", torch.tensor([3.5, -2.0]), {"numbers": (0.0, 1.0), "multilabel": False}),
        (3, None, torch.tensor([2, 0]), {"numbers": None, "multilabel": False}),
        (3, None, torch.tensor([[1, 0, 1], [0, 0, 0]]), {"numbers": None, "multilabel": True}),
        (3, "multi_label_classification", torch.ones(2, 3).long(), {"numbers": None, "multilabel": True}),
    ],
)
def test_the_kind_of_labels_is_saved_with_ours(
    count: int, kind: str | None, labels: Tensor, becomes: dict[str, Any], encoder_folder: Path, wave: Tensor,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Transformers derives it from the first labels; our files must state the same, whichever library saves."""
    model = AaspForAudioClassification.from_pretrained(encoder_folder, num_labels=count, problem_type=kind)
    model(wave, labels=labels).loss.backward()
    model.model.save(tmp_path / "ours")
    model.save_pretrained(tmp_path / "theirs")
    with torch.no_grad():
        logits = model(wave).logits
        for place in ("ours", "theirs"):
            saved = load_classifier(tmp_path / place)
            assert {name: getattr(saved.config, name) for name in becomes} == becomes
            expected = logits if count == 1 else logits.sigmoid() if becomes["multilabel"] else logits.softmax(-1)
            torch.testing.assert_close(saved.probabilities(saved(wave)), expected)


@pytest.mark.parametrize(
    ("count", "kind", "labels", "message"),
    [
        (1, "regression", torch.zeros(3), r"labels of shape \(3,\) for 2 clips of 1 labels; give \(2,\) or \(2, 1\)"),
        (1, "regression", torch.zeros(2, 3), r"labels of shape \(2, 3\) for 2 clips of 1 labels"),
        (3, "multi_label_classification", torch.zeros(2), r"labels of shape \(2,\) .* give \(2, 3\)"),
        (3, "single_label_classification", torch.zeros(2, 3).long(), r"labels of shape \(2, 3\)"),
        (3, "single_label_classification", torch.tensor([0, 3]), "label 3 of clip 1: there are 3 classes, 0 to 2"),
        (3, "single_label_classification", torch.tensor([0.0, 1.0]), "labels of torch.float32 for classes"),
        (3, None, torch.tensor([0.0, 1.0]), "labels of torch.float32 for classes"),
        (3, "regression", torch.zeros(2), "problem_type regression with 3 labels, .*; give num_labels=1, or"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    count: int, kind: str | None, labels: Tensor, message: str, encoder_folder: Path, short: Tensor
) -> None:
    with pytest.raises(AaspError, match=message) as error:
        model = AaspForAudioClassification.from_pretrained(encoder_folder, num_labels=count, problem_type=kind)
        model(short, labels=labels)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["encoder", "classifier"])
@pytest.mark.parametrize("where", ["cpu", "disk", "the transformer on disk"])
def test_weights_that_are_off_the_device_are_fetched(
    kind: str, where: str, encoder_folder: Path, classifier_folder: Path, tmp_path: Path, wave: Tensor
) -> None:
    encoders = {"encoder": (AaspModel, encoder_folder), "classifier": (AaspForAudioClassification, classifier_folder)}
    loader, place = encoders[kind]
    whole = loader.from_pretrained(place)
    device_map = {"": where}
    if where == "the transformer on disk":
        inner = "model" if kind == "encoder" else "model.encoder"
        parts = ["frontend", "stem"] + ["norm", "head"] * (kind == "classifier")
        device_map = {f"{inner if part in ('frontend', 'stem') else 'model'}.{part}": "cpu" for part in parts}
        device_map |= {f"{inner}.encoder": "disk"} | ({"model.layer_weights": "cpu"} if kind == "classifier" else {})
    model = loader.from_pretrained(place, device_map=device_map, offload_folder=tmp_path)
    with torch.no_grad():
        expected, found = whole(wave, output_hidden_states=True), model(wave, output_hidden_states=True)
    assert torch.equal(found[0], expected[0])
    assert all(torch.equal(a, b) for a, b in zip(found.hidden_states, expected.hidden_states, strict=True))
    assert any(parameter.is_meta for parameter in model.parameters()) is (where != "cpu")
    with torch.no_grad():
        assert torch.equal(model(wave)[0], expected[0])  # and again


def test_a_copy_is_a_model_of_its_own(model: AaspModel, short: Tensor) -> None:
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.model.encoder.class_token.add_(1)
        assert not torch.equal(other(short).last_hidden_state, model(short).last_hidden_state)
        other.model.encoder.class_token.sub_(1)


def test_attributes_that_transformers_reads(model: AaspModel) -> None:
    assert model.main_input_name == "input_values" and model.base_model is model
    assert model.num_parameters() == sum(p.numel() for p in model.model.parameters())
    assert model.supports_tp_plan in (True, False)
