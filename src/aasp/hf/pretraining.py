"""`AaspForPreTraining`: a recipe's method as a transformers model, for its `Trainer`.

Legend: B clips, S samples.
"""

from __future__ import annotations

import os
from copy import copy
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakSet

import torch
from accelerate import Accelerator, PartialState
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers.utils import ModelOutput

from aasp.hf.base import AaspPreTrainedModel
from aasp.hf.config import AaspConfig
from aasp.hf.folders import HUB_OPTIONS, move_settings, source_of
from aasp.hf.layers import adapt, set_eager
from aasp.hf.models import AaspModel
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.initial import Initial
from aasp.pretrain.objective import build_objective
from aasp.training.engine import gatherer


@dataclass
class AaspForPreTrainingOutput(ModelOutput):
    """The output of a pre-training step.

    Attributes:
        loss: the weighted sum, a 0-d tensor.
        losses: each loss by its name, 0-d tensors.
    """

    loss: Tensor | None = None
    losses: dict[str, Tensor] | None = None


class AaspForPreTraining(AaspPreTrainedModel):
    """A pre-training method: student, teacher, predictor, losses.

    The teacher is updated automatically after each step of the student's optimizer, in Trainer's loop or your own,
    also with gradient accumulation.

    Attributes:
        model: the method itself (`aasp.pretrain.methods.Method`).
        step: optimizer steps so far; the teacher's momentum is scheduled over the recipe's number of steps.

    Args:
        config: a configuration with the recipe in `pretraining`; the weights are random until loaded.

    Raises:
        AaspError: this recipe would train nothing.
    """

    step: Tensor

    def __init__(self, config: AaspConfig) -> None:
        super().__init__(config)
        self.recipe = config.recipe
        self.model = build_objective(self.recipe, _gather)
        config.exported = self.model.exported
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        _followed.add(self)
        adapt(self)
        self.post_init()

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | os.PathLike[str] | None, *arguments: Any, **options: Any
    ) -> Any:
        """Load a pre-training that `save_pretrained` wrote; or start one from a model, as `aasp pretrain --from` does.

        Args:
            pretrained_model_name_or_path: a pre-training; or a model of ours or of transformers', from which every
                encoder of the method is initialised, without its whitening: with `pretraining` in the configuration, or
                AaSP's defaults.
            arguments, options: as for `PreTrainedModel.from_pretrained`.

        Raises:
            AaspError: as `AaspPreTrainedModel.from_pretrained` does, or no weights of the model fit the recipe.
        """
        path = pretrained_model_name_or_path
        if path is None or source_of(path, seen := dict(options)).kind == "pretraining":
            return super().from_pretrained(path, *arguments, **options)
        hub = {name: options[name] for name in HUB_OPTIONS if name in options}
        encoder = AaspModel.from_pretrained(path, **hub).model
        config = copy(seen.pop("config", None) or AaspConfig.of(encoder.config))
        config.encoder = {**(config.encoder or {}), "whitened": 0}  # pre-training learns no whitening
        move_settings(seen, config)
        method = build_objective(config.recipe)
        Initial({"model": str(path), "model_hash": "", "weights": "a model's"}, encoder, {}).load_into(method)
        weights = {f"model.{name}": tensor for name, tensor in method.state_dict().items()}
        weights["step"] = torch.zeros((), dtype=torch.int64)
        return super().from_pretrained(None, *arguments, config=config, state_dict=weights, **seen)

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        return_loss: bool = True,
        **options: Any,
    ) -> AaspForPreTrainingOutput | tuple[Any, ...]:
        """Losses of one batch.

        Args:
            input_values: waveforms in -1..1 at the model's rate, shape (B, S).
            attention_mask: which samples count, shape (B, S); all if omitted.
            return_loss: for transformers' `Trainer`, which detects by it that a model has a loss without labels.
            options: `return_dict`, False for a tuple.

        Raises:
            AaspError: attention_mask does not match the samples.
        """
        set_eager(self, self.config._attn_implementation == "eager")
        lengths = self._lengths(input_values, attention_mask)
        if lengths is None:
            lengths = torch.full((input_values.shape[0],), input_values.shape[1])
        found = self.model({"wave": input_values, "length": lengths.cpu()}, diagnose=False)
        output = AaspForPreTrainingOutput(found["loss"], found["losses"])
        return self._given(output, options)

    def encoder(self) -> AudioEncoder:
        """The encoder that is saved in the end, teacher or student: `encoder().save(folder)`."""
        return cast(AudioEncoder, self.model.get_submodule(self.model.exported.removesuffix(".")))

    @torch.no_grad()
    def after_step(self) -> None:
        """Called after an optimizer step: update the teacher, with the momentum of the recipe's schedule."""
        schedules = self.recipe.method.schedules(self.recipe.steps)
        at = min(int(self.step), self.recipe.steps - 1)
        self.model.after_step({name: float(values[at]) for name, values in schedules.items()})
        self.step += 1

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        _followed.add(self)  # a copy has its own teacher


_followed: WeakSet[AaspForPreTraining] = WeakSet()


def _follow(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """After a step of any optimizer: update the teachers of the students that it trains."""
    trained = {id(one) for group in optimizer.param_groups for one in group["params"]}
    for model in list(_followed):
        first = next((one for one in model.model.parameters() if one.requires_grad), None)
        if id(first) in trained:  # with several optimizers, only the one with this parameter updates the teacher
            model.after_step()


register_optimizer_step_post_hook(_follow)


def _gather(tensor: Tensor) -> tuple[Tensor, int]:
    """Gather a tensor over all current processes."""
    return gatherer(cast(Accelerator, PartialState()))(tensor)
