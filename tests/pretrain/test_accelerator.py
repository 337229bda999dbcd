"""On a GPU, nothing in a step waits for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from aasp.config import with_fields
from aasp.pretrain import recipes
from aasp.pretrain.encoding import Clips
from aasp.pretrain.losses.contrastive import contrastive_loss
from aasp.pretrain.mixtures import MixingConfig, mixed_parts, mixed_with
from aasp.pretrain.objective import build_objective
from aasp.training import engine, optim
from aasp.training.skipping import Skipping


class Meeting(TorchDispatchMode):
    """Collects operations on tensors of several devices; on GPUs, an index from the host is copied and waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor) and one.dim()]
        if len({one.device for one in tensors}) > 1:
            self.operations.append(str(operation))
        return operation(*args, **(kwargs or {}))


def test_the_contrastive_loss_and_mixtures_use_no_index_on_the_host() -> None:
    mel, length = torch.randn(3, 40, 16, device="meta"), torch.tensor([40, 25, 40])
    clips, partner = Clips(mel, (10, 2), length // 4, None, length), torch.tensor([1, 2, 0])
    with Meeting() as meeting:
        contrastive_loss(torch.randn(4, 3, 6, device="meta"), 0.1)
        _, mixed = mixed_with(clips, partner, MixingConfig(), patch=4)
        mixed_parts(clips, mixed, partner)
    assert meeting.operations == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["aasp_tiny", "sslam_tiny"])
def test_no_step_synchronises_with_the_host(name: str) -> None:
    recipe = with_fields(recipes.get(name), {"data.batch": 4})
    device = torch.device("cuda")
    objective = build_objective(recipe).to(device).train()
    optimizer = optim.adamw(objective)
    trainable = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    batch = {"wave": 0.1 * torch.randn(4, 15_600), "length": torch.tensor([15_600, 15_600, 12_000, 9_000])}

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
