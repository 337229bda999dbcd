"""What a pre-training step of a recipe costs, part by part.

Legend: B clips, V views, N patches of a clip, n visible and m predicted patches of a view, D width.
Source: `AaSP.forward` and its backward pass, at a step that is not logged; torch's counter finds the same
FLOPs (tests/planning). Attention counts as its plain products, whatever its kernel computes twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from aasp.errors import AaspError
from aasp.planning import layers
from aasp.planning.cost import Cost, gelu, linear, norm, product
from aasp.pretrain.methods.aasp import AaSPConfig
from aasp.pretrain.recipe import Recipe
from aasp.pretrain.views import MaskingConfig


@dataclass(frozen=True)
class StepCost:
    """Of one step.

    Attributes:
        clips: of the step.
        patches: of each clip.
        parts: by name, in the order of the step; the stem's are of student and teacher together.
        teacher_parameters: numbers that only the teacher holds, in no part.
    """

    clips: int
    patches: int
    parts: dict[str, Cost]
    teacher_parameters: int

    @property
    def total(self) -> Cost:
        """Of all parts."""
        return sum(self.parts.values(), Cost())


def step_cost(recipe: Recipe, clips: int | None = None) -> StepCost:
    """The cost of a step on clips of the recipe's full length.

    Args:
        recipe: the system.
        clips: in the step; the recipe's batch when left out. Give one process's share to have the cost of that.
    """
    method = aasp(recipe)
    model, masking = recipe.model, method.masking
    clips = recipe.data.batch if clips is None else clips
    samples = round(recipe.data.crop_seconds * model.frontend.rate)
    width, mels = model.encoder.width, model.frontend.mels
    columns, subbands = -(-model.frontend.frames(samples) // model.stem.patch[0]), mels // model.stem.patch[1]
    patches, views = columns * subbands, clips * masking.views
    visible, predicted = counts(masking, patches)

    # Patch-local, the stem sees a clip once for all its views; beyond that, it analyses what each view sees.
    taps, leaky = getattr(model.stem, "taps", None), getattr(model.stem, "leaky", False)
    local = taps in (None, model.stem.patch[0]) or leaky
    convolution, aape = layers.stem(
        model.stem, width, mels, clips * patches, clips * patches if local else views * visible
    )
    teacher_convolution, teacher_aape = (c.inference() for c in layers.stem(model.stem, width, mels, clips * patches))
    averaged = min(method.teacher.layers, model.encoder.depth)
    over_tokens = Cost(2 * 2 * averaged * clips * patches * width)  # each layer's mean and variance
    teacher = layers.encoder(model.encoder, clips, 1 + patches).inference() + over_tokens
    student = layers.encoder(model.encoder, views, 1 + visible)
    parts = {
        "front end": layers.front_end(model.frontend, clips, samples),
        "stem: convolution": convolution + teacher_convolution.reused(),
        "stem: AaPE": aape + teacher_aape.reused(),
        "stem: its maps": layers.fusion_maps(model.stem, width) + layers.fusion_maps(model.stem, width).inference(),
        "teacher": teacher.reused(),
        "student": student,
        "predictor": layers.predictor(
            method.predictor, width, views, predicted, 1 + visible, patches, method.teacher.target_width(model)
        ),
        "projector": _projector(recipe, views),
        "contrastive loss": contrastive(recipe, clips, clips),
        "masks": _masks(masking, clips, columns, subbands),
    }
    owned = teacher.parameters + teacher_convolution.parameters + teacher_aape.parameters
    return StepCost(clips, patches, parts, owned)


def aasp(recipe: Recipe) -> AaSPConfig:
    """A recipe's method, whose arithmetic is known here.

    Raises:
        AaspError: it is another one.
    """
    if not isinstance(recipe.method, AaSPConfig):
        raise AaspError(f"recipe {recipe.name}: its method is not AaSP, the only one that can be planned so far")
    return recipe.method


def counts(masking: MaskingConfig, patches: int) -> tuple[int, int]:
    """Visible and predicted patches n and m of each view of a clip of so many patches."""
    visible = min(max(1, round(masking.visible * patches)), max(1, patches - 1))
    return visible, max(1, round(masking.predicted * (patches - visible)))


def contrastive(recipe: Recipe, clips: int, everyone: int) -> Cost:
    """Similarities of all views of one process's clips with those of everyone's; their logits, masks and sums are kept
    in fp32, about four times over."""
    method = aasp(recipe)
    views, others = clips * method.masking.views, everyone * method.masking.views
    if everyone == 1 or method.masking.views == 1:
        return Cost()
    compared = product(views, method.losses.projector[1], others)
    return compared + Cost(kept=4 * 4 * views * others)


def _projector(recipe: Recipe, views: int) -> Cost:
    width, (hidden, embedding) = recipe.model.encoder.width, aasp(recipe).losses.projector
    first, second = linear(views, width, hidden, bias=False), linear(views, hidden, embedding)
    return first + norm(views, hidden) + gelu(views, hidden) + second


def _masks(masking: MaskingConfig, clips: int, columns: int, subbands: int) -> Cost:
    """The product that paints the kept blocks of inverse block masks, on the host."""
    if masking.scheme != "inverse-block":
        return Cost()
    share = columns * subbands * (masking.visible + masking.surplus)
    blocks = max(1, int(share / masking.block**2))
    return Cost(2 * clips * masking.views * columns * blocks * subbands)
