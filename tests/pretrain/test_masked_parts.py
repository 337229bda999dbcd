"""The parts of masked systems in plain numpy: losses, masks, predictors, mixtures, labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_methods import batch, build
from torch import Tensor

from aasp.errors import AaspError
from aasp.pretrain import recipes
from aasp.pretrain.encoding import Clips, encode_visible, encode_visible_layers, to_logmel
from aasp.pretrain.losses.patches import discriminative_loss
from aasp.pretrain.masking import MaskingConfig, draw_masks
from aasp.pretrain.mixtures import MixingConfig, mean_of_sources, mixed_with
from aasp.pretrain.predictors import PredictorConfig, build_predictor
from aasp.pretrain.prototypes import Centre, PrototypeHead
from aasp.pretrain.tokenizers import RandomConfig

ALONE = lambda tensor: (tensor, 0)
COMPARED = [  # vectors of one batch's clips: (clips, views, hidden patches, values)
    torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(2)
]
COUNTS = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(2)) < 0.7


def softmax(x: np.ndarray) -> np.ndarray:
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def patches_of(mel: Tensor) -> np.ndarray:
    """(clips, frames, 128) to (clips, 16 x 16 patches in time-major order, 256), by a loop."""
    columns = -(-mel.shape[1] // 16)
    padded = np.zeros((len(mel), columns * 16, 128))
    padded[:, : mel.shape[1]] = mel.numpy()
    cut = lambda clip, g, f: clip[16 * g : 16 * g + 16, 16 * f : 16 * f + 16].reshape(-1)
    return np.stack([[cut(clip, g, f) for g in range(columns) for f in range(8)] for clip in padded])


# Losses


def test_a_hidden_patch_is_contrasted_with_the_others_of_its_view() -> None:
    predicted, patches = COMPARED
    terms = []
    for b, v, i in np.argwhere(COUNTS.numpy()):
        candidates = [j for j in range(5) if COUNTS[b, v, j]]
        logits = np.array([float(predicted[b, v, i] @ patches[b, v, j]) for j in candidates])
        terms.append(-np.log(softmax(logits)[candidates.index(i)]))
    assert float(discriminative_loss(predicted, patches, COUNTS)) == pytest.approx(np.mean(terms), rel=1e-5)


def test_a_centre_is_that_of_all_processes() -> None:
    """Two processes, one after the other: what the second sends is known from a run before."""
    _, teacher = COMPARED
    halves, sent, centres = [(teacher[:1], COUNTS[:1]), (teacher[1:], COUNTS[1:])], [], []
    for half in halves:
        Centre(4, 0.5, lambda t: (sent.append(t), (t, 0))[1])(*half)
    for half in halves:
        centres.append(Centre(4, 0.5, lambda _: (torch.cat(sent), 0)))
        centres[-1](*half)
    whole = Centre(4, 0.5, ALONE)
    whole(teacher, COUNTS)
    assert torch.equal(centres[0].mean, centres[1].mean)
    torch.testing.assert_close(centres[0].mean, whole.mean)


@torch.no_grad()
def test_a_prototype_head_gives_cosines() -> None:
    torch.manual_seed(0)
    head, x = PrototypeHead(6, 8, 4, 5), torch.randn(3, 6)
    expected = unit(head.layers(x).numpy()) @ unit(head.prototypes.weight.numpy()).T
    np.testing.assert_allclose(head(x), expected, atol=1e-5)
    scaled = PrototypeHead(6, 8, 4, 5, gains=True)
    scaled.load_state_dict(head.state_dict() | {"gains": torch.arange(1.0, 6.0)})
    np.testing.assert_allclose(scaled(x), expected * np.arange(1, 6), atol=1e-5)
    assert build("matpac_tiny").head.gains.tolist() == [1.0] * 24


# Masks, predictors, mixtures, labels


def test_clusters_hide_whole_squares() -> None:
    """Sides of 3 to 5: the visible patches that are left lie side by side; the count is exact."""
    torch.manual_seed(0)
    masks = draw_masks(recipes.get("ssast_base").method.masking, (64, 8), torch.full((8,), 64))
    assert masks.hidden.shape == (8, 1, 400)
    hidden = torch.zeros(8, 512, dtype=torch.bool).scatter(1, masks.hidden[:, 0], True).view(8, 64, 8)
    visible = ~hidden
    alike = lambda x: float((x[:, 1:] & x[:, :-1]).sum() / x[:, 1:].sum())
    single = draw_masks(MaskingConfig(views=1, keep_ratio=112 / 512, scheme="random"), (64, 8), torch.full((8,), 64))
    scattered = torch.zeros(8, 512, dtype=torch.bool).scatter(1, single.visible[:, 0], True).view(8, 64, 8)
    assert alike(visible) > 0.5 > 0.3 > alike(scattered)
    config = MaskingConfig(views=2, keep_ratio=0.25, scheme="clustered", block=3)
    short = draw_masks(config, (6, 8), torch.tensor([6, 3]))
    assert short.hidden[1][short.hidden_valid[1]].max() < 24 and short.hidden_valid.sum(2).tolist() == [
        [36] * 2,
        [18] * 2,
    ]


@torch.no_grad()
def test_windows_of_sixteen_places_are_shifted_in_time_only() -> None:
    """Windows begin at 0, 4, 8, in the second block at 0, 2, 6: the first block's change at columns 0-3 goes to 0-5.
    A grid of 4 columns is one window."""
    torch.manual_seed(0)
    for depth, columns, reached in ((1, 10, 4), (2, 10, 6), (2, 4, 4)):
        grid, everywhere = (columns, 8), torch.arange(8 * columns)[None]
        predictor = build_predictor(PredictorConfig("window", depth, 16, 2), 8, 8)
        context = torch.randn(1, 8 * columns, 8)
        changed = context.clone()
        changed[:, 1] += 1.0  # the first visible place, (0, 0)
        answer = lambda x, p=predictor, e=everywhere, g=grid: p(x, e[:, :-1], e, g)
        moved = (answer(changed) - answer(context))[0].abs().amax(-1).view(grid) > 1e-6
        reach = torch.zeros(grid, dtype=torch.bool)
        reach[:reached, :4] = True
        assert torch.equal(moved, reach), (depth, columns)


@torch.no_grad()
def test_each_block_has_its_own_weighted_sum_of_layers() -> None:
    torch.manual_seed(0)
    predictor = build_predictor(PredictorConfig("weighted", 2, 16, 2), 8, 8, layers=3)
    layers, visible, hidden = torch.randn(1, 5, 3, 8), torch.arange(4)[None], torch.arange(4, 12)[None]
    answer = predictor(layers, visible, hidden, (4, 3))
    assert (predictor(layers.roll(1, 2), visible, hidden, (4, 3)) - answer).abs().max() > 1e-3
    predictor.layer_weights.copy_(torch.eye(3)[[0, 2]])  # the first block gets layer 0, the second layer 2
    answers = predictor(layers, visible, hidden, (4, 3))
    layers[:, :, 1] = 9.0
    torch.testing.assert_close(predictor(layers, visible, hidden, (4, 3)), answers)
    with pytest.raises(AaspError, match="form weighted mixes the encoder's layers, which this method does not give"):
        build("aasp_tiny", **{"predictor.form": "weighted"})


@torch.no_grad()
def test_layers_are_the_input_the_blocks_and_the_normalised_last() -> None:
    method = build("crossmae_tiny")
    clips = to_logmel(method.student, batch(16_000, 12_000))
    masks = draw_masks(method.config.masking, clips.grid, clips.columns)
    layers = encode_visible_layers(method.student, clips, masks.visible, masks.visible_valid)
    assert layers.shape[2] == 3
    torch.testing.assert_close(
        layers[:, :, -1], encode_visible(method.student, clips, masks.visible, masks.visible_valid)
    )
    torch.testing.assert_close(layers[0, 0, 0], method.student.encoder.class_token)


def test_a_mixture_is_the_greater_of_two_but_for_gaps() -> None:
    torch.manual_seed(0)
    mel = torch.randn(3, 40, 16)
    mel[1, 25:] = 0.0  # the second clip's end
    clips = Clips(mel, (10, 2), torch.tensor([10, 7, 10]), None, torch.tensor([40, 25, 40]))
    partner = torch.tensor([1, 2, 0])
    whole, mixed = mixed_with(clips, partner, MixingConfig(gaps=0), patch=4)
    assert torch.equal(whole.mel[:3], mel) and whole.columns.tolist() == [10, 7, 10, 10, 7, 10]
    expected = np.maximum(mel.numpy(), mel.numpy()[[1, 2, 0]])
    expected[0, 25:], expected[1, 25:] = mel[0, 25:], 0.0  # no partner there, no clip there
    np.testing.assert_array_equal(whole.mel[3:], expected)
    assert mixed.sum(1).tolist() == [14, 14, 20], "patches of two subbands, up to the end of the shorter one"
    for _ in range(20):
        both, mixed = mixed_with(clips, partner, MixingConfig(gaps=2, gap=0.2), patch=4)
        alone = (both.mel[3:] == mel).all(2).numpy()
        np.testing.assert_array_equal(np.where(alone[..., None], mel, expected), both.mel[3:])
        assert alone[2].sum() == 16, "two gaps of two patches, which don't overlap"
        columns = mixed.unflatten(1, (10, 2))
        assert torch.equal(columns[..., 0], columns[..., 1])
        np.testing.assert_array_equal(~columns[2, :, 0].repeat_interleave(4), alone[2])
    assert recipes.get("sslam_base").method.mixing.gap * 1024 == 240
    with pytest.raises(AaspError, match=r"mixing: 3 gaps of 0.4 are longer than the clip; give a gap of at most 0.333"):
        MixingConfig(gaps=3, gap=0.4)


def test_targets_of_a_mixture_are_the_mean_of_its_sources_where_they_are_mixed() -> None:
    target, partner = torch.randn(2, 4, 3), torch.tensor([1, 0])
    mixed = torch.tensor([[True, True, False, False], [False, True, False, True]])
    mean = mean_of_sources(target, target[partner], mixed).numpy()
    both = (target[0] + target[1]).numpy() / 2
    expected = np.where(mixed.numpy()[..., None], both, target)
    np.testing.assert_allclose(mean, expected, atol=1e-6)


def test_a_label_is_the_code_nearest_to_the_projected_patch() -> None:
    torch.manual_seed(0)
    method = build("beats_tiny")
    clips = to_logmel(method.student, batch(16_000, 12_000))
    tokenizer = RandomConfig(count=9, width=5).build(method.student.config)
    projected = unit(patches_of(clips.mel) @ tokenizer.projection.double().numpy().T)
    codes = unit(tokenizer.codebook.centres.double().numpy())
    distance = np.linalg.norm(projected[:, :, None] - codes, axis=-1)
    labels = tokenizer(clips, method.student.stem)
    # Of two codes that are equally near, rounding chooses.
    chosen = np.take_along_axis(distance, labels.numpy()[..., None], -1)[..., 0]
    np.testing.assert_allclose(chosen[clips.valid], distance.min(-1)[clips.valid], atol=1e-5)
    assert len(labels.unique()) > 4
