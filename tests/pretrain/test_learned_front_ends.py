"""A front end that learns: from predictions made from its frames, never from targets."""

from __future__ import annotations

import pytest
import torch

from aasp.config import with_fields
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain import recipes
from aasp.pretrain.encoding import to_logmel
from aasp.pretrain.objective import build_objective

SMALL = {
    "model.encoder.width": "24", "model.encoder.depth": "1",
    "model.vector": "none", "model.encoder.heads": "2", "data.batch": "2",
    "data.crop_seconds": "0.99", "model.frontend": "pcen",
}  # fmt: skip
RECIPES = ("aasp_tiny", "mae_ast_tiny", "audio_mae_tiny", "ssast_tiny", "asit_tiny", "byol_a_tiny", "atst_frame_tiny")


@pytest.mark.parametrize("name", RECIPES)
def test_a_front_end_learns_through_the_stem_alone(name: str) -> None:
    recipe = recipes.get(name)
    fields = {key: value for key, value in SMALL.items() if not key.startswith("data.crop") or name != "asit_tiny"}
    bins = str(recipe.model.frontend.bins)
    recipe = with_fields(recipe, fields | {"model.frontend.bands": bins})
    batch = {"wave": 0.1 * torch.randn(2, 40_000), "length": torch.tensor([40_000, 40_000])}
    torch.manual_seed(0)
    objective = build_objective(recipe, lambda tensor: (tensor, 0)).train()
    fronts = [m.frontend for n, m in objective.named_modules() if isinstance(m, AudioEncoder) and "teacher" not in n]
    learned = [p for front in fronts for p in front.parameters() if p.requires_grad]

    def moved() -> bool:
        objective.zero_grad()
        objective(batch, False)["loss"].backward()
        return any(p.grad is not None and bool(p.grad.any()) for p in learned)

    assert moved() and all(p.grad is None or p.grad.isfinite().all() for p in learned)
    for module in objective.modules():
        if isinstance(module, AudioEncoder):
            for way in ("views", "forward"):
                plain = getattr(module.stem, way)
                setattr(module.stem, way, lambda mel, *rest, plain=plain: plain(mel.detach(), *rest))
    assert not moved()


def test_a_front_end_that_learns_nothing_makes_no_graph() -> None:
    recipe = recipes.get("aasp_tiny")
    batch = {"wave": 0.1 * torch.randn(1, 8_000), "length": torch.tensor([8_000])}
    assert not to_logmel(AudioEncoder(recipe.model), batch).mel.requires_grad
    still = with_fields(recipe, {"model.frontend": "pcen", "model.frontend.trained": "false"})
    assert not to_logmel(AudioEncoder(still.model), batch).mel.requires_grad
    learning = AudioEncoder(with_fields(recipe, {"model.frontend": "pcen"}).model)
    assert to_logmel(learning, batch).mel.requires_grad
    with torch.no_grad():
        assert not to_logmel(learning, batch).mel.requires_grad
