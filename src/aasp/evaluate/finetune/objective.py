"""The objective of fine-tuning: initial head, step, loss, and learning rates of the weights.

Legend: B clips of a batch, n of the train part; S samples, T frames, M mel bins, K classes, D' pooled width.
Source: the recipes of EAT and M2D; fitting the head before fine-tuning: Kumar et al. 2022 (LP-FT).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn
from torch.nn import functional

from aasp.audio.sounds import Sound
from aasp.datasets.index import Skipped
from aasp.evaluate.features import batches, nothing_usable
from aasp.evaluate.finetune.augment import augmented
from aasp.evaluate.finetune.norm import Gather, JoinedBatchNorm
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.evaluate.head import LinearHead
from aasp.evaluate.logistic import LinearHeadSolver
from aasp.model.audio_classifier import AudioClassifier
from aasp.model.windows import encode_windows
from aasp.training.objective import Objective

# C of the head times D'. A strong penalty: a head that relies on directions in which clips hardly differ scores as well
# before the first step, but may fail after it (docs/decisions/evaluation.md).
STRENGTH = 10.0
MIN_BIAS = -20.0  # bias of a class without a train clip: it must be finite to be trained


class FinetuneObjective(Objective):
    """A classifier and its loss; `forward` is the step. Its health needs no check: labels prevent collapse.

    Args:
        classifier: the model, trained in place.
        recipe: how it is trained.
        gather: with several processes, concatenates a tensor over them (see `JoinedBatchNorm`).
    """

    def __init__(self, classifier: AudioClassifier, recipe: FinetuneRecipe, gather: Gather | None = None) -> None:
        super().__init__()
        self.recipe, self.model, self.gather = recipe, classifier, gather
        if gather is not None and isinstance(classifier.norm, nn.BatchNorm1d):
            joined = JoinedBatchNorm(classifier.norm.num_features, gather)
            joined.load_state_dict(classifier.norm.state_dict())
            classifier.norm = joined
        if recipe.train == "head":
            classifier.encoder.requires_grad_(False)
        elif recipe.train == "frozen-stem":
            classifier.encoder.stem.requires_grad_(False)

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        """Loss of one batch.

        Args:
            batch: "wave", shape (B, S), zero beyond each clip's end; "length", valid samples, shape (B,), on the host;
                "target", shape (B, K), 1 for each label; for events, one per time patch of a crop, (B, G, K); for
                numbers, the distance from the mean in standard deviations, (B, 1).
            diagnose: also return diagnostics.

        Returns:
            "loss"; "losses", by name; "diagnostics": share of clips, or of time patches with a label, whose most
            probable class is a label; for numbers the mean absolute error in standard deviations; and the stem's
            diagnostics; all 0-d tensors.
        """
        augment, encoder = self.recipe.augment, self.model.encoder
        target_BK = batch["target"]
        with encoder.frontend.gradients():
            mel_BTM, frames_B, target_BK = augmented(encoder, augment, batch["wave"], batch["length"], target_BK)
        stages, valid_BG = self._seen(mel_BTM, frames_B)
        if self.model.config.over_time:  # a row is a time patch that is not padding and was not dropped
            logits_BK = self.model.classify_steps(stages, valid_BG)[valid_BG]
            target_BK = target_BK[:, : valid_BG.shape[1]][valid_BG.to(target_BK.device)]
        else:
            logits_BK = self.model.classify(stages, valid_BG)
        loss = self._loss(logits_BK, target_BK)
        diagnostics = self._diagnostics(logits_BK.detach(), target_BK) if diagnose else {}
        if diagnose:
            diagnostics |= encoder.stem.diagnostics(mel_BTM.detach())
        return {"loss": loss, "losses": {self.recipe.loss: loss}, "diagnostics": diagnostics}

    def _diagnostics(self, logits_BK: Tensor, target_BK: Tensor) -> dict[str, Tensor]:
        """Accuracy or error over the rows of the step."""
        if self.recipe.loss == "squared":
            return {"error": (logits_BK - target_BK).abs().mean()}
        hits = (target_BK.gather(1, logits_BK.argmax(1, keepdim=True)) > 0).float()
        if self.model.config.over_time:
            labelled = (target_BK > 0).any(1)
            return {"hits": hits[labelled].sum() / labelled.sum().clamp_min(1)}
        return {"hits": hits.mean()}

    def _seen(self, mel_BTM: Tensor, frames_B: Tensor) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """The layers that the classifier reads, for all time patches or those left by patchout, in adjacent windows."""
        encoder, layers = self.model.encoder, self.model.reads_layers
        columns = [encoder.stem.grid(frames)[0] for frames in frames_B.tolist()]
        patchout = self.recipe.augment.patchout
        options: dict[str, Any] = dict(overlap=False, patchout=patchout, batch=None)
        stages, valid_BG = encode_windows(encoder, mel_BTM, columns, layers=layers, **options)
        return [*stages[:-2], stages[-1]], valid_BG  # the last block's output is read normalised

    def train(self, mode: bool = True) -> FinetuneObjective:
        """Training mode; a probe's standardisation stays as fitted."""
        super().train(mode)
        if self.recipe.head == "probe":
            self.model.norm.eval()
        return self

    def _loss(self, logits_BK: Tensor, target_BK: Tensor) -> Tensor:
        """Mean over clips, or their time patches, of the sum over classes."""
        if self.recipe.loss == "squared":
            return self._mean((logits_BK - target_BK).square().sum(1))
        smooth = self.recipe.label_smoothing
        target_BK = target_BK * (1 - smooth) + smooth / target_BK.shape[1]
        if self.recipe.loss == "sigmoid":
            terms = functional.binary_cross_entropy_with_logits(logits_BK, target_BK, reduction="none")
        else:
            terms = -target_BK * functional.log_softmax(logits_BK, dim=1)
        return self._mean(terms.sum(1))

    def _mean(self, terms_B: Tensor) -> Tensor:
        """This process's part of the mean over the rows of all processes."""
        if self.gather is None:
            return terms_B.mean()
        counts, _ = self.gather(terms_B.new_full((1,), len(terms_B)))
        return terms_B.sum() / counts.mean()

    def gradient_diagnostics(self) -> dict[str, Tensor]:
        """Metrics computed between backward and the optimizer's step."""
        return self.model.encoder.stem.gradient_diagnostics()

    def learning_rate_share(self, name: str) -> float:
        """Factor on the learning rate of the parameter `name` of this module: 1 for the stem, as in EAT."""
        if not name.startswith("model.encoder.encoder.blocks."):
            return 1.0
        return self.recipe.layer_decay ** (self.model.config.encoder.encoder.depth - int(name.split(".")[4]))


def fit_head(
    classifier: AudioClassifier,
    sounds: Sequence[Sound],
    y: np.ndarray,
    loss: Literal["softmax", "sigmoid", "squared"],
    machine: Accelerator,
) -> None:
    """Initialise the head, in place, as a logistic regression on the encoder's embeddings of whole train clips.

    Batch normalisation takes their mean and deviation. Clips that can't be decoded are left out: training reports them.
    All embeddings are held in memory, in several copies of 8 D' bytes per clip.

    Args:
        classifier: its encoder computes the embeddings.
        sounds: n train clips.
        y: their class indices (n,), or multi-hot labels (n, K).
        loss: loss of the later training: softmax fits one regression over all classes, sigmoid one for each class.
        machine: processes, all of which must call this: each embeds its share, the first fits.

    Raises:
        AaspError: no clip can be decoded.
    """
    world = machine.num_processes
    shares = gather_object([embeddings(classifier, sounds[machine.process_index :: world])])
    X = np.empty((len(sounds), classifier.head.in_features))
    for process, (share, _) in enumerate(shares):
        X[process::world] = share
    usable = np.isfinite(X).all(axis=1)
    if not usable.any():
        raise nothing_usable([file for _, unusable in shares for file in unusable])
    found: list[LinearHead | None] = [None]
    if machine.is_main_process:
        found = [first_head(X[usable], y[usable], len(classifier.config.classes), loss)]
    (head,) = broadcast_object_list(found)
    begin_with(classifier, head)


def first_head(X: np.ndarray, y: np.ndarray, classes: int, loss: str) -> LinearHead:
    """The initial head: a strongly penalised logistic regression on embeddings (n, D') and labels as in `fit_head`."""
    if loss == "sigmoid" and y.ndim == 1:
        y = np.eye(classes)[y]
    fitted = LinearHeadSolver(X, y, classes)
    return fitted.head(*next(fitted.path([STRENGTH / X.shape[1]])))


def embeddings(classifier: AudioClassifier, sounds: Sequence[Sound]) -> tuple[np.ndarray, list[Skipped]]:
    """The input of the head, or of its batch normalisation, for whole clips: float64 (n, D').

    A clip that cannot be decoded is NaN, and in the returned list.
    """
    X = np.full((len(sounds), classifier.head.in_features), np.nan)
    unusable: list[Skipped] = []
    for rows, found in batches(classifier.encoder, sounds, unusable, strict=False, layers=classifier.reads_layers):
        with torch.inference_mode():
            clip_BD = classifier.pooled(found.stages, found.valid)
            if isinstance(classifier.norm, nn.LayerNorm):
                clip_BD = classifier.norm(clip_BD)
        X[rows] = clip_BD.cpu().numpy()
    return X, unusable


@torch.no_grad()
def begin_with(classifier: AudioClassifier, head: LinearHead) -> None:
    """Set the classifier's head to a probe's; without batch normalisation, the weights absorb the standardisation."""
    weight, bias = head.weight.T, np.maximum(head.bias, MIN_BIAS)
    if isinstance(classifier.norm, nn.BatchNorm1d):
        assert classifier.norm.running_mean is not None and classifier.norm.running_var is not None
        classifier.norm.running_mean.copy_(torch.from_numpy(head.mean))
        classifier.norm.running_var.copy_(torch.from_numpy(head.scale**2) - classifier.norm.eps)
    else:
        weight = weight / head.scale
        bias = bias - weight @ head.mean
    classifier.head.weight.copy_(torch.from_numpy(weight))
    classifier.head.bias.copy_(torch.from_numpy(bias))
