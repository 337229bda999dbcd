"""One step of fine-tuning: augment, encode, classify, compare with the labels.

Legend: B clips, S samples, T frames, M mel bins, K classes, N patches, D' pooled width.
Source: the recipes of EAT and M2D.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.audio.augment import random_gain, random_noise, random_roll
from aasp.evaluate.finetune.recipe import AugmentConfig, FinetuneRecipe
from aasp.features.augment import spec_augment
from aasp.model.audio_classifier import AudioClassifier
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.windows import encode_windows


class FinetuneObjective(nn.Module):
    """A classifier and its loss; `forward` is the step.

    Args:
        classifier: what is trained, in place.
        recipe: how.
        class_weight_K: weight of each class in the loss, shape (K,); all alike when left out.
    """

    class_weight: Tensor

    def __init__(
        self, classifier: AudioClassifier, recipe: FinetuneRecipe, class_weight_K: Tensor | None = None
    ) -> None:
        super().__init__()
        self.recipe, self.model = recipe, classifier
        weight = torch.ones(len(classifier.config.classes)) if class_weight_K is None else class_weight_K
        self.register_buffer("class_weight", weight.float())
        if recipe.train == "head":
            classifier.encoder.requires_grad_(False)
        elif recipe.train == "frozen-stem":
            classifier.encoder.stem.requires_grad_(False)
        self.average = copy.deepcopy(classifier).requires_grad_(False) if recipe.ema else None

    def forward(self, batch: Mapping[str, Tensor], diagnose: bool = True) -> dict[str, Any]:
        """Loss of one batch.

        Args:
            batch: "wave", shape (B, S), zero beyond each clip's end; "length", valid samples, shape (B,), on the host;
                "target", shape (B, K), 1 for each label.
            diagnose: also tell how the step went.

        Returns:
            "loss"; "losses", by name; "diagnostics": share of clips whose likeliest class is a label, and the stem's
            health; all 0-d tensors.
        """
        augment, encoder = self.recipe.augment, self.model.encoder
        target_BK = batch["target"]
        with torch.no_grad():
            mel_BTM, frames_B, target_BK = augmented(encoder, augment, batch["wave"], batch["length"], target_BK)
        stages, valid_BG = self._seen(mel_BTM, frames_B)
        logits_BK = self.model.classify(stages, valid_BG)
        loss = self._loss(logits_BK, target_BK)
        diagnostics = {}
        if diagnose:
            hits = target_BK.gather(1, logits_BK.detach().argmax(1, keepdim=True)) > 0
            diagnostics = {"hits": hits.float().mean()} | encoder.stem.diagnostics(mel_BTM)
        return {"loss": loss, "losses": {self.recipe.loss: loss}, "diagnostics": diagnostics}

    def _seen(self, mel_BTM: Tensor, frames_B: Tensor) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """What the classifier reads of clips, or of some of their time patches, in windows side by side."""
        encoder, layers = self.model.encoder, self.model.reads_layers
        columns = [encoder.stem.grid(frames)[0] for frames in frames_B.tolist()]
        patchout = self.recipe.augment.patchout
        options: dict[str, Any] = dict(overlap=False, patchout=patchout, batch=None)
        stages, valid_BG = encode_windows(encoder, mel_BTM, columns, layers=layers, **options)
        return [*stages[:-2], stages[-1]], valid_BG  # the last block's output is read normalised

    def train(self, mode: bool = True) -> FinetuneObjective:
        """Training mode; a probe's standardisation stays what it was fitted with."""
        super().train(mode)
        if self.recipe.head == "probe":
            self.model.norm.eval()
        return self

    def _loss(self, logits_BK: Tensor, target_BK: Tensor) -> Tensor:
        """Mean over clips of the sum over classes."""
        smooth = self.recipe.label_smoothing
        target_BK = target_BK * (1 - smooth) + smooth / target_BK.shape[1]
        if self.recipe.loss == "sigmoid":
            terms = functional.binary_cross_entropy_with_logits(logits_BK, target_BK, reduction="none")
        else:
            terms = -target_BK * functional.log_softmax(logits_BK, dim=1)
        return (terms * self.class_weight).sum(1).mean()

    def update_teacher(self, momentum: float) -> None:
        """Move the running average of the weights."""
        if self.average is not None:
            with torch.no_grad():
                ours: list[Tensor] = list(self.average.parameters())
                theirs: list[Tensor] = list(self.model.parameters())
                torch._foreach_lerp_(ours, theirs, 1.0 - momentum)
                for average, buffer in zip(self.average.buffers(), self.model.buffers(), strict=True):
                    average.copy_(buffer)

    def gradient_diagnostics(self) -> dict[str, Tensor]:
        """What can be read between backward and the optimizer's step."""
        return self.model.encoder.stem.gradient_diagnostics()

    def check_health(self, metrics: Mapping[str, float]) -> str | None:
        """Labels keep a classifier from collapsing: nothing but finite numbers is asked of it."""

    def learning_rate_share(self, name: str) -> float:
        """Share of the learning rate of the parameter `name` of this module."""
        depth, decay = self.model.config.encoder.encoder.depth, self.recipe.layer_decay
        part = name.removeprefix("model.encoder.")
        if part.startswith("encoder.blocks."):
            return decay ** (depth - int(part.split(".")[2]))
        input_norm = self.model.config.encoder.encoder.norm == "post" and part.startswith("encoder.norm.")
        if part.startswith("stem.") or part == "encoder.class_token" or input_norm:
            return decay ** (depth + 1) if self.recipe.stem_rate is None else self.recipe.stem_rate
        return 1.0


def augmented(
    encoder: AudioEncoder, config: AugmentConfig, wave_BS: Tensor, lengths_B: Tensor, target_BK: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-mel (B, T, M), its valid frames (B,) and targets (B, K) of augmented clips."""
    if config.gain_db:
        wave_BS = random_gain(wave_BS, config.gain_db)
    if config.roll_seconds:
        wave_BS = random_roll(wave_BS, lengths_B, round(config.roll_seconds * encoder.config.frontend.rate))
    if config.noise_snr_db is not None:
        wave_BS = random_noise(wave_BS, lengths_B, config.noise_snr_db)
    mixing = bool(torch.rand(()) < config.mixup)
    mix = Mix.draw(len(wave_BS), config.mixup_alpha) if mixing else None
    if mix and config.mixup_on == "waveform":
        wave_BS, lengths_B, target_BK = mix(wave_BS), mix.longer(lengths_B), mix(target_BK)
    mel_BTM, frames_B = encoder.frontend(wave_BS, lengths_B)
    if mix and config.mixup_on == "log-mel":
        mel_BTM, frames_B, target_BK = mix(mel_BTM), mix.longer(frames_B), mix(target_BK)
    if config.mask:
        mel_BTM = spec_augment(mel_BTM, frames_B, config.mask)
    return mel_BTM, frames_B, target_BK


class Mix:
    """Mixup (Zhang et al. 2018): each clip of a batch with another one.

    Args:
        weight_B: share of the clip itself, at least a half, shape (B,).
        partner_B: the other clip, shape (B,).
    """

    def __init__(self, weight_B: Tensor, partner_B: Tensor) -> None:
        self.weight_B, self.partner_B = weight_B, partner_B

    @classmethod
    def draw(cls, clips: int, alpha: float) -> Mix:
        """Weights from Beta(alpha, alpha), partners by a permutation."""
        weight_B = torch.distributions.Beta(alpha, alpha).sample((clips,))
        return cls(torch.maximum(weight_B, 1 - weight_B), torch.randperm(clips))

    def __call__(self, values: Tensor) -> Tensor:
        """Mix along the first dimension, shape (B, ...)."""
        weight = self.weight_B.to(values.device).view(-1, *[1] * (values.ndim - 1))
        return weight * values + (1 - weight) * values[self.partner_B.to(values.device)]

    def longer(self, lengths_B: Tensor) -> Tensor:
        """Length of each mixed clip, shape (B,)."""
        return torch.maximum(lengths_B, lengths_B[self.partner_B.to(lengths_B.device)])
