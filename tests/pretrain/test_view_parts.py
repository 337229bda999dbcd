"""Augmented views, segments, spans, batch norm over processes and the losses of methods whose views agree."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from aasp.config import with_fields
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain import recipes
from aasp.pretrain.augment import AugmentConfig, augmented, corrupted, swapped
from aasp.pretrain.encoding import Clips, as_clips, encode_masked
from aasp.pretrain.heads import BatchHead
from aasp.pretrain.losses.bilinear import bilinear_loss
from aasp.pretrain.losses.cosine import cosine_loss
from aasp.pretrain.losses.distillation import distillation_loss
from aasp.pretrain.losses.gaussian import gaussian_loss
from aasp.pretrain.masking import MaskingConfig, draw_masks
from aasp.pretrain.methods import Gather
from aasp.pretrain.prototypes import Centre
from aasp.pretrain.segments import segments
from processes import together

SIZES = {"model.encoder.width": 16, "model.encoder.depth": 1, "model.vector": "none", "model.encoder.heads": 2}
alone: Gather = lambda tensor: (tensor, 0)


@pytest.fixture(scope="module")
def encoder() -> AudioEncoder:
    torch.manual_seed(0)
    return AudioEncoder(with_fields(recipes.get("atst_frame_tiny"), SIZES).model)


def clips_of(encoder: AudioEncoder, *frames: int) -> Clips:
    mel = torch.randn(len(frames), max(frames), 128, generator=torch.Generator().manual_seed(1))
    inside = torch.arange(max(frames)) < torch.tensor(frames)[:, None]
    return as_clips(encoder, (0.3 * mel + 0.1) * inside[..., None], torch.tensor(frames))


# Views


def test_views_of_a_clip_differ_end_where_it_ends_and_keep_the_statistics(encoder: AudioEncoder) -> None:
    clips = clips_of(encoder, 40, 25, 40)
    torch.manual_seed(0)
    pairs = augmented(clips, AugmentConfig(), alone)
    torch.manual_seed(0)
    assert torch.equal(augmented(clips, AugmentConfig(), alone).mel, pairs.mel), "all chance is the generator's"
    assert pairs.frames.tolist() == [40, 40, 25, 25, 40, 40] and pairs.columns.tolist() == [10, 10, 7, 7, 10, 10]
    assert not pairs.mel[2:4, 25:].any() and (pairs.mel[::2] - pairs.mel[1::2]).abs().mean() > 0.1
    cells = lambda x: torch.cat([mel[:frames].flatten() for mel, frames in zip(x.mel, x.frames, strict=True)])
    assert cells(pairs).mean() == pytest.approx(float(cells(clips).mean()), abs=1e-3)
    assert cells(pairs).std() == pytest.approx(float(cells(clips).std()), rel=1e-3)


def test_another_clip_of_the_batch_is_mixed_in_where_both_sound(encoder: AudioEncoder) -> None:
    clips = clips_of(encoder, 40, 25, 40)
    clips.mel[0], clips.mel[1, :25], clips.mel[2] = 0.0, 1.0, 2.0
    only = AugmentConfig(mixup=0.4, time=(1.0, 1.0), frequency=(1.0, 1.0))
    torch.manual_seed(0)
    mel = torch.stack([augmented(clips, only, alone).mel for _ in range(12)])  # rescaled: compare within each
    assert (mel[:, 2:4, 25:] == 0).all()
    first = mel[:, 0]
    late = (first[:, 25:] - first[:, :1]).abs().amax((1, 2)) > 1e-3
    assert 0 < late.sum() < 12, "of the shorter clip nothing is mixed in after its end, of the other one something"
    still = AugmentConfig(mixup=0.0, time=(1.0, 1.0), frequency=(1.0, 1.0))
    torch.testing.assert_close(augmented(clips, still, alone).mel, clips.mel.repeat_interleave(2, 0))
    single = clips_of(encoder, 30)
    torch.testing.assert_close(augmented(single, only, alone).mel, single.mel.repeat_interleave(2, 0))


def test_a_segment_is_mixed_with_the_same_segment_of_another_recording(encoder: AudioEncoder) -> None:
    clips = clips_of(encoder, *[20] * 6)  # two segments each of three recordings; each sounds in a bin of its own
    clips.mel = 8 * torch.eye(128)[:6, None].expand(-1, 20, -1).contiguous()
    only = AugmentConfig(mixup=0.4, time=(1.0, 1.0), frequency=(1.0, 1.0))
    torch.manual_seed(0)
    found = [augmented(clips, only, alone, views=1, segments=2).mel[:, 0].topk(2).indices.tolist() for _ in range(20)]
    assert {(row, bins[0]) for mel in found for row, bins in enumerate(mel)} == {(row, row) for row in range(6)}
    for row in range(6):
        assert {mel[row][1] for mel in found} == {(row + 2) % 6, (row + 4) % 6}
    single = clips_of(encoder, 30, 30)
    torch.testing.assert_close(augmented(single, only, alone, views=1, segments=2).mel, single.mel)


def test_segments_are_stretches_of_their_clip(encoder: AudioEncoder) -> None:
    clips = clips_of(encoder, 60, 14, 60)
    clips.mel += 100 * torch.arange(3)[:, None, None] + torch.arange(60.0)[:, None]
    pairs = segments(encoder, clips, 0.215)  # 20 frames
    assert pairs.mel.shape == (6, 20, 128) and pairs.frames.tolist() == [20, 20, 14, 14, 20, 20]
    for k, (part, frames) in enumerate(zip(pairs.mel, pairs.frames.tolist(), strict=True)):
        whole = clips.mel[k // 2]
        starts = [s for s in range(61 - frames) if torch.equal(whole[s : s + frames], part[:frames])]
        assert len(starts) == 1 and (starts == [0] or k not in (2, 3))
    begins = {float(segments(encoder, clips, 0.215).mel[0, 0].mean().round()) for _ in range(300)}
    assert len(begins) == 41, "anywhere, ends included"


@pytest.mark.parametrize(("name", "seconds"), [("cola_tiny", "3.88"), ("atst_clip_tiny", "0.01")])
def test_segments_that_cannot_be_are_one_line(name: str, seconds: str) -> None:
    recipe = with_fields(recipes.get(name), {"seconds": seconds})
    with pytest.raises(AaspError, match=f"seconds is {seconds}: segments are taken from crops of 3.87 s"):
        recipe.method.build(recipe, alone)


def test_spans_hide_their_share_exactly_and_in_stretches() -> None:
    config = MaskingConfig(views=1, keep_ratio=0.35, scheme="spans")
    torch.manual_seed(0)
    masks = draw_masks(config, (250, 1), torch.tensor([250, 100] * 50))
    counts = masks.hidden_valid.sum(-1)[:2, 0].tolist()
    assert counts == [162, 65], "65 % of the tokens"
    runs = []
    for hidden, valid in zip(masks.hidden[::2, 0], masks.hidden_valid[::2, 0], strict=True):
        places = hidden[valid].sort().values.tolist()
        steps = [k for k, (a, b) in enumerate(itertools.pairwise(places)) if b != a + 1]
        runs.append(len(places) / (len(steps) + 1))
    alone_mean = 1 / 0.35  # of single tokens, hidden by chance
    assert np.mean(runs) > 1.8 * alone_mean


def test_a_masked_student_sees_nothing_of_hidden_patches(encoder: AudioEncoder) -> None:
    clips, token = clips_of(encoder, 40, 24), torch.randn(16)
    masks = draw_masks(MaskingConfig(views=1, keep_ratio=0.35, scheme="spans"), clips.grid, clips.columns)
    with torch.no_grad():
        before = encode_masked(encoder, clips, masks, token)
        for b in range(2):
            for n in set(range(int(clips.columns[b]))) - set(masks.visible[b, 0][masks.visible_valid[b, 0]].tolist()):
                clips.mel[b, 4 * n : 4 * n + 4] += 1.0
        assert torch.equal(encode_masked(encoder, clips, masks, token), before)
        assert before.shape == (2, 11, 16) and not torch.equal(encode_masked(encoder, clips, masks, 2 * token), before)


def test_only_hidden_patches_are_corrupted(encoder: AudioEncoder) -> None:
    clips = clips_of(encoder, 40, 24, 40)
    masks = draw_masks(MaskingConfig(views=1, keep_ratio=0.4, scheme="random"), clips.grid, clips.columns)
    seen: list[set[str]] = []
    for _ in range(20):
        mel, kinds = corrupted(clips, masks, (4, 128)), set()
        for b in range(3):
            shown = set(masks.visible[b, 0][masks.visible_valid[b, 0]].tolist())
            for n in range(int(clips.columns[b])):
                now, was = mel[b, 4 * n : 4 * n + 4], clips.mel[b, 4 * n : 4 * n + 4]
                assert torch.equal(now, was) == (n in shown)
                aliens = [torch.equal(now, clips.mel[c, 4 * n : 4 * n + 4]) for c in range(3) if c != b]
                kinds |= set() if n in shown else {"alien" if any(aliens) else "noise"}
        seen.append(kinds)
        assert not mel[1, 24:].any()
    assert set().union(*seen) == {"alien", "noise"}


@pytest.mark.parametrize("recordings", [1, 3])
def test_a_segment_is_corrupted_by_the_same_segment_of_another_recording(
    encoder: AudioEncoder, recordings: int
) -> None:
    clips = clips_of(encoder, *[40] * 2 * recordings)
    masks = draw_masks(MaskingConfig(views=1, keep_ratio=0.4, scheme="random"), clips.grid, clips.columns)
    sources: list[set[int]] = [set() for _ in clips.mel]
    for _ in range(40):
        mel = corrupted(clips, masks, (4, 128), segments=2)
        for row, now in enumerate(mel):
            n = 4 * int(masks.hidden[row, 0, 0])
            sources[row] |= {k for k, one in enumerate(clips.mel) if torch.equal(now[n : n + 4], one[n : n + 4])}
    count = 2 * recordings
    assert sources == [{(row + 2 * step) % count for step in range(1, recordings)} for row in range(count)]


# Losses, in plain loops


def test_distillation_is_a_cross_entropy_and_its_centre_a_running_mean() -> None:
    random = np.random.default_rng(0)
    student, teacher, valid = random.normal(size=(4, 3, 5)), random.normal(size=(4, 3, 5)), random.random((4, 3)) < 0.7
    softmax = lambda x: np.exp(x) / np.exp(x).sum()
    terms = [
        -(softmax(teacher[i, j] / 0.5) * np.log(softmax(student[i, j] / 0.2))).sum()
        for i, j in itertools.product(range(4), range(3))
        if valid[i, j]
    ]
    found = distillation_loss(torch.tensor(student), torch.tensor(teacher), (0.2, 0.5), torch.tensor(valid))
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-5)
    logits = torch.tensor(teacher, dtype=torch.float32)
    centre = Centre(5, 0.9, lambda x: (torch.cat([x, x]), 0))
    assert torch.equal(centre(logits, torch.tensor(valid)), logits), "the mean of steps before"
    np.testing.assert_allclose(centre.mean, 0.1 * teacher[valid].mean(0), rtol=1e-5)
    before = centre.mean.clone()
    assert torch.equal(centre.eval()(logits), logits - before) and torch.equal(centre.mean, before)


def test_agreement_is_the_distance_of_unit_vectors() -> None:
    random = np.random.default_rng(0)
    p, t, valid = random.normal(size=(4, 3, 5)), random.normal(size=(4, 3, 5)), random.random((4, 3)) < 0.6
    unit = lambda x: x / np.sqrt((x * x).sum())
    terms = [((unit(p[i, j]) - unit(t[i, j])) ** 2).sum() for i in range(4) for j in range(3) if valid[i, j]]
    found = cosine_loss(torch.tensor(p), torch.tensor(t), torch.tensor(valid))
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-5)
    x = torch.arange(6.0)
    assert swapped(x).tolist() == [1, 0, 3, 2, 5, 4]


def test_bilinear_loss_is_that_of_plain_loops() -> None:
    random = np.random.default_rng(0)
    anchor, positive, weight = random.normal(size=(4, 6)), random.normal(size=(7, 6)), random.normal(size=(6, 6))
    terms = []
    for i in range(4):
        scores = [anchor[i] @ weight @ positive[j] for j in range(7)]
        terms.append(np.log(np.sum(np.exp(scores))) - scores[i + 2])
    found = bilinear_loss(*(torch.tensor(x) for x in (anchor, positive, weight)), first=2)
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-5)


def test_gaussian_loss_is_that_of_plain_loops() -> None:
    random = np.random.default_rng(0)
    z, directions = random.normal(size=(9, 4)) + 0.3, random.normal(size=(4, 3))
    t = np.linspace(-5, 5, 17)
    terms = []
    for s in range(3):
        values = []
        for knot in t:
            characteristic = np.mean([np.exp(1j * knot * (z[n] @ directions[:, s])) for n in range(9)])
            values.append(abs(characteristic - np.exp(-(knot**2) / 2)) ** 2 * np.exp(-(knot**2) / 2))
        terms.append(9 * sum((values[k] + values[k + 1]) / 2 * 0.625 for k in range(16)))
    assert float(gaussian_loss(torch.tensor(z), torch.tensor(directions))) == pytest.approx(np.mean(terms), rel=1e-5)


def test_gaussian_loss_knows_a_normal_distribution() -> None:
    generator = torch.Generator().manual_seed(0)
    directions = functional.normalize(torch.randn(8, 64, generator=generator), dim=0)
    z = torch.randn(2_000, 8, generator=generator)
    expected = (2 * np.pi) ** 0.5 * (1 - 3**-0.5)
    assert float(gaussian_loss(z, directions)) == pytest.approx(expected, rel=0.3)
    uniform, constant = (torch.rand(2_000, 8, generator=generator) - 0.5) * 12**0.5, torch.zeros(2_000, 8)
    for other in (2 * z, z + 1, z.abs(), z[:, :1].expand(-1, 8), constant):
        assert gaussian_loss(other, directions) > 20 * expected
    assert gaussian_loss(uniform, torch.eye(8)) > 2 * expected, "right in mean and variance, wrong in form"


# Over processes


WEIGHTS = {name: 0.5 * torch.randn_like(tensor) for name, tensor in BatchHead(5, 7, 4, alone).state_dict().items()}


def head_loss(x: Tensor, gather: Gather) -> Tensor:
    head = BatchHead(5, 7, 4, gather)
    head.load_state_dict(WEIGHTS)
    return cosine_loss(head(x), x[:, :4].flip(1))


def test_batch_norm_is_torchs_over_valid_tokens() -> None:
    torch.manual_seed(0)
    head, x, valid = BatchHead(5, 7, 4, alone), torch.randn(6, 2, 5), torch.rand(6, 2) < 0.7
    inner = head.inner(x[valid])
    expected = head.outer(functional.batch_norm(inner, None, None, training=True).relu())
    torch.testing.assert_close(head(x, valid)[valid], expected, rtol=1e-4, atol=1e-5)


LOSSES: dict[str, Callable[[Tensor, Gather], Tensor]] = {
    "head": head_loss,
    "bilinear": lambda x, gather: bilinear_loss(x, gather(2 * x.flip(1))[0], torch.eye(5), gather(x)[1]),
    "gaussian": lambda x, gather: gaussian_loss(gather(x)[0], torch.eye(5)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_processes_have_the_mean_loss_and_the_gradients_of_the_whole_batch(name: str) -> None:
    whole = torch.randn(8, 5, generator=torch.Generator().manual_seed(2), requires_grad=True)
    loss = LOSSES[name](whole, alone)
    loss.backward()

    def work(rank: int, gather: Gather) -> tuple[float, Tensor]:
        part = whole.detach()[4 * rank : 4 * rank + 4].clone().requires_grad_()
        own = LOSSES[name](part, gather)
        own.backward()
        return own.item(), part.grad  # type: ignore[return-value]

    found = together(2, work)
    assert np.mean([one for one, _ in found]) == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(torch.cat([g for _, g in found]) / 2, whole.grad, rtol=1e-4, atol=1e-6)
