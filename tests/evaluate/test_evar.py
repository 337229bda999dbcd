"""EVAR's head against a plain restatement; the best epoch is restored; layers are weighed; seeds differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from columns import task_of
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler

from aasp.evaluate.evar import Evar, Readout, evar_probe
from aasp.evaluate.task import Task

SPLIT = ["train"] * 60 + ["valid"] * 24 + ["test"] * 36
QUICK = Evar(lr=1e-2, batch=25, epochs=30, patience=5)


@pytest.fixture
def task(blobs: tuple) -> Task:
    return task_of([f"class {k}" for k in blobs[1]], SPLIT)


def initial(width: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    torch.manual_seed(seed)
    linear = Readout(1, width, classes).linear
    return linear.weight.detach().double().numpy(), linear.bias.detach().double().numpy()


def restated(
    X: np.ndarray, y: np.ndarray, settings: Evar, seed: int
) -> tuple[list[tuple[float, float]], list[np.ndarray]]:
    """(Accuracy, -loss) on valid and test probabilities after every epoch, by numpy: softmax, cross-entropy, Adam."""
    scaler = StandardScaler().fit(X[:60].astype(np.float64))
    train, valid, test = (scaler.transform(part.astype(np.float64)) for part in (X[:60], X[60:84], X[84:]))
    W, b = initial(X.shape[1], 4, seed)
    parameters, order = [W, b], torch.Generator().manual_seed(seed)
    first, second = [np.zeros_like(p) for p in parameters], [np.zeros_like(p) for p in parameters]
    softmax = lambda z: np.exp(z - z.max(1, keepdims=True)) / np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True)
    step, reached, probabilities = 0, [], []
    for _ in range(settings.epochs):
        permutation = torch.randperm(60, generator=order).numpy()
        for start in range(0, 60, settings.batch):
            rows = permutation[start : start + settings.batch]
            slope = (softmax(train[rows] @ W.T + b) - np.eye(4)[y[rows]]) / len(rows)
            step += 1
            for i, gradient in enumerate((slope.T @ train[rows], slope.sum(0))):
                gradient = gradient + settings.weight_decay * parameters[i]
                first[i] = 0.9 * first[i] + 0.1 * gradient
                second[i] = 0.999 * second[i] + 0.001 * gradient**2
                move = (first[i] / (1 - 0.9**step)) / (np.sqrt(second[i] / (1 - 0.999**step)) + 1e-8)
                parameters[i] -= settings.lr * move
        p = softmax(valid @ W.T + b)
        reached.append((float((p.argmax(1) == y[60:84]).mean()), float(np.log(p[np.arange(24), y[60:84]]).mean())))
        probabilities.append(softmax(test @ W.T + b))
    return reached, probabilities


def test_the_head_is_that_of_a_plain_restatement_at_its_best_epoch(blobs: tuple, task: Task) -> None:
    (X, y), settings = blobs, Evar(lr=0.1, batch=25, epochs=60, patience=5)
    found = evar_probe({"x": X}, task, seed=3, settings=settings)
    (chosen,) = found.chosen
    reached, probabilities = restated(X, y, settings, seed=3)
    best = 0
    for epoch in range(settings.epochs):
        if reached[epoch] > reached[best]:
            best = epoch
        elif epoch - best == settings.patience:
            break
    assert 0 < best < epoch < settings.epochs - 1, "patience ended it"
    assert chosen.setting["epoch"] == best + 1
    assert chosen.valid_scores["x"] == pytest.approx(reached[best][0])
    np.testing.assert_allclose(found.probabilities, probabilities[best], atol=1e-3)
    assert not np.allclose(found.probabilities, probabilities[epoch], atol=1e-2), "the last weights are others"


def test_the_same_seed_gives_the_same_head_and_another_one_another(blobs: tuple, task: Task) -> None:
    one, two, other = (evar_probe({"x": blobs[0]}, task, seed=seed, settings=QUICK) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.probabilities, two.probabilities)
    assert not np.array_equal(one.probabilities, other.probabilities)


def test_the_callers_random_numbers_are_left_alone(blobs: tuple, task: Task) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    evar_probe({"x": blobs[0]}, task, settings=QUICK)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("width", "lr"), [(192, 3e-4), (768, 3e-4), (1536, 3e-4), (1537, 3e-5), (3840, 3e-5)])
def test_the_learning_rate_follows_the_width(width: int, lr: float) -> None:
    assert Evar().rate(width) == lr
    assert Evar(lr=0.1).rate(width) == 0.1


def test_the_best_of_several_candidates_is_chosen_on_validation(
    blobs: tuple, task: Task, rng: np.random.Generator
) -> None:
    cheat = np.zeros((120, 4), np.float32)
    cheat[task.test] = np.eye(4)[blobs[1][task.test]]
    noise = rng.normal(size=(120, 40)).astype(np.float32)
    seen: list[tuple[int, int]] = []
    found = evar_probe(
        {"noise": noise, "x": blobs[0], "cheat": cheat}, task, settings=QUICK, progress=lambda *now: seen.append(now)
    )
    assert found.chosen[0].key == "x" and found.chosen[0].valid_scores.keys() == {"noise", "x", "cheat"}
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_learned_weighting_finds_the_informative_layer(blobs: tuple, task: Task, rng: np.random.Generator) -> None:
    X, _ = blobs
    layers = np.stack([rng.normal(size=X.shape), X, rng.normal(size=X.shape)], axis=1).astype(np.float32)
    settings = Evar(lr=3e-3, batch=25, weighting_lr=0.05)
    found = evar_probe({("weighted", "mean"): layers}, task, settings=settings)
    weights = found.chosen[0].setting["weights"]
    assert sum(weights) == pytest.approx(1, abs=1e-3) and weights[1] > 1.5 * max(weights[0], weights[2])
    # The head on raw layers is the mixture that was trained.
    head = found.chosen[0].head
    standard = (layers.reshape(120, -1) - head.mean) / head.scale
    by_layer = head.weight.reshape(3, 40, 4)
    ratio = by_layer[0] / by_layer[1]
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
    assert standard[:60].mean() == pytest.approx(0, abs=1e-6)


def test_several_labels_are_scored_by_average_precision(blobs: tuple, rng: np.random.Generator) -> None:
    X, y = blobs
    hot = (y[:, None] == np.arange(4)) | (rng.random((120, 4)) < 0.15)
    task = task_of([";".join("abcd"[k] for k in np.flatnonzero(row)) for row in hot], SPLIT)
    found = evar_probe({"x": X}, task, settings=QUICK)
    head = found.chosen[0].head
    valid = head.probabilities(X[60:84])
    expected = np.mean([average_precision_score(hot[60:84, k], valid[:, k]) for k in range(4)])
    assert found.chosen[0].valid_scores["x"] == pytest.approx(expected, abs=1e-6)
    assert found.score > hot.mean() + 0.15, "chance is the share of positives"


def test_a_class_without_a_training_clip_is_never_predicted(blobs: tuple) -> None:
    X, y = blobs
    split = ["test" if k == 3 or i > 100 else "train" if i < 80 else "valid" for i, k in enumerate(y)]
    found = evar_probe({"x": X}, task_of(y.tolist(), split), settings=QUICK)
    assert (found.probabilities[:, 3] == 0).all()
