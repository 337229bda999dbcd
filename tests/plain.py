"""AaSP as `aasp_tiny` once had it: square patches, the teacher's targets alone, AdamW."""

from __future__ import annotations

from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain.losses import LossesConfig
from aasp.pretrain.masking import MaskingConfig
from aasp.pretrain.methods.aasp import AaSPConfig
from aasp.pretrain.predictors import PredictorConfig
from aasp.pretrain.recipe import DataConfig, Recipe
from aasp.pretrain.targets import TeacherConfig
from aasp.stems.aape import AaPEConfig
from aasp.training.optim import OptimizerConfig


def plain_tiny() -> Recipe:
    """One-second crops in batches of 32."""
    return Recipe(
        name="aasp_tiny",
        summary="192 x 6: learns from hours of audio on two cores",
        model=AudioEncoderConfig(stem=AaPEConfig(), encoder=EncoderConfig(192, 6, 3), window_seconds=0.96),
        method=AaSPConfig(
            masking=MaskingConfig(views=4, keep_ratio=0.3, block=3, predicted=0.25),
            teacher=TeacherConfig(momentum=0.98, final_momentum=0.998, ramp=1.0),
            predictor=PredictorConfig(depth=2, width=192, heads=3),
            losses=LossesConfig(frame=1.0, utterance=0.3, contrastive=1.0, temperature=0.1),
        ),
        optimizer=OptimizerConfig(lr=1e-3, warmup=0.1),
        data=DataConfig(crop_seconds=0.975, batch=32, gain_db=6.0),
        steps=2_600,
    )
