"""SSAST's recipes. Source: Gong et al. 2022; settings are those of its run_mask_patch.sh and traintest_mask.py.

Ours: a cosine schedule (theirs is halved in steps), gradients clipped to a norm of 4, fixed position embeddings,
AudioSet alone (theirs: with LibriSpeech), and one mask for both losses (see `methods/ssast`).
"""

from __future__ import annotations

from aasp.pretrain.masking import MaskingConfig
from aasp.pretrain.methods.ssast import SSASTConfig
from aasp.pretrain.recipe import Recipe
from aasp.pretrain.systems.scale import base, tiny, vit_base
from aasp.training.optim import OptimizerConfig


def ssast_base() -> Recipe:
    """SSAST (Gong et al. 2022), patches: 400 of 512 hidden in clusters with sides of 3 to 5, batch 24.

    800 k steps are ten epochs of AudioSet; those of its script are of AudioSet and LibriSpeech.
    """
    optimizer = OptimizerConfig(lr=1e-4, warmup=1_000 / 800_000, betas=(0.95, 0.999), weight_decay=5e-7)
    return base("ssast_base", "SSAST on patches", SSASTConfig(), optimizer, 24, 800_000, vit_base())


def ssast_tiny() -> Recipe:
    """SSAST with clusters with sides of 2 to 4 patches; one mask per clip, since it encodes all positions."""
    method = SSASTConfig(masking=MaskingConfig(views=1, keep_ratio=112 / 512, scheme="clustered", block=3))
    return tiny("ssast_tiny", "SSAST, with mask tokens in the encoder, on two cores", method)


RECIPES = (
    ssast_base,
    ssast_tiny,
)
