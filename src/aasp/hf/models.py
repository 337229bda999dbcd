"""Our models as transformers' own: `AaspModel` and `AaspForAudioClassification`.

Each holds the model itself, in `model`: an `AudioEncoder` or an `AudioClassifier`, which computes, and saves as ours.

Legend: B clips, S samples, N patch tokens, D width, D' width of the model's own vector, H heads, K classes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput

from aasp.casting import WithConstants
from aasp.errors import AaspError
from aasp.features.waves import can_be_read
from aasp.files import check_output
from aasp.hf.config import AaspConfig
from aasp.hf.features import AaspFeatureExtractor
from aasp.hf.folders import key_mapping, source_of
from aasp.hf.layers import adapt, kept_attentions, set_eager
from aasp.hf.offload import fetch_whole
from aasp.model.audio_classifier import AudioClassifier
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.embeddings import Embeddings


class AaspPreTrainedModel(PreTrainedModel):
    """What our models have in common."""

    config_class = AaspConfig
    base_model_prefix = "model"
    main_input_name = "input_values"
    input_modalities: str | list[str] = "audio"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # else Trainer would leave it to us to divide the loss among accumulated batches
    _supports_sdpa = True
    _no_split_modules: set[str] | list[str] | None = ["AudioEncoder", "AudioClassifier"]  # noqa: RUF012
    # What only a classifier, or only a pre-training, has.
    _keys_to_ignore_on_load_unexpected: set[str] | list[str] | None = [r"^(model\.)?(norm|head|layer_weights)"]  # noqa: RUF012

    @property
    def base_model(self) -> PreTrainedModel:
        """The model itself: what others call a base model is no model of transformers here."""
        return self

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | os.PathLike[str] | None, *arguments: Any, **options: Any
    ) -> Any:
        """Load a model: what `save_pretrained` wrote, a folder or a run of ours, or either on the hub.

        Args:
            pretrained_model_name_or_path: which. An encoder is taken out of a classifier or a pre-training; a
                classifier on an encoder begins with a random head.
            arguments, options: as `PreTrainedModel.from_pretrained` takes them; `num_labels`, `id2label`, … too.

        Raises:
            AaspError: there is no such folder, or a configuration of ours is damaged.
            OSError: there is none of that name on the hub, as transformers tells it.
        """
        if pretrained_model_name_or_path is None or options.get("gguf_file"):
            return super().from_pretrained(pretrained_model_name_or_path, *arguments, **options)
        source = source_of(pretrained_model_name_or_path, options)
        mapping = key_mapping(source, cls.__name__)
        if mapping:
            options["key_mapping"] = mapping | (options.get("key_mapping") or {})
        model = super().from_pretrained(source.place, *arguments, **options)
        loaded = model[0] if isinstance(model, tuple) else model
        fetch_whole(loaded)
        loaded._weight_conversions = None  # it is saved under its own names, not under those it was found by
        return model

    def save_pretrained(self, save_directory: str | os.PathLike[str], *arguments: Any, **options: Any) -> None:
        """Write configuration, weights and feature extractor, so that a pipeline needs the folder alone.

        Args:
            save_directory, arguments, options: as `PreTrainedModel.save_pretrained` takes them.

        Raises:
            AaspError: it is a file, or lies where nothing can be written.
        """
        place = Path(save_directory)
        if place.exists() and not place.is_dir():
            raise AaspError(f"{place}: a file; name a folder to save the model in")
        check_output(place / "config.json", overwrite=True)
        AaspFeatureExtractor.of(self.config.audio_encoder).save_pretrained(save_directory)
        super().save_pretrained(save_directory, *arguments, **options)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:  # type: ignore[override]
        """Put the model on the hub, with a card made of what its run and its results have recorded.

        Args:
            repo_id: its name there, as in "you/birds".
            options: as `aasp.hf.push_to_hub` takes them.

        Raises:
            AaspError: the run or a result can't be read; nothing is sent then.
        """
        from aasp.hf.card import push_to_hub  # which knows the models

        return push_to_hub(self, repo_id, **options)

    @torch.no_grad()
    def _init_weights(self, module: torch.nn.Module) -> None:
        """Make what a checkpoint does not hold: constants; and weights that it lacks, as our constructors do."""
        if isinstance(module, WithConstants):
            module.set_constants()
        tensors = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
        lacking = [
            name
            for name, tensor in tensors.items()
            if name not in module._non_persistent_buffers_set and not getattr(tensor, "_is_hf_initialized", False)
        ]
        if not lacking or not getattr(self, "_was_on_meta", False):
            return  # the constructor has made them
        fresh = self._fresh()
        place = next(name for name, one in self.named_modules() if one is module)
        for name in lacking:
            tensors[name].copy_(fresh[f"{place}.{name}" if place else name])

    def _fresh(self) -> dict[str, Tensor]:
        """The tensors of a new model of this configuration, made once, where a checkpoint lacks some."""
        if "_made_anew" not in self.__dict__:
            self.__dict__["_made_anew"] = type(self)(self.config).state_dict()
        return self.__dict__["_made_anew"]

    def _initialize_missing_keys(self, is_quantized: bool) -> None:
        self._was_on_meta = True
        try:
            super()._initialize_missing_keys(is_quantized)
        finally:
            self._was_on_meta = False
            self.__dict__.pop("_made_anew", None)

    def _lengths(self, input_values: Tensor, attention_mask: Tensor | None) -> Tensor | None:
        """Valid samples of each clip, shape (B,)."""
        if attention_mask is None:
            return None
        if attention_mask.shape != input_values.shape:
            shapes = f"attention_mask of shape {tuple(attention_mask.shape)} for {tuple(input_values.shape)} samples"
            raise AaspError(f"{shapes}; give one value a sample, as AaspFeatureExtractor does")
        counts = attention_mask.bool()
        if can_be_read(counts) and bool((counts[:, 1:] & ~counts[:, :-1]).any()):
            raise AaspError("attention_mask has samples that count after some that don't; pad clips on the right")
        return counts.sum(1)

    def _heard(
        self,
        encoder: AudioEncoder,
        input_values: Tensor,
        attention_mask: Tensor | None,
        output_hidden_states: bool,
        output_attentions: bool,
        layers: bool = False,
    ) -> tuple[Embeddings, tuple[Tensor, ...] | None, tuple[Tensor, ...] | None]:
        """What the encoder says; hidden states (B, 1 + N, D) and attentions (B, H, 1 + N, 1 + N), where asked for."""
        set_eager(self, self.config._attn_implementation == "eager")
        lengths = self._lengths(input_values, attention_mask)
        every = layers or output_hidden_states
        attentions = None
        if output_attentions:
            with kept_attentions(encoder.encoder) as kept:
                found = encoder(input_values, lengths, layers=every)
            if kept[0].shape[-1] != 1 + found.tokens.shape[1]:
                told = f"clips longer than a window of {encoder.config.window_seconds:g} s have several"
                raise AaspError(f"output_attentions: {told}; give shorter clips")
            attentions = tuple(kept)
        else:
            found = encoder(input_values, lengths, layers=every)
        hidden = tuple(_joined(*stage) for stage in found.stages) if output_hidden_states else None
        return found, hidden, attentions

    def _asked(self, output_hidden_states: bool | None, output_attentions: bool | None) -> tuple[bool, bool]:
        """What a call asks for, or the configuration where it doesn't say."""
        config = self.config
        hidden = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        weights = config.output_attentions if output_attentions is None else output_attentions
        return bool(hidden), bool(weights)


class AaspModel(AaspPreTrainedModel):
    """An `AudioEncoder`.

    Attributes:
        model: the encoder itself; `model.save(folder)` writes it as ours.

    Args:
        config: which; the weights are random until loaded.
    """

    def __init__(self, config: AaspConfig) -> None:
        super().__init__(config)
        self.model = AudioEncoder(config.audio_encoder)
        adapt(self)
        self.post_init()

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **_: Any,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """Embed clips of any length.

        Args:
            input_values: waveforms in -1..1 at the model's rate, shape (B, S).
            attention_mask: which samples count, shape (B, S); all when left out.
            output_attentions: return the attention's weights; `attn_implementation="eager"` has them.
            output_hidden_states: return the tokens of every block.
            return_dict: False for a tuple.

        Returns:
            `last_hidden_state` (B, 1 + N, D), the class token first, then the patches in time-major order, zero beyond
            a clip's end; `pooler_output` (B, D'), the model's own vector; `hidden_states`, depth + 1 of (B, 1 + N, D);
            `attentions`, depth of (B, H, 1 + N, 1 + N).

        Raises:
            AaspError: as `AudioEncoder` does; or attentions are asked for where there are none.
        """
        asked = self._asked(output_hidden_states, output_attentions)
        found, hidden, attentions = self._heard(self.model, input_values, attention_mask, *asked)
        output = BaseModelOutputWithPooling(
            last_hidden_state=_joined(found.tokens, found.cls),
            pooler_output=found.clip,
            hidden_states=hidden,
            attentions=attentions,
        )
        return output if _as_dict(self.config, return_dict) else output.to_tuple()


class AaspForAudioClassification(AaspPreTrainedModel):
    """An `AudioClassifier`.

    Attributes:
        model: the classifier itself; `model.save(folder)` writes it as ours.

    Args:
        config: which; the weights are random until loaded.
    """

    def __init__(self, config: AaspConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = AudioClassifier(config.audio_classifier)
        adapt(self)
        self.post_init()

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """Classify clips of any length.

        Args:
            input_values, attention_mask, output_attentions, output_hidden_states, return_dict: as `AaspModel` has them.
            labels: of each clip its class, int64, shape (B,); or, where it may have several, 0 or 1 of each, float,
                shape (B, K); or, of a model that tells numbers, its number, float, shape (B,) or (B, 1).

        Returns:
            `loss` where labels were given, `logits` (B, K), `hidden_states` and `attentions` as `AaspModel` has them. Of
            a model that tells numbers the logits are these, (B, 1), and the loss their mean squared error, both in the
            labels' own unit.

        Raises:
            AaspError: as `AaspModel` does; or there is another number of labels than of clips or classes.
        """
        asked, classifier = self._asked(output_hidden_states, output_attentions), self.model
        found, hidden, attentions = self._heard(
            classifier.encoder, input_values, attention_mask, *asked, layers=classifier.reads_layers
        )
        stages = found.stages if classifier.reads_layers else found.stages[-1:]
        logits = classifier.classify(stages, found.valid)
        if classifier.config.numbers is not None:
            logits = classifier.probabilities(logits)  # in their unit
        loss = None if labels is None else self._loss(labels, logits)
        output = SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=hidden, attentions=attentions)
        return output if _as_dict(self.config, return_dict) else output.to_tuple()

    def _loss(self, labels: Tensor, logits_BK: Tensor) -> Tensor:
        """Transformers' loss for the kind of labels that the configuration tells, or else the labels themselves."""
        kind, shape, clips = self.config.problem_type, tuple(labels.shape), len(logits_BK)
        each = kind == "multi_label_classification" or (kind is None and labels.ndim == 2 and self.num_labels > 1)
        wanted = [(clips, self.num_labels)] if each else [(clips,), (clips, 1)]
        if shape not in wanted:
            told = f"labels of shape {shape} for {clips} clips of {self.num_labels} labels"
            raise AaspError(f"{told}; give {' or '.join(map(str, wanted))}")
        if each or self.num_labels == 1:
            labels = labels.to(logits_BK.dtype)
        elif labels.is_floating_point():
            raise AaspError(f"labels of {labels.dtype} for classes; give their numbers as int64")
        elif can_be_read(labels) and bool((wrong := (labels >= self.num_labels) | (labels < -100)).any()):
            at = int(wrong.flatten().nonzero()[0])
            told = f"label {int(labels.flatten()[at])} of clip {at}"
            raise AaspError(f"{told}: there are {self.num_labels} classes, 0 to {self.num_labels - 1}")
        loss = self.loss_function(labels, logits_BK, self.config)
        if kind is None:  # it has been told by the labels, and is part of what is saved
            self.model.config = self.config.audio_classifier
        return loss


def of(model: AudioEncoder | AudioClassifier) -> AaspModel | AaspForAudioClassification:
    """A model of ours as one of transformers', with a copy of its weights, in evaluation mode."""
    config = AaspConfig.of(model.config)
    made = AaspForAudioClassification(config) if isinstance(model, AudioClassifier) else AaspModel(config)
    made.model.load_state_dict(model.state_dict())
    return made.eval()


def _joined(tokens_BND: Tensor, cls_BD: Tensor) -> Tensor:
    """The class token before the others, shape (B, 1 + N, D)."""
    return torch.cat([cls_BD[:, None], tokens_BND], dim=1)


def _as_dict(config: PreTrainedConfig, return_dict: bool | None) -> bool:
    return bool(config.return_dict if return_dict is None else return_dict)
