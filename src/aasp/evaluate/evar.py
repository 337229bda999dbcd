"""EVAR's linear evaluation: standardise on the train part, train one linear layer by Adam, stop on the valid part.

For every round and candidate: a StandardScaler fitted on the train part alone; one linear layer trained with
cross-entropy, or binary cross-entropy for several labels; batches of 200; at most 200 epochs, stopped when the
validation score has not risen for 20; the weights of the best epoch are restored. Epochs with equal scores are compared
by validation loss: 32 clips have few distinct scores, and training would stop too early. Nothing is refitted on train +
valid, and class imbalance is not corrected. Of several candidates, the best on the valid part is taken, ties by the
lower loss.

Learning rate: EVAR uses 3e-4 for 768 dimensions and 3e-5 for 3,840; here 3e-4 up to 1,536 and 3e-5 above.

Candidates of several layers, (n, L, D), get a *learned weighting*: each layer is standardised by itself, and the input
of the linear layer is their sum with softmax weights. These weights have their own learning rate: at 3e-5 they would
hardly change.

n clips, L layers, D dimensions, K classes. Source: Niizumi et al. 2023 (EVAR, in M2D and BYOL-A v2); Yang et al. 2021
(SUPERB) for the weighting; standardised layers, the limit of 1,536 and the rule for ties are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional

from aasp.evaluate.head import LinearHead
from aasp.evaluate.metrics import rank
from aasp.evaluate.probe import Chosen, ProbeResult, Progress, choose_each, each_candidate
from aasp.evaluate.task import Round, Task


@dataclass(frozen=True)
class Evar:
    """Settings of the preset; `lr` None depends on the width: `narrow_lr` up to `narrow` dimensions, else `wide_lr`."""

    lr: float | None = None
    narrow_lr: float = 3e-4
    wide_lr: float = 3e-5
    narrow: int = 1536
    weighting_lr: float = 1e-2
    weight_decay: float = 1e-8
    batch: int = 200
    epochs: int = 200
    patience: int = 20

    def rate(self, width: int) -> float:
        """Learning rate of a linear layer on `width` dimensions."""
        return self.lr or (self.narrow_lr if width <= self.narrow else self.wide_lr)


class Readout(nn.Module):
    """One linear layer, on the weighted sum of the layers if there are several."""

    def __init__(self, layers: int, width: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, classes)
        self.weighting = nn.Parameter(torch.zeros(layers), requires_grad=layers > 1)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.linear(torch.einsum("bld,l->bd", x_BLD, self.shares) if len(self.weighting) > 1 else x_BLD[:, 0])

    @property
    def shares(self) -> Tensor:
        """Weight of each layer, (L,), sums to 1."""
        return self.weighting.softmax(0)


def evar_probe(
    features: Mapping[Any, np.ndarray],
    task: Task,
    *,
    seed: int = 0,
    settings: Evar | None = None,
    progress: Progress | None = None,
) -> ProbeResult:
    """Train and stop, choose among the candidates if there are several, and score on test, in every round of `task`.

    Args:
        features: candidates: key, e.g. (layer, pooling), to embeddings (n, D), or (n, L, D) to weight layers.
        task: labels and rounds; EVAR holds out a tenth where a set has no valid part.
        seed: of the initial weights and the order of clips.
        settings: the preset's if omitted.
        progress: called with (candidates done, candidates × rounds).

    Raises:
        AaspError: a candidate has another number of clips than the task, or values that are not finite.
    """

    def choose(features: Mapping[Any, np.ndarray], r: Round, done: Callable[[], None]) -> Chosen:
        found = each_candidate(features, lambda X: _train(X, task, r, settings or Evar(), seed), done)
        key = max(found, key=lambda one: found[one][0])
        valid = {one: value for one, ((value, _), _, _) in found.items()}
        return Chosen(key, found[key][1], found[key][2], valid)

    return choose_each(features, task, choose, progress)


def _train(
    X: np.ndarray, task: Task, r: Round, settings: Evar, seed: int
) -> tuple[tuple[float, float], dict[str, Any], LinearHead]:
    """Rank on the valid part, choices made there, and head of one candidate in one round."""
    layers, width, classes = X.shape[1] if X.ndim == 3 else 1, X.shape[-1], len(task.classes)
    X_train, X_valid = (X[part].reshape(len(part), -1).astype(np.float64) for part in (r.train, r.valid))
    scaler = StandardScaler().fit(X_train)
    ready = lambda x: torch.from_numpy(scaler.transform(x).astype(np.float32)).unflatten(1, (layers, width))
    train, valid = ready(X_train), ready(X_valid)
    target = torch.from_numpy(task.y[r.train].astype(np.float32 if task.multilabel else np.int64))
    truth = task.y[r.valid]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        readout = Readout(layers, width, classes)
    order = torch.Generator().manual_seed(seed)
    rate = settings.rate(width)
    groups = [{"params": readout.linear.parameters(), "lr": rate}]
    if layers > 1:
        groups.append({"params": [readout.weighting], "lr": settings.weighting_lr, "weight_decay": 0.0})
    optimizer = torch.optim.Adam(groups, weight_decay=settings.weight_decay)
    loss_of = functional.binary_cross_entropy_with_logits if task.multilabel else functional.cross_entropy

    def predict() -> np.ndarray:
        with torch.no_grad():
            logits = readout(valid)
        return (logits.sigmoid() if task.multilabel else logits.softmax(1)).numpy()

    best, best_epoch, best_state = (-1.0, 0.0), 0, {}
    for epoch in range(1, settings.epochs + 1):
        for rows in torch.randperm(len(train), generator=order).split(settings.batch):
            optimizer.zero_grad()
            loss_of(readout(train[rows]), target[rows]).backward()
            optimizer.step()
        reached = rank(truth, predict())
        if reached > best:
            best, best_epoch = reached, epoch
            best_state = {name: tensor.clone() for name, tensor in readout.state_dict().items()}
        elif epoch - best_epoch >= settings.patience:
            break
    readout.load_state_dict(best_state)
    chosen: dict[str, Any] = {"epoch": best_epoch, "lr": rate}
    if layers > 1:
        chosen["weights"] = [round(share, 4) for share in readout.shares.tolist()]
    return best, chosen, _head(readout, scaler, task, r)


def _head(readout: Readout, scaler: StandardScaler, task: Task, r: Round) -> LinearHead:
    """The trained readout as a head on raw concatenated layers; classes without a training clip are never predicted."""
    shares, weight = readout.shares.double().detach().numpy(), readout.linear.weight.double().detach().numpy().T
    bias = readout.linear.bias.double().detach().numpy().copy()
    present = task.y[r.train].any(axis=0) if task.multilabel else np.isin(np.arange(len(bias)), task.y[r.train])
    bias[~present] = -np.inf
    stacked = (shares[:, None, None] * weight).reshape(-1, len(bias))
    return LinearHead(scaler.mean_, scaler.scale_, stacked, bias, task.multilabel)
