"""Codes of patches against k-means written out in numpy, over processes, and within AaSP."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_methods import batch, build, small

from aasp.config import fingerprint, to_dict
from aasp.errors import AaspError
from aasp.pretrain.codebook import Codebook, patch_codes
from aasp.pretrain.encoding import to_logmel
from aasp.pretrain.losses.codes import code_loss

ALONE = lambda tensor: (tensor, 0)
ALL = torch.ones(40)
KMEANS = {"codebook": "kmeans", "codebook.count": 12}


def clouds(count: int, seed: int) -> torch.Tensor:
    """Vectors (count, 3) around four places."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.tensor([[0.0, 0, 0], [5, 0, 0], [0, 5, 0], [0, 0, 5]])
    return places[torch.randint(4, (count,), generator=generator)] + 0.1 * torch.randn(count, 3, generator=generator)


def test_a_code_is_the_nearest_centre() -> None:
    book = Codebook(7, 3, 0.9)
    book.centres.copy_(torch.randn(7, 3, generator=torch.Generator().manual_seed(0)))
    x = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(1))
    distance = np.linalg.norm(x.numpy()[:, :, None] - book.centres.numpy(), axis=-1)
    np.testing.assert_array_equal(book(x), distance.argmin(-1))


@pytest.mark.parametrize("name", ["aasp_tiny", "beats_tiny"])
def test_codes_are_the_nearest_under_autocast_too(name: str) -> None:
    """Level and shape of a quiet patch are far from zero: in bf16, the products of a third had another code."""
    method = build(name, **(KMEANS if name == "aasp_tiny" else {})).train()
    clips = to_logmel(method.student, batch(16_000, 12_000, 16_000))
    mel = clips.mel * torch.linspace(0.1, 3, 3)[:, None, None] - 2.0
    clips = replace(clips, mel=mel)
    codes = []
    for dtype in (torch.bfloat16, None):
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            if name == "aasp_tiny":
                if dtype:  # the centres, too, are learned under autocast
                    patch_codes(method.codebook, method.student.stem, clips, ALONE, learn=True)
                codes.append(patch_codes(method.codebook, method.student.stem, clips, ALONE, learn=False))
            else:
                codes.append(method.tokenizer(clips, method.student.stem))
    assert torch.equal(*codes) and len(codes[0].unique()) > 4


def test_it_learns_by_moving_averages_and_unused_codes_restart() -> None:
    torch.manual_seed(0)
    book = Codebook(6, 3, 0.5)
    book.learn(clouds(40, 0), ALL, ALONE)
    for seed in range(1, 12):
        x = clouds(40, seed)
        centres, counts, sums = (t.double().numpy() for t in (book.centres, book.counts, book.sums))
        state = torch.get_rng_state()
        weights = (torch.arange(40) % 5 > 0).float()  # every fifth vector is padding
        book.learn(x, weights, ALONE)
        torch.set_rng_state(state)
        drawn = x[torch.multinomial(weights, 6, replacement=True)].double().numpy()
        x = x[weights > 0].double().numpy()
        codes = np.linalg.norm(x[:, None] - centres, axis=-1).argmin(1)
        hits = np.bincount(codes, minlength=6)
        counts = 0.5 * counts + 0.5 * hits
        sums = 0.5 * sums + 0.5 * np.stack([x[codes == k].sum(0) for k in range(6)])
        centres, unused = sums / counts[:, None], counts < 0.02
        centres[unused], counts[unused] = drawn[unused], 1
        np.testing.assert_allclose(book.centres, centres, atol=1e-4)
        np.testing.assert_allclose(book.counts, counts, rtol=1e-5)
    nearest = torch.cdist(clouds(40, 99), book.centres).min(1).values
    assert nearest.max() < 1, "all four places have a code"
    share = book.counts.double() / book.counts.double().sum()
    assert float(book.perplexity()) == pytest.approx(float(torch.exp(-(share * share.log()).sum())), rel=1e-5)


def test_two_processes_keep_one_codebook_that_has_seen_both_halves() -> None:
    """Gathering is simulated: the second process's tensors are those of an earlier run."""
    whole, halves = clouds(40, 3), clouds(40, 3).chunk(2)
    books = [Codebook(5, 3, 0.9) for _ in range(3)]
    for book in books:
        book.centres.copy_(clouds(5, 4))
        book.sums.copy_(book.centres)
        book.counts.fill_(1.0)
    sent: list[list[torch.Tensor]] = [[], []]
    for rank in (0, 1):
        book = Codebook(5, 3, 0.9)
        book.load_state_dict(books[0].state_dict())
        book.learn(halves[rank], ALL[:20], lambda t, rank=rank: (sent[rank].append(t), (t, 0))[1])
    for rank in (0, 1):
        received = iter([torch.cat(both) for both in zip(*sent, strict=True)])
        books[rank].learn(halves[rank], ALL[:20], lambda _, received=received: (next(received), 0))
    books[2].learn(whole, ALL, ALONE)
    for name in ("centres", "sums", "counts"):
        torch.testing.assert_close(getattr(books[0], name), getattr(books[1], name), rtol=0, atol=0)
        torch.testing.assert_close(getattr(books[0], name), getattr(books[2], name))


def test_code_loss_is_cross_entropy_over_valid_patches() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=generator)
    codes = torch.randint(5, (2, 3, 4), generator=generator)
    valid = torch.rand(2, 3, 4, generator=generator) < 0.6
    probability = np.exp(logits.double().numpy())
    probability /= probability.sum(-1, keepdims=True)
    terms = -np.log(np.take_along_axis(probability, codes.numpy()[..., None], -1))[..., 0]
    assert float(code_loss(logits, codes, valid)) == pytest.approx(terms[valid.numpy()].mean(), rel=1e-5)


def test_aasp_predicts_codes_beside_the_teachers_targets() -> None:
    plain, coded = build("aasp_tiny", codebook="none").train(), build("aasp_tiny", **KMEANS).train()
    assert coded.predictor.head.out_features == plain.predictor.head.out_features + 12
    out = coded(batch(20_000, 20_000, 9_000))
    losses = out["losses"]
    weights = coded.config.losses
    expected = weights.frame * losses["frame"] + weights.utterance * losses["utterance"]
    expected = expected + weights.contrastive * losses["contrastive"] + losses["codes"]
    assert out["loss"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert losses["codes"].item() == pytest.approx(np.log(12), rel=0.5)
    assert 1 <= float(out["diagnostics"]["codes_used"]) <= 12
    assert {"codebook.centres", "codebook.counts", "codebook.sums"} <= coded.state_dict().keys()
    before = coded.codebook.centres.clone()
    coded.eval()(batch(20_000, 20_000, 20_000))
    assert torch.equal(before, coded.codebook.centres), "what is only measured teaches nothing"
    coded.train()(batch(20_000, 20_000, 20_000))
    assert not torch.equal(before, coded.codebook.centres)


def test_patches_beyond_a_clips_end_are_not_learned_from() -> None:
    method = build("aasp_tiny", **KMEANS)
    seen: list[torch.Tensor] = []
    method.codebook.learn = lambda vectors, weights, gather: seen.append(weights)  # type: ignore[method-assign]
    clips = to_logmel(method.student, batch(20_000, 9_000))
    codes = patch_codes(method.codebook, method.student.stem, clips, ALONE, learn=True)
    assert torch.equal(seen[0], clips.valid.flatten()) and codes.shape == clips.valid.shape


def test_recipes_without_codes_are_unchanged() -> None:
    assert "codebook" not in to_dict(small("aasp_tiny", codebook="none"))["method"]
    assert to_dict(small("aasp_tiny", **KMEANS))["method"]["codebook"]["count"] == 12
    assert fingerprint(small("aasp_tiny", **KMEANS)) != fingerprint(small("aasp_tiny"))
    with pytest.raises(AaspError, match=r"codebook.*count.*1"):
        small("aasp_tiny", **{"codebook": "kmeans", "codebook.count": 1})
    with pytest.raises(AaspError, match=r"codebook.*'means'"):
        small("aasp_tiny", codebook="means")
