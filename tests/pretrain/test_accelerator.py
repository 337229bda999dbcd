"""On a GPU, nothing in a step waits for it."""

from __future__ import annotations

import pytest
import torch

from aasp.config import with_fields
from aasp.pretrain import recipes
from aasp.pretrain.objective import PretrainObjective
from aasp.training import engine, optim
from aasp.training.skipping import Skipping


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_no_step_synchronises_with_the_host() -> None:
    recipe = with_fields(recipes.aasp_tiny(), {"data.batch": 4})
    device = torch.device("cuda")
    objective = PretrainObjective(recipe).to(device).train()
    optimizer = optim.adamw(objective)
    trainable = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    batch = {"wave": 0.1 * torch.randn(4, 15_600), "length": torch.full((4,), 15_600)}

    skipping = Skipping(objective, engine.accelerator("cuda"), {})

    def step() -> None:
        skipping.begin()
        optim.set_step(optimizer, 1e-3, 0.05)
        with torch.autocast("cuda", torch.bfloat16):
            output = objective(engine.to_device(batch, device), False)
        output["loss"].backward()
        norm = torch.nn.utils.clip_grad_norm_(trainable, 4.0)
        optim.step_unless(optimizer, skipping.judge(output["loss"], norm))
        optimizer.zero_grad()
        objective.after_step({"momentum": 0.99})

    step()  # the first makes the optimizer's state
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
