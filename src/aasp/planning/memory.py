"""What tensors without values would hold of a device's memory: each storage once, while anything needs it."""

from __future__ import annotations

import weakref

from torch import Tensor, nn


class Memory:
    """Storages on the meta device, counted while they are held; those of weights and their gradients are not.

    Args:
        root: the module whose weights are left out; its gradients are dropped as soon as they are complete.

    Attributes:
        held: bytes that are held now.
        peak: bytes that were held at most at one time.
    """

    def __init__(self, root: nn.Module) -> None:
        self.sizes: dict[int, int] = {}
        self.kept: set[int] = set()
        self.held = self.peak = 0
        for tensor in (*root.parameters(), *root.buffers()):
            self.exempt(tensor)
        for parameter in root.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(lambda done: setattr(done, "grad", None))

    def meet(self, tensor: Tensor, counts: bool = True) -> int:
        """Count a tensor's storage from when it is first met until it is freed; its id among the storages."""
        storage = tensor.untyped_storage()
        key = id(storage)  # the same object as long as the storage lives
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes() * counts
            self.held += self.sizes[key]
            self.peak = max(self.peak, self.held)
            weakref.finalize(storage, self._free, key)
        return key

    def _free(self, key: int) -> None:
        self.held -= self.sizes.pop(key)
        self.kept.discard(key)

    def exempt(self, tensor: Tensor) -> None:
        """Of a weight, or of its copy in bf16."""
        self.held -= self.sizes[key := self.meet(tensor, False)]
        self.sizes[key] = 0

    def keep(self, tensor: Tensor) -> int:
        """Bytes that are kept because of a tensor, and were not yet."""
        if not tensor.is_meta or (key := self.meet(tensor)) in self.kept:
            return 0
        self.kept.add(key)
        return self.sizes[key]
