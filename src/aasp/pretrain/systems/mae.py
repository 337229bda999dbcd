"""Masked autoencoders: Audio-MAE, MaskSpec, MAE-AST on patches and on frames, CrossMAE.

Settings are those of the papers and of the scripts published with them. Ours in all: cosine schedules (MAE-AST's is a
linear decay), norms before a block (MAE-AST: after it), gradients clipped to a norm of 4 where nothing is stated, no
dropout, no rolling of clips and no gain of 0.5 to 1.5 (Audio-MAE), one class token, fixed position embeddings. Ours in
the tiny ones: sizes, views and rates. Their decoders keep the ratio to the encoder's width and have half its depth; the
four masks of a clip share one front end pass, as in `aasp_tiny`.
"""

from __future__ import annotations

from dataclasses import replace

from aasp.features.logmel import LogMelConfig
from aasp.pretrain.losses.patches import PatchLossesConfig
from aasp.pretrain.masking import MaskingConfig
from aasp.pretrain.methods.mae import MAEConfig
from aasp.pretrain.predictors import PredictorConfig
from aasp.pretrain.recipe import Recipe
from aasp.pretrain.systems.scale import base, tiny, vit_base
from aasp.stems.conv import ConvConfig
from aasp.training.optim import OptimizerConfig

MAE_OPTIMIZER = OptimizerConfig(lr=2e-4 * 512 / 256, warmup=3 / 33, weight_decay=1e-4)
BOTH = PatchLossesConfig(generative=10.0, discriminative=1.0)


def audio_mae_base() -> Recipe:
    """Audio-MAE (Huang et al. 2022): 102 of 512 patches visible, 16 decoder blocks of width 512 with shifted windows,
    33 epochs of AudioSet.

    The steps are for 1.96 M clips in batches of 512; its window bias is left out (ours, see `predictors/window`).
    """
    method = MAEConfig()
    return base("audio_mae_base", "Audio-MAE, local decoder", method, MAE_OPTIMIZER, 512, 126_328, vit_base())


def audio_mae_tiny() -> Recipe:
    """Audio-MAE with 4 masks per clip and 3 decoder blocks of width 128."""
    masking = MaskingConfig(views=4, keep_ratio=0.2, scheme="random")
    method = MAEConfig(masking=masking, predictor=PredictorConfig("window", 3, 128, 4))
    return tiny("audio_mae_tiny", "Audio-MAE, which reconstructs patches in local windows, on two cores", method)


def maskspec_base() -> Recipe:
    """MaskSpec (Chong et al. 2022): 32 kHz, 124 of 496 patches visible, 8 decoder blocks of 512, global attention.

    Learning rate, weight decay, batch and epochs (400, 40 of them warm-up) are its script's or that script's defaults;
    the steps are for 1.9 M clips. The statistics are AudioSet's at 16 kHz (ours; it has one pair per bin). Its front
    end's random band edges (0 to 9 Hz, 14 to 16 kHz), centred frames, pre-emphasis of the whole waveform and logarithm
    of x + 1e-5 are left out.
    """
    masking = MaskingConfig(views=1, keep_ratio=0.25, scheme="random")
    method = MAEConfig(masking=masking, predictor=PredictorConfig("self", 8, 512, 16))
    model = vit_base(9.92, frontend=replace(LogMelConfig.at(32_000), mels=128))
    optimizer = OptimizerConfig(lr=1e-3 * 512 / 256, warmup=40 / 400)
    return base("maskspec_base", "MaskSpec, a masked autoencoder at 32 kHz", method, optimizer, 512, 1_484_375, model)


def maskspec_tiny() -> Recipe:
    """MaskSpec with 4 masks per clip and 3 decoder blocks of width 128, at 16 kHz."""
    masking = MaskingConfig(views=4, keep_ratio=0.25, scheme="random")
    method = MAEConfig(masking=masking, predictor=PredictorConfig("self", 3, 128, 4))
    return tiny("maskspec_tiny", "MaskSpec, which reconstructs patches, on two cores", method)


def mae_ast_base() -> Recipe:
    """MAE-AST (Baade et al. 2022), patches: SSAST's clusters, 75 % hidden, 2 decoder blocks of width 768, both losses.

    Its batches have 8.4 M samples, here 52 clips of ten seconds; front end and statistics are `eat_base`'s (ours).
    """
    masking = MaskingConfig(views=1, keep_ratio=0.25, scheme="clustered", block=4)
    method = MAEConfig(masking=masking, predictor=PredictorConfig("self", 2, 768, 12), losses=BOTH, target="plain")
    optimizer = OptimizerConfig(lr=1e-4, warmup=32 / 550, betas=(0.9, 0.98), weight_decay=0.01, clip=10.0)
    return base("mae_ast_base", "MAE-AST on patches", method, optimizer, 52, 550_000, vit_base())


def mae_ast_frame_base() -> Recipe:
    """MAE-AST on tokens of two frames x all mel bins, with random masks."""
    masking = MaskingConfig(views=1, keep_ratio=0.25, scheme="random")
    method = MAEConfig(masking=masking, predictor=PredictorConfig("self", 2, 768, 12), losses=BOTH, target="plain")
    model, optimizer = vit_base(patch=(2, 128)), mae_ast_base().optimizer
    return base("mae_ast_frame_base", "MAE-AST on frames", method, optimizer, 52, 550_000, model)


def mae_ast_tiny() -> Recipe:
    """MAE-AST on patches, with 4 masks per clip, clusters with sides of 2 to 4 patches, one decoder block of 192."""
    masking = MaskingConfig(views=4, keep_ratio=0.25, scheme="clustered", block=3)
    method = MAEConfig(masking=masking, predictor=PredictorConfig("self", 1, 192, 3), losses=BOTH, target="plain")
    return tiny("mae_ast_tiny", "MAE-AST, which reconstructs patches and distinguishes them, on two cores", method)


def mae_ast_frame_tiny() -> Recipe:
    """MAE-AST on frames, with as many tokens as `mae_ast_tiny`."""
    masking = MaskingConfig(views=4, keep_ratio=0.25, scheme="random")
    method = MAEConfig(masking=masking, predictor=PredictorConfig("self", 1, 192, 3), losses=BOTH, target="plain")
    return tiny(
        "mae_ast_frame_tiny", "MAE-AST on tokens of two frames, on two cores", method, ConvConfig(patch=(2, 128))
    )


def crossmae_base() -> Recipe:
    """CrossMAE (Fu et al. 2024), for images: predicts a third of 75 % hidden patches, 12 blocks on layer mixtures.

    Front end, batch, rate and steps are those of `audio_mae_base` (ours), so that the two differ in the decoder.
    """
    masking = MaskingConfig(views=1, keep_ratio=0.25, scheme="random", predicted=1 / 3)
    method = MAEConfig(masking=masking, predictor=PredictorConfig("weighted", 12, 512, 16))
    return base("crossmae_base", "CrossMAE on log-mels", method, MAE_OPTIMIZER, 512, 126_328, vit_base())


def crossmae_tiny() -> Recipe:
    """CrossMAE with 4 masks per clip and 3 decoder blocks of width 128."""
    masking = MaskingConfig(views=4, keep_ratio=0.25, scheme="random", predicted=1 / 3)
    method = MAEConfig(masking=masking, predictor=PredictorConfig("weighted", 3, 128, 4))
    return tiny("crossmae_tiny", "CrossMAE, whose decoder mixes the encoder's layers, on two cores", method)


RECIPES = (
    audio_mae_base,
    audio_mae_tiny,
    maskspec_base,
    maskspec_tiny,
    mae_ast_base,
    mae_ast_frame_base,
    mae_ast_tiny,
    mae_ast_frame_tiny,
    crossmae_base,
    crossmae_tiny,
)
