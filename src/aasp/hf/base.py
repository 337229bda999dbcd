"""`AaspPreTrainedModel`: the common base of our models in transformers: loading, saving, and batches.

Legend: B clips, S samples, N patch tokens, D width, H heads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from aasp.casting import WithConstants
from aasp.errors import AaspError
from aasp.features.waves import can_be_read
from aasp.files import check_output
from aasp.hf.config import AaspConfig
from aasp.hf.features import AaspFeatureExtractor
from aasp.hf.folders import key_mapping, source_of
from aasp.hf.layers import kept_attentions, set_eager, with_one_class_token
from aasp.hf.offload import fetch_whole
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.embeddings import Embeddings

Output = TypeVar("Output", bound=ModelOutput)


class AaspPreTrainedModel(PreTrainedModel):
    """Common base of our models.

    As in any model of transformers, a call takes, besides a batch, `output_hidden_states`, the tokens of every block;
    `output_attentions`, the attention weights, available with `attn_implementation="eager"`; and `return_dict`, False
    for a tuple. If omitted, those of the configuration apply.
    """

    config_class = AaspConfig
    base_model_prefix = "model"
    main_input_name = "input_values"
    input_modalities: str | list[str] = "audio"
    supports_gradient_checkpointing = True
    _keep_in_fp32_modules_strict = ["whitening"]  # noqa: RUF012
    accepts_loss_kwargs = False  # otherwise Trainer would leave dividing the loss among accumulated batches to us
    _supports_sdpa = True
    _no_split_modules: set[str] | list[str] | None = ["AudioEncoder", "AudioClassifier"]  # noqa: RUF012
    # Parts that only a classifier or only a pre-training has.
    _keys_to_ignore_on_load_unexpected: set[str] | list[str] | None = [r"^(model\.)?(norm|head|layer_weights)"]  # noqa: RUF012

    @property
    def base_model(self) -> PreTrainedModel:
        """The model itself; its inner `model` is not a transformers model."""
        return self

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | os.PathLike[str] | None, *arguments: Any, **options: Any
    ) -> Any:
        """Load a model that `save_pretrained` wrote, a model folder or run of ours, or either from the hub.

        Args:
            pretrained_model_name_or_path: the model. An encoder can be loaded from a classifier or a pre-training; a
                classifier loaded from an encoder has a random head.
            arguments, options: as for `PreTrainedModel.from_pretrained`; also `num_labels`, `id2label`, ….

        Raises:
            AaspError: there is no such folder, or its configuration is damaged.
            OSError: there is no such name on the hub, as transformers reports it.
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
        loaded._weight_conversions = None  # it is saved under its own names, not those in the file it was loaded from
        return model

    def save_pretrained(self, save_directory: str | os.PathLike[str], *arguments: Any, **options: Any) -> None:
        """Write configuration, weights and feature extractor, so that the folder is enough for a pipeline.

        Args:
            save_directory, arguments, options: as for `PreTrainedModel.save_pretrained`.

        Raises:
            AaspError: it is a file, or its location is not writable.
        """
        place = Path(save_directory)
        if place.exists() and not place.is_dir():
            raise AaspError(f"{place}: a file; name a folder to save the model in")
        check_output(place / "config.json", overwrite=True)
        AaspFeatureExtractor.of(self.config.audio_encoder).save_pretrained(save_directory)
        super().save_pretrained(save_directory, *arguments, **options)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:  # type: ignore[override]
        """Upload the model to the hub, with a card made from its run and its results.

        Args:
            repo_id: its name there, as in "you/birds".
            options: as for `aasp.hf.push_to_hub`.

        Raises:
            AaspError: the run or a result can't be read; nothing is uploaded then.
        """
        from aasp.hf.card import push_to_hub  # which imports the models

        return push_to_hub(self, repo_id, **options)

    @torch.no_grad()
    def _init_weights(self, module: torch.nn.Module) -> None:
        """Initialise what a checkpoint does not contain: constants, and missing weights, as our constructors do."""
        if isinstance(module, WithConstants):
            module.set_constants()
        tensors = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
        missing = [
            name
            for name, tensor in tensors.items()
            if name not in module._non_persistent_buffers_set and not getattr(tensor, "_is_hf_initialized", False)
        ]
        if not missing or not getattr(self, "_was_on_meta", False):
            return  # the constructor has set them
        fresh = self._fresh()
        place = next(name for name, one in self.named_modules() if one is module)
        for name in missing:
            tensors[name].copy_(fresh[f"{place}.{name}" if place else name])

    def _fresh(self) -> dict[str, Tensor]:
        """The tensors of a new model of this configuration, made once, for those that a checkpoint does not have."""
        if "_new_tensors" not in self.__dict__:
            new = type(self)(self.config)
            self.__dict__["_new_tensors"] = {**new.state_dict(), **dict(new.named_buffers())}
        return self.__dict__["_new_tensors"]

    def _initialize_missing_keys(self, is_quantized: bool) -> None:
        self._was_on_meta = True
        try:
            super()._initialize_missing_keys(is_quantized)
            self._fill_unsaved()
        finally:
            self._was_on_meta = False
            self.__dict__.pop("_new_tensors", None)

    @torch.no_grad()
    def _fill_unsaved(self) -> None:
        """Compute the unsaved buffers of a user's own parts, which are empty after the meta device."""
        for place, module in self.named_modules():
            if not isinstance(module, WithConstants):
                for name in sorted(module._non_persistent_buffers_set):
                    if (buffer := getattr(module, name)) is not None:
                        buffer.copy_(self._fresh()[f"{place}.{name}" if place else name])

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

    def _encode(
        self,
        encoder: AudioEncoder,
        input_values: Tensor,
        attention_mask: Tensor | None,
        options: Mapping[str, Any],
        layers: bool = False,
    ) -> tuple[Embeddings, dict[str, tuple[Tensor, ...] | None]]:
        """The encoder's output; hidden states (B, 1 + N, D) and attentions (B, H, 1 + N, 1 + N), if requested."""
        set_eager(self, self.config._attn_implementation == "eager")
        lengths = self._lengths(input_values, attention_mask)
        every = layers or self._is_requested(options, "output_hidden_states")
        attentions = None
        if self._is_requested(options, "output_attentions"):
            with kept_attentions(encoder.encoder) as kept:
                found = encoder(input_values, lengths, layers=every)
            attentions = tuple(with_one_class_token(one, encoder.config.encoder) for one in kept)
            if attentions[0].shape[-1] != 1 + found.tokens.shape[1]:
                text = f"clips longer than a window of {encoder.config.window_seconds:g} s have several"
                raise AaspError(f"output_attentions: {text}; give shorter clips")
        else:
            found = encoder(input_values, lengths, layers=every)
        hidden = None
        if self._is_requested(options, "output_hidden_states"):
            hidden = tuple(joined(*stage) for stage in found.stages)
        return found, {"hidden_states": hidden, "attentions": attentions}

    def _is_requested(self, options: Mapping[str, Any], name: str) -> bool:
        """Whether an output is requested by a call or, if the call does not set it, by the configuration."""
        said = options.get(name)
        return bool(getattr(self.config, name) if said is None else said)

    def _given(self, output: Output, options: Mapping[str, Any]) -> Output | tuple[Any, ...]:
        return output if self._is_requested(options, "return_dict") else output.to_tuple()


def joined(tokens_BND: Tensor, cls_BD: Tensor) -> Tensor:
    """The class token followed by the patch tokens, shape (B, 1 + N, D)."""
    return torch.cat([cls_BD[:, None], tokens_BND], dim=1)
