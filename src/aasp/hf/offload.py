"""Models with weights offloaded to CPU memory or disk: all are fetched together, for each forward pass.

Accelerate fetches them module by module, each for its own forward pass; our modules also read each other's weights.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator

import torch
from accelerate.hooks import AlignDevicesHook, SequentialHook, attach_align_device_hook, remove_hook_from_module
from torch import nn


def fetch_whole(model: nn.Module) -> None:
    """Make accelerate fetch all weights together, if it has offloaded some.

    Args:
        model: as loaded by `from_pretrained`, with a `device_map` that offloads.
    """
    offloading = next((hook for hook in _hooks(model) if hook.offload and hook.weights_map is not None), None)
    if offloading is None:
        return
    device = torch.device(offloading.execution_device)
    here = {name: tensor.data for name, tensor in model.named_parameters() if not tensor.is_meta}
    weights = ChainMap(here, offloading.weights_map.dataset)  # type: ignore[attr-defined]
    remove_hook_from_module(model, recurse=True)
    whole = [type(model).__name__]
    attach_align_device_hook(model, device, offload=True, weights_map=weights, preload_module_classes=whole)


def _hooks(model: nn.Module) -> Iterator[AlignDevicesHook]:
    for module in model.modules():
        hook = getattr(module, "_hf_hook", None)
        for one in hook.hooks if isinstance(hook, SequentialHook) else [hook]:
            if isinstance(one, AlignDevicesHook):
                yield one
