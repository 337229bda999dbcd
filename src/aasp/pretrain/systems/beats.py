"""BEATs, its tokenizer and further iterations. Source: Chen et al. 2023.

Steps, seconds of audio per step, learning rates, codes and the hidden share are those of the paper's section 4.2; the
log-mel and the number of heads are those of its code, BEATs.py. For warm-up, betas and weight decay no
public source could be read here: they are as we know them. Ours: a cosine schedule (theirs is a linear decay),
gradients clipped to a norm of 4, no dropout and fixed position embeddings.
"""

from __future__ import annotations

from dataclasses import replace

from aasp.features.logmel import LogMelConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain.masking import MaskingConfig
from aasp.pretrain.methods.beats import BEATsConfig
from aasp.pretrain.methods.beats_tokenizer import BEATsTokenizerConfig
from aasp.pretrain.predictors import PredictorConfig
from aasp.pretrain.recipe import Recipe
from aasp.pretrain.systems.scale import base, tiny, vit_base
from aasp.pretrain.tokenizers import DistilledConfig, RandomConfig
from aasp.training.optim import OptimizerConfig

BEATS = LogMelConfig(mean=15.41663 - 20.79442, std=2 * 6.55582, floor=2.0**-23 / 2.0**30, povey=True)
"""BEATs' log-mel; theirs is of 16-bit samples, log(2 ** 30) above ours."""


def beats_base() -> Recipe:
    """BEATs (Chen et al. 2023), one iteration: 124 of 496 patches visible, 1,024 labels, 5,600 s per step, 400 k steps.

    There are 12 heads and deep norms, as in its published weights; its relative position bias and its convolutional
    position embedding are left out (ours).
    """
    model = vit_base(9.92, frontend=BEATS, encoder=EncoderConfig(768, 12, 12, norm="deep"))
    optimizer = OptimizerConfig(lr=5e-4, warmup=32 / 400, betas=(0.9, 0.98), weight_decay=0.01)
    return base("beats_base", "BEATs, labels by a random projection", BEATsConfig(), optimizer, 560, 400_000, model)


def beats_tokenizer_base() -> Recipe:
    """BEATs' tokenizer, distilled from `beats_base` (`--from`): 1,400 s per step, a tenth of the learning rate."""
    model, optimizer = beats_base().model, replace(beats_base().optimizer, lr=5e-5)
    summary = "BEATs' tokenizer, distilled from a model"
    return base("beats_tokenizer_base", summary, BEATsTokenizerConfig(), optimizer, 140, 400_000, model)


def beats_tiny() -> Recipe:
    """BEATs with 4 masks per clip, a predictor of one block of width 192, and 256 labels."""
    masking = MaskingConfig(views=4, keep_ratio=0.25, scheme="random")
    tokenizer = RandomConfig(count=256, width=64)
    method = BEATsConfig(masking=masking, predictor=PredictorConfig("self", 1, 192, 3), tokenizer=tokenizer)
    return tiny("beats_tiny", "BEATs, which predicts labels of a random projection, on two cores", method)


def beats_tokenizer_tiny() -> Recipe:
    """BEATs' tokenizer for `beats_tiny`: 256 codes, an estimator of one block."""
    method = BEATsTokenizerConfig(tokenizer=DistilledConfig(count=256, width=64), estimator=1)
    return tiny("beats_tokenizer_tiny", "BEATs' tokenizer, distilled from a model, on two cores", method, lr=1e-3)


def beats_next_base() -> Recipe:
    """BEATs, a further iteration: labels of `beats_tokenizer_base` (`--from`)."""
    first, method = beats_base(), BEATsConfig(tokenizer=DistilledConfig())
    return replace(
        first, name="beats_next_base", summary="768 x 12: BEATs, labels distilled from a model", method=method
    )


def beats_next_tiny() -> Recipe:
    """BEATs, a further iteration: labels of `beats_tokenizer_tiny` (`--from`)."""
    masking = MaskingConfig(views=4, keep_ratio=0.25, scheme="random")
    tokenizer = DistilledConfig(count=256, width=64)
    method = BEATsConfig(masking=masking, predictor=PredictorConfig("self", 1, 192, 3), tokenizer=tokenizer)
    return tiny("beats_next_tiny", "BEATs, which predicts labels distilled from a model, on two cores", method)


RECIPES = (
    beats_base,
    beats_tokenizer_base,
    beats_tiny,
    beats_tokenizer_tiny,
    beats_next_base,
    beats_next_tiny,
)
