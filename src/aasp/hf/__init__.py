"""Our models in Hugging Face transformers: `import aasp.hf` registers them with its Auto classes and pipelines.

pip install 'aasp-audio[hf]'
"""

from __future__ import annotations

from aasp.errors import AaspError

try:
    import transformers
except ImportError:
    raise AaspError("aasp.hf needs transformers 5.23 or later; pip install 'aasp-audio[hf]'") from None
if tuple(map(int, transformers.__version__.split(".")[:2])) < (5, 23):
    text = f"aasp.hf needs transformers 5.23 or later, not {transformers.__version__}"
    raise AaspError(f"{text}; pip install -U transformers")

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    AutoModelForPreTraining,
)

from aasp.hf.base import AaspPreTrainedModel
from aasp.hf.card import model_card, push_to_hub
from aasp.hf.config import AaspConfig
from aasp.hf.features import AaspFeatureExtractor
from aasp.hf.models import AaspForAudioClassification, AaspModel, of
from aasp.hf.pipelines import AudioEmbeddingPipeline, register
from aasp.hf.pretraining import AaspForPreTraining

__all__ = [
    "AaspConfig",
    "AaspFeatureExtractor",
    "AaspForAudioClassification",
    "AaspForPreTraining",
    "AaspModel",
    "AaspPreTrainedModel",
    "AudioEmbeddingPipeline",
    "model_card",
    "of",
    "push_to_hub",
]

AutoConfig.register("aasp", AaspConfig)
AutoFeatureExtractor.register(AaspConfig, AaspFeatureExtractor)
AutoModel.register(AaspConfig, AaspModel)
AutoModelForAudioClassification.register(AaspConfig, AaspForAudioClassification)
AutoModelForPreTraining.register(AaspConfig, AaspForPreTraining)
register()
