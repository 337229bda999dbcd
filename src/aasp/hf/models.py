"""Our models as transformers models: `AaspModel` and `AaspForAudioClassification`.

Each wraps our own model, in `model`: an `AudioEncoder` or an `AudioClassifier`, which computes, and saves in our
format.

Legend: B clips, S samples, N patch tokens, D width, D' width of the model's default vector, H heads, K classes.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput

from aasp.errors import AaspError
from aasp.features.waves import can_be_read
from aasp.hf.base import AaspPreTrainedModel, joined
from aasp.hf.config import AaspConfig
from aasp.hf.layers import adapt
from aasp.model.audio_classifier import AudioClassifier
from aasp.model.audio_encoder import AudioEncoder


class AaspModel(AaspPreTrainedModel):
    """An `AudioEncoder`.

    Attributes:
        model: the encoder itself; `model.save(folder)` writes it in our format.

    Args:
        config: the configuration; the weights are random until loaded.
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
        **options: Any,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """Embed clips of any length.

        Args:
            input_values: waveforms in -1..1 at the model's rate, shape (B, S).
            attention_mask: which samples count, shape (B, S); all if omitted.
            options: see `AaspPreTrainedModel`.

        Returns:
            `last_hidden_state` (B, 1 + N, D), the class token first, then the patches in time-major order, zero beyond
            a clip's end; `pooler_output` (B, D'), the model's default vector; `hidden_states`, depth + 1 of
            (B, 1 + N, D); `attentions`, depth of (B, H, 1 + N, 1 + N).

        Raises:
            AaspError: as `AudioEncoder` does; or attentions are requested where there are none.
        """
        found, more = self._encode(self.model, input_values, attention_mask, options)
        tokens = joined(found.tokens, found.cls)
        return self._given(BaseModelOutputWithPooling(tokens, found.clip, **more), options)


class AaspForAudioClassification(AaspPreTrainedModel):
    """An `AudioClassifier`.

    Attributes:
        model: the classifier itself; `model.save(folder)` writes it in our format.

    Args:
        config: the configuration; the weights are random until loaded.
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
        **options: Any,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """Classify clips of any length.

        Args:
            input_values, attention_mask, options: as in `AaspModel`.
            labels: the class of each clip, int64, shape (B,); with several classes per clip, 0 or 1 for each, float,
                shape (B, K); for a model that predicts numbers, the number, float, shape (B,) or (B, 1).

        Returns:
            `loss` if labels were given, `logits` (B, K), `hidden_states` and `attentions` as in `AaspModel`.
            If the model predicts numbers, the logits are these, (B, 1), and the loss is their mean squared error, both
            in the labels' unit. If it was trained by sigmoids with one class per clip, the logits are their logarithms.

        Raises:
            AaspError: as `AaspModel` does; or the number of labels differs from that of clips or classes.
        """
        classifier = self.model
        layers = classifier.reads_layers
        found, more = self._encode(classifier.encoder, input_values, attention_mask, options, layers)
        stages = found.stages if layers else found.stages[-1:]
        logits = classifier.classify(stages, found.valid)
        if classifier.config.numbers is not None or classifier.config.loss == "sigmoid":
            logits = classifier.usual_logits(logits)  # in the labels' unit; or pipelines take their softmax
        loss = None if labels is None else self._loss(labels, logits)
        return self._given(SequenceClassifierOutput(loss=loss, logits=logits, **more), options)

    def _loss(self, labels: Tensor, logits_BK: Tensor) -> Tensor:
        """Transformers' loss for the kind of labels given by the configuration or, if it has none, by the labels."""
        kind, shape, (clips, count) = self.config.problem_type, tuple(labels.shape), logits_BK.shape
        each = kind == "multi_label_classification" or (kind is None and labels.ndim == 2 and count > 1)
        wanted = [(clips, count)] if each else [(clips,), (clips, 1)]
        if shape not in wanted:
            text = f"labels of shape {shape} for {clips} clips of {count} labels"
            raise AaspError(f"{text}; give {' or '.join(map(str, wanted))}")
        if each or count == 1:
            labels = labels.to(logits_BK.dtype)
        elif labels.is_floating_point():
            raise AaspError(f"labels of {labels.dtype} for classes; give their numbers as int64")
        elif can_be_read(labels) and bool((wrong := (labels >= count) | (labels < -100)).any()):
            at = int(wrong.flatten().nonzero()[0])
            text = f"label {int(labels.flatten()[at])} of clip {at}"
            raise AaspError(f"{text}: there are {count} classes, 0 to {count - 1}")
        loss = self.loss_function(labels, logits_BK, self.config)
        if kind is None:  # it follows from the labels, and is saved with the model
            self.model.config = self.config.audio_classifier
        return loss


def of(model: AudioEncoder | AudioClassifier) -> AaspModel | AaspForAudioClassification:
    """Our model as a transformers model, with a copy of its weights, in evaluation mode."""
    config = AaspConfig.of(model.config)
    made = AaspForAudioClassification(config) if isinstance(model, AudioClassifier) else AaspModel(config)
    made.model.load_state_dict(model.state_dict())
    return made.eval()
