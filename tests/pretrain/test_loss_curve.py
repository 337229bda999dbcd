"""The seeded losses stay what they were: making the step faster must not make it another step.

The expected losses were computed in fp32 with one thread, when kept blocks began to reach the edges of the grid. With
blocks as before, the same code had the losses of commit 7d7be88, before it was made fast, to 5e-6.
Kernels, processors and the order of sums differ by rounding, which seven steps of training do not amplify beyond 1e-4.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from aasp.config import with_fields
from aasp.pretrain.objective import build_objective
from aasp.stems.aape import AaPEConfig
from aasp.training import optim
from plain import plain_tiny

STEPS = 7
EXPECTED = {
    "local": [4.9633036, 4.6736965, 4.4951363, 4.4626694, 4.3238087, 4.2303286, 4.1637416],
    "wide, post-norm, padded": [4.901186, 4.7308226, 4.5864339, 4.4922314, 4.403285, 4.3062935, 4.2400923],
}


def losses(name: str) -> list[float]:
    recipe = plain_tiny()
    small = {
        "data.batch": 6,
        "model.encoder.depth": 3,
        "model.vector": "none",
        "masking.predicted": 0.5,
        "steps": STEPS,
    }
    recipe = with_fields(recipe, small)
    if name != "local":
        stem, encoder = AaPEConfig(taps=48, phase="even", gain="paper"), replace(recipe.model.encoder, norm="post")
        recipe = replace(recipe, model=replace(recipe.model, stem=stem, encoder=encoder))
    torch.manual_seed(recipe.seed)
    objective = build_objective(recipe).train()
    optimizer = optim.adamw(objective)
    wave = 0.1 * torch.randn(6, 15_600, generator=torch.Generator().manual_seed(3))
    length = torch.full((6,), 15_600)
    if name != "local":
        length[::2] = 9_000
        wave = wave.masked_fill(torch.arange(15_600) >= length[:, None], 0.0)
    found = []
    for _ in range(STEPS):
        optim.set_step(optimizer, 1e-3, 0.05)
        loss = objective({"wave": wave, "length": length})["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        objective.after_step({"momentum": 0.98})
        found.append(loss.item())
    return found


def draws_as_then() -> bool:
    """Whether a seed gives the weights that the expected losses began with: older versions of torch draw others."""
    torch.manual_seed(0)
    drawn = torch.nn.init.trunc_normal_(torch.empty(4))
    return torch.allclose(drawn, torch.tensor([1.540996, -0.293429, 0.403347, 0.568431]), atol=1e-5)


@pytest.mark.skipif(not draws_as_then(), reason=f"trunc_normal_ of torch {torch.__version__} draws other weights")
@pytest.mark.parametrize("name", EXPECTED)
def test_the_seeded_losses_are_those_of_the_plain_code(name: str) -> None:
    assert losses(name) == pytest.approx(EXPECTED[name], rel=1e-4)
