"""Building the training objective of a recipe."""

from __future__ import annotations

from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.methods import METHODS, Gather, Method
from aasp.pretrain.recipe import Recipe


def build_objective(recipe: Recipe, gather: Gather = lambda tensor: (tensor, 0)) -> Method:
    """A recipe's method, with random weights.

    Args:
        recipe: the system.
        gather: see `Gather`; for one process if omitted.

    Raises:
        AaspError: nothing would be learned, the recipe asks for a whitening, or a user's own method violates the
            interface of `Method`.
    """
    if recipe.model.whitened:
        text = "pre-training learns no whitening; leave it out, and use `aasp whiten` on the trained model"
        raise AaspError(f"model.whitened is {recipe.model.whitened}: {text}")
    objective, name = recipe.method.build(recipe, gather), METHODS.name_of(recipe.method)
    if not isinstance(objective, Method):
        text = f"its build returns a {type(objective).__name__}"
        raise AaspError(f"method {name}: {text}; let it return a {Method.__module__}.{Method.__qualname__}")
    model = dict(objective.named_modules()).get(objective.exported.removesuffix("."))
    if not isinstance(model, AudioEncoder) or not objective.exported.endswith("."):
        text = f"exported is {objective.exported!r}, where it has no AudioEncoder"
        raise AaspError(f"method {name}: {text}; name the one to save, with a dot, as in 'student.'")
    return objective
