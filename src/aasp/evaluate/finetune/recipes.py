"""The named fine-tuning recipes.

The AudioSet, ESC-50 and Speech Commands recipes are EAT's (Chen et al. 2024; its gain, Beta(10, 10) + 0.5, is
±3 dB here, and AdamW replaces its Adam). There are no published recipes for the other benchmarks: these are ours, and
not yet measured at that scale. Those for small models are ours and measured (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from aasp.evaluate.finetune.augment import AugmentConfig
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.parts import made
from aasp.training.optim import OptimizerConfig

_EAT = OptimizerConfig(lr=5e-5, final_lr=1e-6, warmup=0.1)


def audioset_2m() -> FinetuneRecipe:
    """EAT's for AudioSet-2M: weighted epochs of 200,000 clips."""
    return FinetuneRecipe(
        name="audioset_2m",
        summary="527 labels a clip of ten seconds, balanced sampling (EAT)",
        crop_seconds=10.0,
        batch=96,
        steps=300_000,
        optimizer=_EAT,
        pooling="cls",
        loss="sigmoid",
        augment=AugmentConfig(gain_db=3.0, roll_seconds=10.0, mixup=0.9, mixup_alpha=0.8, mask=0.2),
        sampling="balanced",
        epoch_clips=200_000,
        validations=30,
    )


def audioset_20k() -> FinetuneRecipe:
    """EAT's for the balanced part."""
    return replace(
        audioset_2m(),
        name="audioset_20k",
        summary="527 labels a clip of ten seconds, the balanced part (EAT)",
        batch=48,
        steps=40_000,
        sampling="uniform",
        epoch_clips=None,
        validations=20,
    )


def ast() -> FinetuneRecipe:
    """AST's for AudioSet's balanced part (Gong, Chung & Glass 2021): 25 epochs of 22,000 clips, mixup of half of them.

    Differences: a cosine schedule (AST halves the rate every five epochs); one share for both masks (AST: 192 of 1,024
    frames and 48 of 128 bins); the best weights (AST: the average of the last ones). Random weights need a higher rate.
    """
    return FinetuneRecipe(
        name="ast",
        summary="527 labels a clip of ten seconds, the balanced part (AST)",
        crop_seconds=10.0,
        batch=12,
        steps=46_000,
        optimizer=OptimizerConfig(lr=5e-5, warmup=0.02, betas=(0.95, 0.999), weight_decay=5e-7),
        layer_decay=1.0,
        pooling="cls",
        drop_path=0.0,
        loss="sigmoid",
        augment=AugmentConfig(roll_seconds=10.0, mixup=0.5, mixup_alpha=10.0, mask=0.2),
        validations=25,
    )


def esc50() -> FinetuneRecipe:
    """EAT's for ESC-50, for each fold."""
    return FinetuneRecipe(
        name="esc50",
        summary="environmental sounds of five seconds (EAT)",
        crop_seconds=5.0,
        batch=48,
        steps=4_000,
        optimizer=_EAT,
        pooling="cls",
        label_smoothing=0.1,
        augment=AugmentConfig(gain_db=3.0, roll_seconds=5.0, mask=0.4),
    )


def speech_commands() -> FinetuneRecipe:
    """EAT's for Speech Commands."""
    return FinetuneRecipe(
        name="speech_commands",
        summary="spoken words of one second (EAT)",
        crop_seconds=1.0,
        batch=256,
        steps=40_000,
        optimizer=replace(_EAT, lr=2e-4),
        pooling="cls",
        loss="sigmoid",
        label_smoothing=0.1,
        augment=AugmentConfig(gain_db=3.0, roll_seconds=0.1, noise_snr_db=10.0, mixup=0.9, mixup_alpha=0.8, mask=0.2),
        validations=20,
    )


def urbansound8k() -> FinetuneRecipe:
    """Ours: ESC-50's with mixup, for clips of four seconds."""
    return replace(
        esc50(),
        name="urbansound8k",
        summary="city sounds of up to four seconds (ours)",
        crop_seconds=4.0,
        steps=8_000,
        augment=AugmentConfig(gain_db=3.0, roll_seconds=4.0, mixup=0.5, mask=0.3),
    )


def nsynth() -> FinetuneRecipe:
    """Ours: notes begin with their onset, so there is no roll and no mixup."""
    return replace(
        esc50(),
        name="nsynth",
        summary="musical notes of four seconds (ours)",
        crop_seconds=4.0,
        batch=96,
        steps=40_000,
        label_smoothing=0.0,
        augment=AugmentConfig(gain_db=3.0, mask=0.2),
        validations=20,
    )


def crema_d() -> FinetuneRecipe:
    """Ours: a small set of short utterances."""
    return replace(
        esc50(),
        name="crema_d",
        summary="acted emotions in utterances of two and a half seconds (ours)",
        crop_seconds=2.5,
        augment=AugmentConfig(gain_db=3.0, roll_seconds=0.25, mixup=0.3, mask=0.2),
    )


def voxceleb1() -> FinetuneRecipe:
    """Ours: speakers, identified from longer excerpts of speech."""
    return replace(
        esc50(),
        name="voxceleb1",
        summary="speakers in eight seconds (ours)",
        crop_seconds=8.0,
        batch=128,
        steps=60_000,
        optimizer=replace(_EAT, lr=2e-4),
        label_smoothing=0.0,
        augment=AugmentConfig(gain_db=3.0, noise_snr_db=10.0, mask=0.2),
        validations=20,
    )


def clips() -> FinetuneRecipe:
    """Ours, for any folder of clips."""
    return replace(
        esc50(),
        name="clips",
        summary="clips of any kind, ten seconds of each a step (ours)",
        crop_seconds=10.0,
        augment=AugmentConfig(gain_db=3.0, mixup=0.5, mask=0.2),
    )


def tiny() -> FinetuneRecipe:
    """Ours, for encoders of a few million parameters on a CPU: minutes for a few hundred clips."""
    return FinetuneRecipe(
        name="tiny",
        summary="small encoders on a processor: minutes for some hundred clips (ours)",
        crop_seconds=5.0,
        batch=32,
        steps=200,
        optimizer=OptimizerConfig(lr=1e-3, warmup=0.1),
        layer_decay=0.75,
        pooling="flat+std",
        layers="weighted",
        norm="batch",
        label_smoothing=0.1,
        augment=AugmentConfig(gain_db=3.0, roll_seconds=0.1),
    )


def words() -> FinetuneRecipe:
    """`tiny` with the simple head of most papers, on the mean of the last layer's tokens."""
    return replace(
        tiny(),
        name="words",
        summary="words of a second, for small encoders whose targets had log-mel patches (ours)",
        crop_seconds=0.975,
        window="pretrained",
        steps=600,
        pooling="mean",
        layers="last",
        validations=1,  # the last weights become the model
    )


def lp_ft() -> FinetuneRecipe:
    """Short and cautious: the head starts as a probe, a third of `tiny`'s learning rate, patchout of one half."""
    return replace(
        tiny(),
        name="lp_ft",
        summary="small encoders and sets: linear probing, then a short fine-tuning (ours)",
        window="pretrained",
        steps=40,
        optimizer=OptimizerConfig(lr=3e-4, warmup=0.1),
        head="probe",
        augment=AugmentConfig(gain_db=3.0, roll_seconds=5.0, patchout=0.5),
        validations=1,  # with a few dozen valid clips, choosing a checkpoint would be random
    )


def frozen_stem() -> FinetuneRecipe:
    """`lp_ft` with the pre-trained patch embedding kept frozen."""
    return replace(lp_ft(), name="frozen_stem", summary="lp_ft, all but the stem (ours)", train="frozen-stem")


def head_only() -> FinetuneRecipe:
    """A linear probe with augmentation."""
    return replace(lp_ft(), name="head_only", summary="lp_ft of the head alone (ours)", train="head")


def events() -> FinetuneRecipe:
    """Ours, for sounds labelled over time: no roll, and each time patch is classified by itself."""
    return replace(
        tiny(),
        name="events",
        summary="which events occur when: a head on each time patch (ours)",
        crop_seconds=10.0,
        pooling="flat",
        loss="sigmoid",
        label_smoothing=0.0,
        augment=AugmentConfig(gain_db=3.0),
    )


def numbers() -> FinetuneRecipe:
    """Ours: `tiny` for labels that are numbers."""
    return replace(
        tiny(),
        name="numbers",
        summary="numbers predicted from clips, by small encoders (ours)",
        loss="squared",
        label_smoothing=0.0,
    )


RECIPES: dict[str, Callable[[], FinetuneRecipe]] = {
    recipe.__name__: recipe
    for recipe in (
        audioset_2m, audioset_20k, ast, esc50, urbansound8k, nsynth, speech_commands, crema_d, voxceleb1, clips, tiny,
        words, lp_ft, frozen_stem, head_only, events, numbers,
    )
}  # fmt: skip


def names() -> list[str]:
    """Names of all recipes, those of benchmarks first."""
    return list(RECIPES)


def get(name: str) -> FinetuneRecipe:
    """A recipe by name, or a user's own: the function or FinetuneRecipe at `package.module:name` or `file.py:name`.

    Raises:
        AaspError: there is no recipe of that name, or the object is not a recipe.
    """
    return made(name, RECIPES, "fine-tuning recipe", FinetuneRecipe)
