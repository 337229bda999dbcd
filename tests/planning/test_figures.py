"""What the trace of the named systems counts is what was estimated by hand, layer by layer, before there was one."""

from __future__ import annotations

import functools

import pytest

from aasp.planning.step import StepCost, step_cost
from aasp.pretrain import recipes
from aasp.pretrain.recipe import Recipe
from plain import plain_tiny

# FLOPs forward and backward, and bytes kept, of a step of the whole batch in one process.
BY_HAND = {
    "plain_tiny": {
        "front end": (202_113_024, 0, 0),
        "stem": (2_220_718_848, 2_006_809_344, 27_936_768),
        "student": (10_324_869_120, 20_649_738_240, 81_100_800),
        "teacher": (8_684_716_032, 0, 0),
        "predictor": (2_316_828_672, 4_633_657_344, 18_186_240),
        "projector": (234_881_024, 469_762_048, 2_146_304),
        "the rest": (8_400_896, 16_777_216, 262_144),
    },
    "aasp_small": {
        "front end": (3_233_808_384, 0, 0),
        "stem": (40_722_679_296, 34_884_208_128, 446_988_288),
        "student": (3_509_514_141_696, 7_019_028_283_392, 13_243_908_096),
        "teacher": (1_279_003_557_888, 0, 0),
        "predictor": (1_786_869_448_704, 3_573_738_897_408, 6_806_568_960),
        "projector": (2_013_265_920, 4_026_531_840, 13_172_736),
        "the rest": (305_922_048, 603_979_776, 9_437_184),
    },
    "aasp_base": {
        "front end": (3_233_808_384, 0, 0),
        "stem": (237_395_905_536, 225_920_289_792, 1_513_390_080),
        "student": (13_737_699_311_616, 27_475_398_623_232, 26_487_816_192),
        "teacher": (4_649_438_085_120, 0, 0),
        "predictor": (3_184_879_730_688, 6_369_759_461_376, 9_115_926_528),
        "projector": (3_221_225_472, 6_442_450_944, 13_762_560),
        "the rest": (305_922_048, 603_979_776, 9_437_184),
    },
    "aasp_large": {
        "front end": (3_233_808_384, 0, 0),
        "stem": (245_633_617_920, 230_936_776_704, 1_513_390_080),
        "student": (61_093_837_799_424, 122_187_675_598_848, 88_058_363_904),
        "teacher": (16_116_601_061_376, 0, 0),
        "predictor": (3_240_653_488_128, 6_481_306_976_256, 8_995_995_648),
        "projector": (4_026_531_840, 8_053_063_680, 14_155_776),
        "the rest": (307_494_912, 603_979_776, 9_437_184),
    },
}
PARAMETERS = {
    "plain_tiny": (4_728_160, 7_570_048),
    "aasp_small": (34_006_048, 55_753_408),
    "aasp_base": (108_554_656, 195_304_256),
    "aasp_large": (327_593_632, 632_595_520),
}
PARTS = {
    "front end": ("student.frontend",),
    "stem": ("student.stem", "teacher.model.stem"),
    "student": ("student.encoder",),
    "teacher, its targets and the rest": ("teacher.model.encoder", "the rest"),
    "predictor": ("predictor",),
    "projector": ("projector",),
}


def recipe_of(name: str) -> Recipe:
    return plain_tiny() if name == "plain_tiny" else recipes.get(name)


@functools.cache
def cost(name: str) -> StepCost:
    return step_cost(recipe_of(name))


def patches_of(name: str) -> int:
    return 6 * 8 if name == "plain_tiny" else 64 * 8


def overlooked(name: str) -> dict[str, int]:
    """Bytes that the calculation by hand left out.

    The frame loss keeps its error, fp32; the projector's GELU reads what a norm wrote, in fp32 and not in bf16; the
    Lambda Encoder's attention over eight tokens is not fused and keeps its shares, in bf16.
    """
    recipe, patches = recipe_of(name), patches_of(name)
    clips, stem = recipe.data.batch, recipe.model.stem
    views = clips * recipe.method.masking.views
    hidden = patches - round(recipe.method.masking.keep_ratio * patches)
    error = 4 * views * round(recipe.method.masking.predicted * hidden) * recipe.model.encoder.width
    shares = 2 * clips * patches * stem.encoder_heads * (16 // stem.frames_per_token) ** 2 * stem.encoder_depth
    return {"the rest": error, "projector": 2 * views * recipe.method.losses.projector[0], "stem": shares}


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", BY_HAND)
def test_a_step_equals_the_figures_by_hand(name: str, part: str) -> None:
    by_hand = [BY_HAND[name][one] for one in (("teacher", "the rest") if "teacher" in part else (part,))]
    forward, backward, kept = (sum(values) for values in zip(*by_hand, strict=True))
    found = [cost(name).parts[path] for path in PARTS[part]]
    assert sum(one.forward for one in found) == forward
    assert sum(one.backward for one in found) == backward
    # Of AaPE the hand left out more that is small: bf16 copies of its maps' slices, the norms' statistics; and of the
    # contrastive loss it stated that it keeps its logits "about four times over": it is three and a few masks.
    within = 0.03 if part == "stem" or "rest" in part else 0.01
    if name != "plain_tiny" or "rest" not in part:  # 1 of 130 MB, and most of it the contrastive loss's
        left_out = overlooked(name).get("the rest" if "rest" in part else part, 0)
        assert sum(one.kept for one in found) == pytest.approx(kept + left_out, rel=within)


@pytest.mark.parametrize("name", BY_HAND)
def test_memory_equals_the_figures_by_hand(name: str) -> None:
    kept = sum(kept for _, _, kept in BY_HAND[name].values()) + sum(overlooked(name).values())
    assert cost(name).total.kept == pytest.approx(kept, rel=0.01)
    # The fullest moment is in the frame loss: beside what is kept there are, in fp32, the targets of all patches, those
    # that are predicted, the predictions (and once more in bf16), the squared error, the student's output and the
    # log-mel.
    recipe, error = recipe_of(name), overlooked(name)["the rest"]
    tokens = recipe.data.batch * patches_of(name) * recipe.model.encoder.width
    masking, patches = recipe.method.masking, patches_of(name)
    visible = masking.views * round(masking.keep_ratio * patches) / patches
    sound = 4 * recipe.data.batch * recipe.data.crop_seconds * 100 * 128
    beside = 4 * tokens + 3.5 * error + 4 * tokens * visible + sound
    assert cost(name).peak == pytest.approx(cost(name).total.kept + beside, rel=0.01)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_equal_the_figures_by_hand(name: str) -> None:
    assert (cost(name).trained, cost(name).trained + cost(name).averaged) == PARAMETERS[name]
