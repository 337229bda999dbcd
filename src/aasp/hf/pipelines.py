"""Pipelines: transformers' "audio-classification", with our file reader, and our own "audio-embedding".

Legend: S samples, D' width of the model's default vector.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers import AudioClassificationPipeline, AutoModel, BatchFeature, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from aasp.audio.channels import checked
from aasp.audio.in_memory import given_wave, mono
from aasp.errors import AaspError
from aasp.hf.config import AaspConfig

EMBEDDING, CLASSIFICATION = "audio-embedding", "audio-classification"


class _NoClips(Pipeline):
    """A pipeline that returns an empty list for one without clips, of which transformers would access the first."""

    def __call__(self, inputs: Any, *arguments: Any, **options: Any) -> Any:
        return [] if isinstance(inputs, list) and not inputs else super().__call__(inputs, *arguments, **options)


class AaspAudioClassificationPipeline(_NoClips, AudioClassificationPipeline):
    """Transformers' own pipeline for all other models; for ours it takes the inputs of `AudioEmbeddingPipeline`."""

    def preprocess(self, inputs: Any) -> BatchFeature:  # type: ignore[override]
        if not isinstance(self.model.config, AaspConfig) or _is_url(inputs):
            return super().preprocess(inputs)
        return _features(self, inputs)


class AudioEmbeddingPipeline(_NoClips):
    """The model's default vector of each clip: `pipeline("audio-embedding", model=folder)`.

    A clip is a sound file's path or bytes, of any format, rate and number of channels; an array of samples at the
    model's rate; or `{"array": samples, "sampling_rate": hertz}`. For a clip it returns an array (D',), float32, and
    for a list of clips a list of arrays.
    """

    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_feature_extractor: Any = True
    _load_tokenizer: Any = False

    def _sanitize_parameters(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if options:
            raise AaspError(f"{EMBEDDING} has no option {next(iter(options))!r}; leave it out")
        return {}, {}, {}

    def preprocess(self, inputs: Any) -> BatchFeature:  # type: ignore[override]
        if _is_url(inputs):
            raise AaspError(f"{EMBEDDING}: {inputs} is not on this machine; download it first")
        return _features(self, inputs)

    def _forward(self, model_inputs: Any) -> dict[str, Any]:  # type: ignore[override]
        return {"vector": self.model(**model_inputs).pooler_output}

    def postprocess(self, model_outputs: Any) -> np.ndarray:  # type: ignore[override]
        return model_outputs["vector"][0].float().cpu().numpy()


def register() -> None:
    """Register both with `transformers.pipeline`."""
    if EMBEDDING not in PIPELINE_REGISTRY.supported_tasks:
        PIPELINE_REGISTRY.register_pipeline(
            EMBEDDING, pipeline_class=AudioEmbeddingPipeline, pt_model=AutoModel, type="audio"
        )
    PIPELINE_REGISTRY.supported_tasks[CLASSIFICATION]["impl"] = AaspAudioClassificationPipeline


def _features(pipeline: Pipeline, inputs: Any) -> BatchFeature:
    """A clip as the model's input: in fp32 whatever the model's dtype, since its front end needs full precision."""
    extractor: Any = pipeline.feature_extractor
    rate = extractor.sampling_rate
    channels = checked((getattr(pipeline.model.config, "classifier", None) or {}).get("channels", "mean"))
    bare = isinstance(inputs, np.ndarray) or hasattr(inputs, "detach")
    wave = mono(inputs, "the clip", channels) if bare else given_wave(inputs, rate, "the clip", channels)
    return extractor(wave, sampling_rate=rate, return_tensors="pt")


def _is_url(inputs: Any) -> bool:
    return isinstance(inputs, str) and inputs.startswith(("http://", "https://"))
